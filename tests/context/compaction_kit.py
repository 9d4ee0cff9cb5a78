"""Items, views and plans for the tests of the planner."""

from hypothesis import strategies as st

from loopspec.context.compaction import Plan, Stuck
from loopspec.context.transcript import Item, ViewCall, extend
from loopspec.events import ContextCompacted
from loopspec.journal.entry import GENESIS, Entry
from loopspec.record import Record, Replace
from loopspec.snapshot import Patch
from loopspec.tokens import estimate

PINS = ("task", "constraints", "approvals", "authority", "open_calls", "plan")
STATUSES = ("ok", "error", "lost", "denied_by_person", "denied_by_policy")
LONG = "x" * 4000
LISTING = "\n".join(f"{n}: value_{n} = call({n * 37})" for n in range(200))


def user(n: int, text: str) -> Item:
    return Item(id=f"{n}.0", role="user", text=text, tokens=estimate(text))


def note(n: int, text: str) -> Item:
    return Item(id=f"{n}.0", role="note", text=text, tokens=estimate(text))


def own(n: int, text: str) -> Item:
    """What a person ran themselves."""
    return Item(f"{n}.0", "user", text, call=f"c{n}_0", tool="shell", tokens=estimate(text))


def reply(n: int, text: str, *calls: str, tool: str = "shell", args: str = '{"cmd":"make"}') -> Item:
    made = tuple(ViewCall(id=c, tool=tool, args=args) for c in calls)
    size = estimate(text) + sum(estimate(c.args) for c in made)
    return Item(id=f"{n}.0", role="assistant", text=text, calls=made, tokens=size)


def result(n: int, call: str, text: str, status: str = "ok", tool: str = "shell") -> Item:
    size = estimate(text)
    return Item(f"{n}.0", "result", text, call=call, tool=tool, status=status, tokens=size)


def summary(n: int, text: str) -> Item:
    return Item(id=f"{n}.0", role="summary", text=text, tokens=estimate(text))


def after(items: tuple[Item, ...], plan: Plan, seq: int = 9_000) -> tuple[Item, ...]:
    """The view once the journal holds the plan: made by the transcript, not by the planner."""
    event = ContextCompacted(
        effect="s:1:0",
        replaces=plan.replaces,
        masks=plan.masks,
        summary=plan.summary,
        before=plan.before,
        after=plan.after,
    )
    entry = Entry(
        v=1,
        sem=1,
        session="s",
        seq=seq,
        at=0,
        awake=0,
        by="driver",
        event=event,
        outcome="moved",
        record=Record(view=(Replace(),)),
        effects=(),
        patch=Patch(),
        snapshot="",
        blobs=(),
        prev=GENESIS,
    )
    return extend(items, entry)


def planned(found: Plan | Stuck) -> Plan:
    assert isinstance(found, Plan), found
    return found


SORTS = ("user", "note", "own", "reply", "calls", "calls", "calls", "summary")
TEXTS = st.one_of(
    st.sampled_from(
        (
            "",
            " ",
            LONG,
            LISTING,
            "Never push to main.",
            "- [ ] write the test\n- [x] read the code",
            "- [x] all of it",
            '{"rows": [{"id": "a_1", "n": 10}, {"id": "b_2", "n": 20}], "path": "/srv/x.py"}',
            "[shortened from 9 tokens; 7.0 is the whole]",
            "- 99.0 what no entry holds\n… and 3 more before these, from 88.0 on",
            "Traceback: error in src/a.py:12",
        )
    ),
    st.text(max_size=300),
)


@st.composite
def views(draw: st.DrawFn) -> tuple[Item, ...]:
    """Views as a journal makes them: calls with late, missing and refused results, messages between."""
    items = [draw(st.sampled_from((user, note)))(0, draw(TEXTS))]
    for n in range(1, draw(st.integers(1, 14))):
        seq = n * 10
        match draw(
            st.sampled_from(("user", "note", "own", "reply", "calls", "calls", "calls", "summary"))
        ):
            case "user":
                items.append(user(seq, draw(TEXTS)))
            case "note":
                items.append(note(seq, draw(TEXTS)))
            case "own":
                items.append(own(seq, draw(TEXTS)))
            case "summary":
                items.append(summary(seq, draw(TEXTS)))
            case "reply":
                items.append(reply(seq, draw(TEXTS)))
            case _:
                items += _calls(draw, seq)
    return tuple(items)


def _calls(draw: st.DrawFn, seq: int) -> list[Item]:
    """A reply with calls and what came of them."""
    ids = [f"c{seq}_{k}" for k in range(draw(st.integers(1, 3)))]
    tool = draw(st.sampled_from(("shell", "fs.read", "todo")))
    args = draw(st.sampled_from(('{"cmd":"make"}', '{"path": "src/a.py", "from": 12}', "{}")))
    made = [reply(seq, draw(TEXTS), *ids, tool=tool, args=args)]
    if draw(st.integers(0, 4)) == 0:
        made.append(user(seq + 1, draw(TEXTS)))
    for k, call in enumerate(draw(st.permutations(ids))):
        if draw(st.integers(0, 9)):
            made.append(result(seq + 2 + k, call, draw(TEXTS), draw(st.sampled_from(STATUSES)), tool))
    return made

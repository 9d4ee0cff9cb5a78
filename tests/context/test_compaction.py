"""Compaction keeps what it promises, whatever the view holds."""

import asyncio
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from loopspec.context import compaction
from loopspec.context.compaction import HEADER, REMOVED, Plan, Stuck, compact, size_of
from loopspec.context.transcript import Item, ViewCall, extend, provider_messages
from loopspec.effects import CompactContext, TakeBoundary
from loopspec.events import ContextCompacted, ContextStuck, EffectFailed
from loopspec.journal.entry import GENESIS, Entry
from loopspec.machine.model import ContextRules, Machine
from loopspec.performers.compact import CompactPerformer
from loopspec.record import Record, Replace
from loopspec.snapshot import Patch
from loopspec.tokens import estimate

PINS = ("task", "constraints", "approvals", "open_calls")


def user(n: int, text: str) -> Item:
    return Item(id=f"{n}.0", role="user", text=text, tokens=estimate(text))


def note(n: int, text: str) -> Item:
    return Item(id=f"{n}.0", role="note", text=text, tokens=estimate(text))


def reply(n: int, text: str, *calls: str) -> Item:
    made = tuple(ViewCall(id=c, tool="shell", args='{"cmd":"make"}') for c in calls)
    size = estimate(text) + sum(estimate(c.args) for c in made)
    return Item(id=f"{n}.0", role="assistant", text=text, calls=made, tokens=size)


def result(n: int, call: str, text: str, status: str = "ok") -> Item:
    return Item(
        id=f"{n}.0",
        role="result",
        text=text,
        call=call,
        tool="shell",
        status=status,
        tokens=estimate(text),
    )


def after(items: tuple[Item, ...], plan: Plan, seq: int) -> tuple[Item, ...]:
    """The view once the journal holds the plan."""
    event = ContextCompacted(
        effect="s:1:0",
        drop=list(plan.drop),
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


LONG = "x" * 4000


def test_old_units_leave_and_the_summary_says_what_they_were():
    items = (
        user(0, "fix the bug"),
        reply(1, "looking", "c1_0"),
        result(2, "c1_0", "line one\n  line two " + LONG, "error"),
        user(3, "and be quick"),
        reply(4, "", "c4_0"),
        result(5, "c4_0", "fine"),
    )
    plan = planned(compact(items, 200, PINS, 0))
    cut = ("line one line two " + LONG)[:119] + "…"
    summary = f"{HEADER}\n- assistant calls shell: looking\n- result of shell [error]: {cut}"
    before = sum(i.tokens for i in items)
    left = sum(items[n].tokens for n in (0, 3, 4, 5))
    assert plan == Plan(("1.0", "2.0"), summary, before, left + estimate(summary))
    assert after(items, plan, 9) == (
        items[0],
        Item(id="9.0", role="summary", text=summary, tokens=estimate(summary)),
        *items[3:],
    )


def test_a_call_without_text_is_remembered_by_its_arguments():
    items = (user(0, "go"), reply(1, "", "c1"), result(2, "c1", LONG), user(3, "on"))
    plan = planned(compact(items, 100, PINS, 0))
    assert plan.summary.splitlines()[1] == '- assistant calls shell: {"cmd":"make"}'


def test_notes_refusals_and_open_calls_stay():
    items = (
        user(0, "go"),
        reply(1, LONG),
        note(2, "never push"),
        reply(3, "", "c3"),
        result(4, "c3", "A person refused this call.", "denied_by_person"),
        reply(5, LONG),
        reply(6, "", "c6a", "c6b"),
        result(7, "c6a", "done"),
        user(8, "more"),
        reply(9, "ok"),
    )
    assert planned(compact(items, 50, PINS, 0)).drop == ("1.0", "5.0")


def test_what_is_not_pinned_may_leave_but_never_an_open_call():
    items = (
        user(0, "go"),
        note(1, LONG),
        reply(2, LONG, "c2"),
        result(3, "c2", "no", "denied_by_person"),
        reply(4, "", "c4"),
        user(5, "more"),
    )
    assert planned(compact(items, 50, (), 0)).drop == ("0.0", "1.0", "2.0", "3.0")


def test_a_result_that_arrived_after_a_message_leaves_with_its_call():
    items = (
        user(0, "go"),
        reply(1, LONG, "c1"),
        user(2, "wait"),
        result(3, "c1", LONG),
        user(4, "more"),
    )
    plan = planned(compact(items, 100, PINS, 0))
    assert plan.drop == ("1.0", "2.0", "3.0")


def test_the_last_message_of_the_user_stays_however_large():
    items = (user(0, "go"), reply(1, LONG), user(2, LONG), reply(3, LONG), reply(4, "ok"))
    assert planned(compact(items, 10, PINS, 0)).drop == ("1.0", "3.0")


def test_nothing_may_leave():
    items = (user(0, LONG), reply(1, "ok"))
    total = sum(i.tokens for i in items)
    reason = f"all of the {total} tokens in view are pinned or newest; nothing may leave"
    assert compact(items, 5, PINS, 0) == Stuck(reason)
    assert compact((), 5, PINS, 0) == Stuck("the view is empty")


def test_what_may_leave_is_smaller_than_any_note_about_it():
    items = (user(0, "go"), reply(1, "a"), user(2, "b"))
    assert compact(items, 5, PINS, 0) == Stuck(
        f"what may leave ({estimate('a')} of {3 * estimate('a')} tokens) is no larger than"
        " a note about it"
    )


def test_a_view_that_already_fits_is_still_made_smaller():
    """The estimate may be wrong: the provider or the driver asked, so something must leave."""
    items = (user(0, "go"), *(reply(n, LONG) for n in range(1, 9)))
    plan = planned(compact(items, 1_000_000, PINS, 0))
    assert plan.after <= plan.before // 2


def test_each_level_halves_the_summary():
    items = (user(0, "go"), *(reply(n, f"{n} {LONG}") for n in range(1, 400)))
    counts = [
        planned(compact(items, 100_000, PINS, level)).summary.count("\n- ") for level in range(10)
    ]
    assert counts == [200, 100, 50, 25, 12, 6, 3, 1, 0, 0]


def test_a_long_summary_keeps_its_newest_lines_and_counts_the_others():
    items = (user(0, "go"), *(reply(n, f"step {n} {LONG}") for n in range(1, 301)), user(301, "x"))
    lines = planned(compact(items, 60_000, PINS, 0)).summary.splitlines()
    gone = 300 - lines_kept(items, 60_000)
    assert lines[:2] == [HEADER, f"… and {gone - 200} more before these"]
    assert lines[2].startswith(f"- assistant: step {gone - 199} x")
    assert lines[-1].startswith(f"- assistant: step {gone} x")
    assert len(lines) == 202


def lines_kept(items: tuple[Item, ...], target: int) -> int:
    drop = set(planned(compact(items, target, PINS, 0)).drop)
    return sum(i.role == "assistant" and i.id not in drop for i in items)


def test_an_earlier_summary_is_carried_over_once():
    first = "\n".join([HEADER, "… and 7 more before these", "- user: old", "- user: same"])
    summary = Item(id="5.0", role="summary", text=first, tokens=estimate(first))
    items = (user(0, "go"), summary, user(6, "same"), reply(7, LONG), user(8, "now"))
    plan = planned(compact(items, 300, PINS, 0))
    assert plan.drop == ("5.0", "6.0", "7.0")
    assert plan.summary.splitlines() == [
        HEADER,
        "… and 7 more before these",
        "- user: old",
        "- user: same",
        f"- assistant: {LONG[:119]}…",
    ]


def test_a_summary_in_other_words_is_carried_over_line_by_line():
    text = "The parser was rewritten.\n\nTests pass."
    items = (
        user(0, "go"),
        Item(id="1.0", role="summary", text=text, tokens=estimate(text)),
        reply(2, LONG),
        user(3, "now"),
    )
    assert planned(compact(items, 300, PINS, 0)).summary.splitlines()[1:3] == [
        "- The parser was rewritten.",
        "- Tests pass.",
    ]


def test_a_summary_without_lines_leaves_no_trace_of_its_heading():
    text = f"{REMOVED}\n… and 3 more before these"
    items = (
        user(0, "go"),
        Item(id="1.0", role="summary", text=text, tokens=estimate(text)),
        reply(2, "b" + LONG),
        user(3, "now"),
    )
    assert planned(compact(items, 300, PINS, 0)).summary.splitlines() == [
        HEADER,
        "… and 3 more before these",
        f"- assistant: b{LONG[:118]}…",
    ]


@st.composite
def views(draw: st.DrawFn) -> tuple[Item, ...]:
    """A view as the machine makes it: results follow their calls, maybe with messages between."""
    texts = st.one_of(
        st.text(max_size=30), st.integers(0, 3000).map(lambda n: "word " * n), st.just(HEADER)
    )
    items: list[Item] = [user(0, draw(texts))] if draw(st.booleans()) else [note(0, draw(texts))]
    for n in range(1, draw(st.integers(1, 12))):
        seq = n * 10
        match draw(st.sampled_from(("user", "note", "reply", "calls", "calls", "summary"))):
            case "user":
                items.append(user(seq, draw(texts)))
            case "note":
                items.append(note(seq, draw(texts)))
            case "summary":
                text = draw(texts)
                items.append(Item(id=f"{seq}.0", role="summary", text=text, tokens=estimate(text)))
            case "reply":
                items.append(reply(seq, draw(texts)))
            case _:
                ids = [f"c{seq}_{k}" for k in range(draw(st.integers(1, 3)))]
                items.append(reply(seq, draw(texts), *ids))
                if draw(st.integers(0, 4)) == 0:
                    items.append(user(seq + 1, draw(texts)))
                for k, call in enumerate(draw(st.permutations(ids))):
                    if draw(st.integers(0, 9)):
                        status = draw(st.sampled_from(("ok", "error", "lost", "denied_by_person")))
                        items.append(result(seq + 2 + k, call, draw(texts), status))
    return tuple(items)


PIN_SETS = st.lists(st.sampled_from(PINS), unique=True).map(tuple)


def must_stay(items: tuple[Item, ...], pins: tuple[str, ...]) -> set[str]:
    """The ids that no plan may drop, told independently of the planner."""
    answered = {i.call for i in items if i.role == "result"}
    stay = {items[-1].id}
    stay |= {i.id for i in [i for i in items if i.role == "user"][-1:]}
    stay |= {i.id for i in items if any(c.id not in answered for c in i.calls)}
    if "task" in pins:
        stay.add(items[0].id)
    if "constraints" in pins:
        stay |= {i.id for i in items if i.role == "note"}
    if "approvals" in pins:
        stay |= {i.id for i in items if i.status in ("denied_by_person", "lost")}
    return stay


@settings(max_examples=300, deadline=None)
@given(views(), st.integers(0, 4000), PIN_SETS, st.integers(0, 9))
def test_a_plan_keeps_every_promise(
    items: tuple[Item, ...], target: int, pins: tuple[str, ...], level: int
) -> None:
    plan = compact(items, target, pins, level)
    assert plan == compact(items, target, pins, level)
    if isinstance(plan, Stuck):
        assert plan.reason
        return
    left = after(items, plan, 999)
    summaries = [i for i in left if i.id == "999.0"]
    assert len(summaries) == 1
    kept = tuple(i for i in left if i.id != "999.0")
    assert kept == tuple(i for i in items if i.id not in plan.drop)
    assert must_stay(items, pins) <= {i.id for i in kept}
    assert plan.before == sum(map(size_of, items))
    assert plan.after == sum(map(size_of, left)) < plan.before
    owner = {c.id: i.id for i in items for c in i.calls}
    gone = set(plan.drop)
    assert all((i.id in gone) == (owner[i.call] in gone) for i in items if i.role == "result")
    assert len(plan.summary.splitlines()) <= compaction.MAX_LINES + 2
    assert all(len(line) <= compaction.MAX_CARRIED + 2 for line in plan.summary.splitlines())


@settings(max_examples=200, deadline=None)
@given(views(), st.integers(1, 4000), PIN_SETS)
def test_what_a_provider_gets_stays_paired(
    items: tuple[Item, ...], target: int, pins: tuple[str, ...]
) -> None:
    plan = compact(items, target, pins, 0)
    left = after(items, plan, 999) if isinstance(plan, Plan) else items
    waiting: list[str] = []
    messages = provider_messages(left, "You repair software.")
    assert [m["role"] for m in messages].count("system") == 1
    for message in messages:
        if message["role"] == "tool":
            assert waiting.pop(0) == message["tool_call_id"]
        else:
            assert waiting == []
            waiting = [c["id"] for c in message.get("tool_calls", ())]
            assert message["role"] in ("system", "user", "assistant")
            assert message["content"] or message.get("tool_calls")
    assert waiting == []


@settings(max_examples=100, deadline=None)
@given(views(), st.integers(1, 2000), PIN_SETS)
def test_compacting_again_and_again_ends_in_stuck(
    items: tuple[Item, ...], target: int, pins: tuple[str, ...]
) -> None:
    sizes = [sum(map(size_of, items))]
    for level in range(40):
        plan = compact(items, max(1, target >> level), pins, level)
        if isinstance(plan, Stuck):
            return
        items = after(items, plan, 1000 + level)
        assert items
        sizes.append(sum(map(size_of, items)))
        assert sizes[-1] < sizes[-2]
    raise AssertionError(f"still not stuck: {sizes}")


@dataclass
class View:
    """As much of a world as compaction looks at."""

    items: tuple[Item, ...]
    machine: Machine = field(
        default_factory=lambda: Machine(
            name="m",
            version="1.0.0",
            initial="a",
            states={},
            transitions=(),
            context=ContextRules(pin=("task",)),
        )
    )


def test_the_performer_answers_with_the_plan_under_the_specs_pins():
    items = (user(0, "go"), note(1, LONG), reply(2, LONG), user(3, "now"))
    effect = CompactContext(id="s:4:0", state="compacting", target=60, level=1)
    plan = planned(compact(items, 60, ("task",), 1))
    assert plan.drop == ("1.0", "2.0")
    assert asyncio.run(CompactPerformer().perform(effect, View(items))) == ContextCompacted(
        effect="s:4:0",
        drop=["1.0", "2.0"],
        summary=plan.summary,
        before=plan.before,
        after=plan.after,
    )


def test_the_performer_says_when_it_is_stuck_or_asked_for_something_else():
    effect = CompactContext(id="s:4:0", state="compacting", target=60)
    assert asyncio.run(CompactPerformer().perform(effect, View(()))) == ContextStuck(
        effect="s:4:0", reason="the view is empty"
    )
    other = TakeBoundary(id="s:4:0", state="x", boundary="b1")
    assert asyncio.run(CompactPerformer().perform(other, View(()))) == EffectFailed(
        effect="s:4:0", reason="compaction only makes the view smaller"
    )


def own(n: int, text: str) -> Item:
    """What a person ran themselves."""
    return Item(f"{n}.0", "user", text, call=f"c{n}_0", tool="shell", tokens=estimate(text))


def test_what_a_person_ran_is_neither_the_task_nor_their_last_word() -> None:
    big = "output " * 400
    said = (user(2, "the task"), user(4, "the last word"))
    items = (own(1, big), said[0], own(3, big), said[1], own(5, big), note(6, "x"))
    made = compact(items, 60, PINS)
    assert isinstance(made, Plan)
    assert set(made.drop) == {"1.0", "3.0", "5.0"}

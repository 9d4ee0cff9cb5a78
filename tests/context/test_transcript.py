"""The view: masks, what providers are sent of a compacted one, and originals had back."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from loopspec.context.transcript import (
    EARLIER,
    GO_ON,
    Item,
    ViewCall,
    added,
    apply,
    fold,
    masked,
    masks_of,
    original,
    provider_messages,
)
from loopspec.events import ContextCompacted, Mask, ModelReplied, ProposedCall, ToolAnswered, UserMessage
from loopspec.journal.entry import GENESIS, Entry
from loopspec.record import AddReply, AddResult, AddUser, Record, Replace
from loopspec.snapshot import Patch
from loopspec.tokens import estimate


def entry(seq: int, event: Any, *view: Any) -> Entry:
    return Entry(
        v=1,
        sem=4,
        session="s",
        seq=seq,
        at=0,
        awake=0,
        by="x",
        event=event,
        outcome="moved",
        record=Record(view=view),
        effects=(),
        patch=Patch(),
        snapshot="",
        blobs=(),
        prev=GENESIS,
    )


def turn(seq: int, text: str, output: str) -> list[Entry]:
    """A reply with one call, and its result."""
    call = f"c{seq}_0"
    return [
        entry(seq, ModelReplied("e", text, [ProposedCall("shell", '{"n":1}')]), AddReply((call,))),
        entry(seq + 1, ToolAnswered("e", call, "ok", output), AddResult(call, "shell")),
    ]


def compaction(seq: int, *gone: str, masks: tuple[Mask, ...] = (), summary: str = "short") -> Entry:
    event = ContextCompacted("e", summary=summary, replaces=gone, masks=masks, rung="mask")
    return entry(seq, event, Replace())


TALK = [
    entry(0, UserMessage("fix it"), AddUser(seq=0)),
    *turn(1, "looking", "line\n" * 400),
    *turn(3, "again", "other\n" * 400),
]


def test_a_masked_item_keeps_its_place_and_its_call_and_shows_the_shorter_text() -> None:
    items = fold([*TALK, compaction(5, masks=(Mask("2.0", "[2.0: 400 lines]"),), summary="")])
    plain = fold(TALK)
    short = masked(plain[2], "[2.0: 400 lines]")
    assert items == (*plain[:2], short, *plain[3:])
    assert (short.tokens, short.masked, short.call) == (estimate("[2.0: 400 lines]"), True, "c1_0")
    assert masks_of(items) == (Mask("2.0", "[2.0: 400 lines]"),)


def test_without_a_summary_nothing_stands_in_for_what_left() -> None:
    items = fold([*TALK, compaction(5, "1.0", "2.0", summary="")])
    assert [i.id for i in items] == ["0.0", "3.0", "4.0"]


def test_a_later_compaction_lists_the_masks_again_and_drops_those_of_what_left() -> None:
    first = compaction(5, masks=(Mask("2.0", "a"), Mask("4.0", "b")), summary="")
    second = compaction(6, "1.0", "2.0", masks=(Mask("4.0", "b"),))
    items = fold([*TALK, first, second])
    assert [(i.id, i.text, i.masked) for i in items] == [
        ("0.0", "fix it", False),
        ("6.0", "short", False),
        ("3.0", "again", False),
        ("4.0", "b", True),
    ]


def test_the_original_of_a_masked_item_stands_in_its_own_entry() -> None:
    (item,) = [added(e, "2.0") for e in TALK if e.seq == 2]
    assert item is not None
    assert original(item) == "line\n" * 400
    (reply,) = [added(e, "1.0") for e in TALK if e.seq == 1]
    assert reply is not None
    assert original(reply) == 'looking\n[called shell: {"n":1}]'


def test_a_view_that_begins_with_a_reply_is_led_in_by_a_message() -> None:
    sent = provider_messages(fold(TALK)[1:], "You repair.")
    assert [m["role"] for m in sent] == ["system", "user", "assistant", "tool", "assistant", "tool"]
    assert sent[1]["content"] == EARLIER
    assert provider_messages([Item("1.0", "assistant", "hi")], "") == [
        {"role": "user", "content": EARLIER},
        {"role": "assistant", "content": "hi"},
        {"role": "user", "content": GO_ON},
    ]


def test_a_masked_result_with_an_empty_text_is_no_empty_message() -> None:
    items = fold([*TALK, compaction(5, masks=(Mask("2.0", ""),), summary="")])
    first = next(m for m in provider_messages(items, "") if m["role"] == "tool")
    assert first["content"] == "(no output)"


SHAPES = st.lists(st.integers(0, 3), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(SHAPES, st.data())
def test_f13_whatever_left_or_was_masked_a_provider_gets_whole_pairs(
    shape: list[int], data: st.DataObject
) -> None:
    """Units leave whole; every item may be masked; the roles follow each other as providers want them."""
    items: list[Item] = []
    units: list[list[str]] = []
    for n, calls in enumerate(shape):
        ids = [f"c{n}_{k}" for k in range(calls)]
        made = tuple(ViewCall(c, "shell", "{}") for c in ids)
        unit = [Item(f"{n}.0", "assistant" if calls else "user", "text", made)]
        unit += [Item(f"{n}.{k + 1}", "result", "out", call=c, tool="shell") for k, c in enumerate(ids)]
        items += unit
        units.append([i.id for i in unit])
    gone = {i for u in units if data.draw(st.booleans()) for i in u}
    masks = tuple(Mask(i.id, "…") for i in items if i.id not in gone and data.draw(st.booleans()))
    view = list(items)
    apply(view, compaction(99, *gone, masks=masks, summary="what was" if gone else ""))
    sent = provider_messages(view, "system")
    assert sent[0]["role"] == "system"
    assert sent[1]["role"] == "user"
    waiting: list[str] = []
    for message in sent[1:]:
        if message["role"] == "tool":
            assert waiting.pop(0) == message["tool_call_id"]
        else:
            assert not waiting
            waiting = [c["id"] for c in message.get("tool_calls", ())]
        assert message["content"] or message.get("tool_calls")
    assert not waiting

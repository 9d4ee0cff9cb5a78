"""`context.recall`: pages, finding, handles; what a session's store gives out, and what it does not."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from drivers.moving_kit import Written, exported, imported

from loopspec.codec import encode
from loopspec.drivers.forking import fork
from loopspec.drivers.recalling import recall
from loopspec.errors import Damaged, NotFound
from loopspec.events import ContextCompacted, Mask, ModelOverflowed, UserMessage
from loopspec.hooks import ToolContext, ToolFailed
from loopspec.journal.chain import read, seal
from loopspec.stores.memory import MemoryStore
from loopspec.stores.sqlite import FILE, SqliteStore
from loopspec.tools.recall import RECALL, ROOM, WIDTH

TEXTS = {
    "12.0": "\n".join(f"line {n}: value {n * 7}" for n in range(1, 501)),
    "13.0": "x" * (WIDTH * 2 + 1),
    "14.0": "",
    "15.0": "y" * ROOM * 3,
}


def ask(**args: Any) -> str:
    def give(handle: str) -> str:
        if handle not in TEXTS:
            raise NotFound(f"`{handle}` is no handle of this conversation")
        return TEXTS[handle]

    return asyncio.run(RECALL.run(ToolContext(Path(), lambda _: None, recall=give), args))


def test_a_page_says_where_it_stands_and_how_to_go_on() -> None:
    first = ask(handle="12.0").split("\n")
    assert first[0] == "[12.0: lines 1 to 200 of 500; go on with from: 201]"
    assert first[1:] == [f"line {n}: value {n * 7}" for n in range(1, 201)]
    last = ask(handle=" [12.0] ", **{"from": 499}).split("\n")
    assert last == ["[12.0: lines 499 to 500 of 500]", "line 499: value 3493", "line 500: value 3500"]
    assert ask(handle="12.0", **{"from": 3, "lines": 1}).split("\n")[1:] == ["line 3: value 21"]


def test_a_line_without_end_is_broken_and_a_page_is_bounded() -> None:
    assert [len(r) for r in ask(handle="13.0").split("\n")[1:]] == [WIDTH, WIDTH, 1]
    assert ask(handle="14.0") == "[14.0: lines 1 to 1 of 1]\n"
    page = ask(handle="15.0")
    assert ROOM - 2 * WIDTH < len(page) < ROOM + 100
    assert "go on with from:" in page.split("\n")[0]


def test_finding_gives_the_lines_around_and_the_way_on() -> None:
    said = ask(handle="12.0", find="VALUE 77").split("\n")
    assert said[0] == "[12.0: 3 of 500 lines hold `VALUE 77`]"
    assert said[1:7] == [*(f"{n}: line {n}: value {n * 7}" for n in range(9, 14)), "…"]
    assert said.count("…") == 1  # 110 and 111 are neighbours
    many = ask(handle="12.0", find="line").split("\n")[0]
    assert many.startswith("[12.0: 500 of 500 lines hold `line`")
    again = ask(handle="12.0", find="value 7", **{"from": 105}).split("\n")
    assert again[0] == "[12.0: 10 of 500 lines hold `value 7`]"


def test_finding_meets_what_stands_across_the_border_of_a_broken_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "a" * (WIDTH - 3) + "Needle" + "b" * WIDTH + "\n" + "c" * WIDTH + "\nd"
    monkeypatch.setitem(TEXTS, "16.0", text)
    said = ask(handle="16.0", find="needle").split("\n")
    assert said[0] == "[16.0: 1 of 5 lines hold `needle`]"
    assert [len(row) for row in said[1:]] == [WIDTH + 3, WIDTH + 3, 6]
    with pytest.raises(ToolFailed, match="none of the 5 lines"):
        ask(handle="16.0", find="cd")  # another line


@pytest.mark.parametrize(
    ("args", "fault"),
    [
        ({"handle": "99.0"}, "`99.0` is no handle of this conversation"),
        ({"handle": "12.0", "from": 501}, "`12.0` has 500 lines; `from` may be 1 to 500"),
        ({"handle": "12.0", "find": "nowhere"}, "`nowhere` is in none of the 500 lines of `12.0`"),
    ],
)
def test_what_cannot_be_is_said(args: dict[str, Any], fault: str) -> None:
    with pytest.raises(ToolFailed, match="^" + fault.replace("`", "`")):
        ask(**args)


def test_without_a_conversation_nothing_is_recalled() -> None:
    with pytest.raises(ToolFailed, match="nothing can be recalled here"):
        asyncio.run(RECALL.run(ToolContext(Path(), lambda _: None), {"handle": "1.0"}))


# ---------------------------------------------------------------- what a store gives out

WHOLE = ("head of it\n" + "é middle\n" * 5_000 + "tail").encode()


def compacted(store: Any, session: str) -> Written:
    """A session whose large result was masked and whose beginning left the view."""
    made = Written(store, session)
    made.tell(UserMessage("the task"))
    made.turn("I look", WHOLE)
    made.tell(ModelOverflowed(made.effect.id), "model")
    ids = [item.id for item in made.told.items]
    mask = Mask(ids[2], f"[{ids[2]}: shortened]")
    event = ContextCompacted(made.effect.id, replaces=(ids[0],), masks=(mask,), summary="s")
    made.tell(event, "compact")
    assert [i.masked for i in made.told.items] == [False, False, True]
    return made


def result_of(made: Written) -> str:
    return made.told.items[2].id


def test_the_whole_output_the_reply_and_what_left_are_had_back() -> None:
    store = MemoryStore()
    made = compacted(store, "s1")
    last = made.snapshot.seq
    assert recall(store, "s1", last, result_of(made)) == WHOLE.decode()
    assert recall(store, "s1", last, "1.0") == "the task"
    reply = made.told.items[1].id
    assert recall(store, "s1", last, reply).startswith("I look\n[called read: ")
    assert recall(store, "s1", last, f"{last}.0") == "s"  # the summary itself


@pytest.mark.parametrize(
    "handle",
    ["", "1", "1.1", "1.9", "999.0", "01.0", "-1.0", "1.0\n", "../s2", "s2:1.0", "1e3.0", "²5.0"],
)
def test_nothing_else_of_the_store_can_be_named(handle: str) -> None:
    store = MemoryStore()
    compacted(store, "s2")
    made = compacted(store, "s1")
    with pytest.raises(NotFound):
        recall(store, "s1", made.snapshot.seq, handle)


def test_an_entry_that_was_edited_is_not_quoted(tmp_path: Path) -> None:
    import sqlite3

    store = SqliteStore(tmp_path / "store")
    made = compacted(store, "s1")
    store.close()
    conn = sqlite3.connect(tmp_path / "store" / FILE)
    (body,) = conn.execute("SELECT body FROM entries WHERE seq = 1").fetchone()
    conn.execute("UPDATE entries SET body = ? WHERE seq = 1", (body.replace(b"the task", b"THE TASK"),))
    conn.commit()
    conn.close()
    again = SqliteStore(tmp_path / "store", readonly=True)
    with pytest.raises(Damaged):
        recall(again, "s1", made.snapshot.seq, "1.0")
    again.close()
    assert read(encode(seal(read(body)))).seq == 1


def test_handles_hold_in_a_fork_and_after_an_export(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "one")
    made = compacted(store, "s1")
    last, handle = made.snapshot.seq, result_of(made)
    other = SqliteStore(tmp_path / "two")
    imported(other, exported(store, "s1"))
    assert recall(other, "s1", last, handle) == WHOLE.decode()
    other.close()
    key = fork(store, "s1", 0)
    with pytest.raises(NotFound):
        recall(store, key, 0, "1.0")  # what came later is no part of the fork
    store.close()

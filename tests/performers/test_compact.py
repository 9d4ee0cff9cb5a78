"""The performer of compaction: what a model writes, how it is bounded, and what stands without it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from loopspec.context.transcript import Item, ViewCall
from loopspec.effects import CompactContext, Effect
from loopspec.events import ContextCompacted, EffectCancelled, Kept, Live, Progress
from loopspec.hooks import AskFailed, Reply
from loopspec.machine.model import ContextRules, Machine, ModelDecl, State
from loopspec.performers.compact import CompactPerformer
from loopspec.performers.writing import ITEM, MOST_PIECES, SYSTEM, split, told
from loopspec.snapshot import Snapshot
from loopspec.tokens import estimate

EFFECT = CompactContext("s:9:0", "compacting", 400)
LONG = "the parser fails at line 41 of src/parse.py because of a tab; " * 40


def machine(window: int = 0, config: str = '{"model":"writer"}') -> Machine:
    return Machine(
        name="m",
        version="1.0.0",
        initial="compacting",
        states={"compacting": State("compacting", kind="compact", config=config)},
        transitions=(),
        models={"writer": ModelDecl("writer", "sim/writer", window=window)},
        context=ContextRules(),
    )


Answer = Callable[[str], str]


@dataclass
class Asked:
    """As much of a world as compaction looks at; `answer` is the model."""

    items: tuple[Item, ...]
    answer: Answer
    machine: Machine = field(default_factory=machine)
    snapshot: Snapshot = field(default_factory=lambda: Snapshot(session="s", machine="m"))
    blobs: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    systems: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    def blob(self, digest: str) -> bytes:
        return self.blobs[digest]

    def watch(self, event: Live) -> None:
        assert isinstance(event, Progress)
        self.shown.append(event.text)

    async def ask(
        self, effect: Effect, model: str, messages: Sequence[Mapping[str, str]], system: str = ""
    ) -> Reply:
        assert (effect.id, model, len(messages)) == ("s:9:0", "writer", 1)
        self.asked.append(messages[0]["content"])
        self.systems.append(system)
        return Reply(self.answer(self.asked[-1]), "sim/writer")


def item(n: int, role: str, text: str, **more: Any) -> Item:
    return Item(f"{n}.0", role, text, tokens=estimate(text), **more)


def view(units: int = 12) -> tuple[Item, ...]:
    """A task, replies with calls and results, and a last word."""
    items = [item(0, "user", "THE TASK: repair it")]
    for n in range(1, units):
        call = ViewCall(f"c{n}", "shell", f'{{"cmd":"make part{n}"}}')
        items.append(item(n * 2, "assistant", f"step {n}", calls=(call,)))
        items.append(item(n * 2 + 1, "result", f"{n}: {LONG}", call=f"c{n}", tool="shell"))
    return (*items, item(units * 2, "user", "THE LAST WORD"))


def perform(world: Asked, effect: CompactContext = EFFECT) -> Kept:
    return asyncio.run(CompactPerformer().perform(effect, world))  # type: ignore[arg-type]


def test_the_models_text_stands_in_the_summary_and_says_who_wrote_it() -> None:
    world = Asked(view(), lambda asked: "The tab in src/parse.py is the cause.")
    made = perform(world)
    assert isinstance(made, ContextCompacted)
    assert made.written_by == "sim/writer"
    assert "The tab in src/parse.py is the cause." in made.summary
    assert "a record, not instructions" in made.summary
    assert made.after < made.before
    assert world.systems == [SYSTEM] * len(world.asked)
    assert world.shown[0].startswith("writer writes down what leaves the view")
    for asked in world.asked:
        assert "THE TASK" not in asked
        assert "THE LAST WORD" not in asked


@pytest.mark.parametrize("text", ["", "   \n", "blah " * 60_000])
def test_an_empty_text_and_one_that_wins_nothing_leave_the_mechanical_summary(text: str) -> None:
    without = perform(Asked(view(), lambda asked: "", machine(config="{}")))
    made = perform(Asked(view(), lambda asked: text))
    assert made == without
    assert isinstance(made, ContextCompacted)
    assert made.written_by == ""


def test_a_model_that_cannot_be_had_leaves_the_mechanical_summary_and_it_is_said() -> None:
    def fails(asked: str) -> str:
        raise AskFailed("writer", "overflow", "too long")

    world = Asked(view(), fails)
    made = perform(world)
    assert isinstance(made, ContextCompacted)
    assert made.written_by == ""
    assert "without a model" in world.shown[-1]


def test_a_cancel_while_the_model_writes_is_answered_so() -> None:
    started = asyncio.Event()

    class Slow(Asked):
        async def ask(self, *_: object, **__: object) -> Reply:
            started.set()
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

    async def go() -> Kept:
        world: Any = Slow(view(), lambda asked: "")
        task = asyncio.create_task(CompactPerformer().perform(EFFECT, world))
        await started.wait()
        task.cancel()
        return await task

    assert asyncio.run(go()) == EffectCancelled("s:9:0", started=True)


def test_what_is_read_at_a_time_fits_the_writers_window_and_carries_the_record_on() -> None:
    world = Asked(view(40), lambda asked: f"record {len(world.asked)}", machine(window=8_000))
    made = perform(world)
    assert isinstance(made, ContextCompacted)
    assert 1 < len(world.asked) <= MOST_PIECES
    assert all(estimate(asked) < 8_000 // 2 + 400 for asked in world.asked)
    assert "<record>\nrecord 1\n</record>" in world.asked[1]
    assert f"record {len(world.asked)}" in made.summary


def test_a_very_long_part_is_read_from_its_newest_pieces() -> None:
    world = Asked(view(400), lambda asked: "the record", machine(window=2_000))
    assert isinstance(perform(world), ContextCompacted)
    assert len(world.asked) == MOST_PIECES
    assert "Older parts than this one are not shown." in world.asked[0]


def test_the_specs_own_words_reach_the_model() -> None:
    world = Asked(view(), lambda asked: "short", blobs={"d": b"Write a haiku."})
    perform(world, CompactContext("s:9:0", "compacting", 400, system="d"))
    assert set(world.systems) == {"Write a haiku."}


def test_an_item_is_told_with_its_handle_and_from_both_ends() -> None:
    call = ViewCall("c1", "shell", '{"cmd":"make"}')
    assert told(item(3, "assistant", "I look", calls=(call,)), 5_000) == (
        '[3.0] assistant: I look\n  calls shell: {"cmd":"make"}'
    )
    long = told(item(4, "result", "a" * 9_000 + "z" * 9_000, tool="read", status="error"), 5_000)
    assert long.startswith("[4.0] result of read (error): aaa")
    assert long.endswith("zzz")
    assert f"[… {18_000 - ITEM:,} characters …]" in long


def test_a_reply_with_very_many_calls_still_fits_a_piece() -> None:
    calls = tuple(ViewCall(f"c{n}", "read", '{"path": "' + "x" * 900 + '"}') for n in range(200))
    text = told(Item("4.0", "assistant", "look", calls=calls, tokens=60_000), 3_000)
    assert len(text) < 6_200
    assert text.startswith("[4.0] assistant: look\n  calls read: {")


def test_pieces_never_part_an_item() -> None:
    items = [item(n, "user", f"{n} " * 50) for n in range(20)]
    pieces = list(split(items, 200))
    assert len(pieces) > 3
    assert "\n".join(pieces) == "\n".join(told(i, 200) for i in items)

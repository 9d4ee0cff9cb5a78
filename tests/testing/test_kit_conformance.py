"""Conformance: loopspec's own tools, kinds, stores and offline models keep the promises; broken ones are
told apart, promise by promise."""

import asyncio
import doctest
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from loopspec.effects import Effect
from loopspec.errors import LoopspecError
from loopspec.events import EffectAnswered, Kept, TokenUsage
from loopspec.hooks import (
    Kind,
    ModelAsk,
    ModelFacts,
    Piece,
    Tool,
    ToolContext,
    ToolFailed,
    World,
    hook,
)
from loopspec.performers import builtin
from loopspec.performers.scripted_provider import ScriptedProvider
from loopspec.stores.base import Append
from loopspec.stores.memory import MemoryStore
from loopspec.stores.sqlite import SqliteStore
from loopspec.testing import conformance, conformance_base
from loopspec.testing.conformance import Account
from loopspec.tools.catalog import TOOLS

FILES = {"a.txt": "one\ntwo\n", "b/c.txt": "three\n"}
OWN: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "files.read": ({"path": "a.txt"}, {"path": "none.txt"}),
    "files.write": ({"path": "new.txt", "content": "x"}, {"path": "../out.txt", "content": "x"}),
    "files.edit": (
        {"path": "a.txt", "old": "one", "new": "1"},
        {"path": "a.txt", "old": "absent", "new": "1"},
    ),
    "files.list": ({}, {"path": "nowhere"}),
    "files.search": ({"pattern": "t"}, {"pattern": "("}),
    "shell.run": ({"command": "echo hi"}, None),
    "ask.person": ({"question": "Why?"}, None),
    "context.recall": ({"handle": "1.0"}, {"handle": "9.9"}),
}


class Answers:
    """A person who has an answer."""

    async def answer(self, question: str) -> str:
        await asyncio.sleep(0)
        return "because"


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_our_own_tools_keep_the_promises(tool: Tool) -> None:
    args, failing = OWN[tool.name]
    conformance.tool(tool, args, files=FILES, failing=failing, people=Answers()).check()


class Again:
    """A plugin that brings what loopspec ships a second time."""

    @hook
    def loopspec_kinds(self) -> list[Kind]:
        return [kind for kind in builtin.KINDS if kind.shape == "none"]


def test_a_plugin_that_brings_what_is_there_is_found() -> None:
    assert conformance.plugin(Again()).faults == [
        "it can be loaded beside what loopspec ships: plugin mine: kind `input` is already brought by "
        "plugin builtin. uninstall one of them: this one, or builtin"
    ]


def test_the_waiting_kind_runs_and_is_simulated() -> None:
    (wait,) = (k for k in builtin.KINDS if k.name == "wait")
    conformance.kind(wait, config={"for": "1s"}, seeds=5).check()


def test_our_own_stores_keep_the_promises() -> None:
    conformance.store(lambda path: SqliteStore(path / "store"), name="sqlite").check()
    conformance.store(lambda _: MemoryStore(), durable=False, name="memory").check()


def test_our_own_models_keep_the_promises(tmp_path: Path) -> None:
    script = tmp_path / "script.yaml"
    script.write_text(
        "script: 1\nloop: true\nturns:\n  - thinking: hm\n    reply: Hello\n"
        "    calls: [{tool: read_file, args: {path: a.py}}]\n"
    )
    account = conformance.provider(ScriptedProvider(), str(script), unknown=str(tmp_path / "none"))
    account.check()
    assert "its calls are whole" in account.promises


# ------------------------------------------------------------ what is broken is found


def tool(run: Any, **more: Any) -> Tool:
    """A tool that runs so."""
    parameters = {"type": "object", "properties": {"path": {"type": "string"}}}
    return Tool("mine.try", "Tries.", parameters, run, **({"effect": "read"} | more))


LEFT: list[Any] = []


async def _number(ctx: ToolContext, args: dict[str, Any]) -> Any:
    return 7


async def _writes(ctx: ToolContext, args: dict[str, Any]) -> str:
    (ctx.workdir / "left.txt").write_text("x")
    return "done"


async def _stubborn(ctx: ToolContext, args: dict[str, Any]) -> str:
    LEFT.append(asyncio.ensure_future(asyncio.sleep(60)))
    await asyncio.sleep(0)
    return "done"


def test_what_runs_on_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance_base, "PATIENCE", 0.1)
    account = conformance.tool(tool(_stubborn), {})
    assert account.faults == [
        "a cancelled run ends and leaves nothing running: it left 1 tasks and the processes {} running"
    ]


async def _breaks(ctx: ToolContext, args: dict[str, Any]) -> str:
    if args:
        raise KeyError("path")
    return "done"


async def _fails(ctx: ToolContext, args: dict[str, Any]) -> str:
    raise ToolFailed("never")


@pytest.mark.parametrize(
    ("run", "fault"),
    [
        (_number, "it gives back text: it gave int"),
        (_writes, "what reads changes nothing: the work directory has changed"),
        (_fails, "it gives back text: it raised ToolFailed: never"),
    ],
)
def test_a_tool_that_breaks_a_promise_is_found(run: Any, fault: str) -> None:
    account = conformance.tool(tool(run), {})
    assert fault in account.faults
    with pytest.raises(AssertionError, match="BROKEN"):
        account.check()


def test_a_tool_that_fails_otherwise_than_by_saying_so_is_found() -> None:
    account = conformance.tool(tool(_breaks), {}, failing={"path": "x"})
    assert account.faults == ["what cannot work ends in ToolFailed: KeyError: 'path'"]


def test_a_tool_that_is_declared_badly_is_found() -> None:
    def run(ctx: ToolContext) -> str:
        return ""

    assert conformance.tool(tool(run), {}).faults == [
        "it is declared well: tool `mine.try`: seen `def run(ctx)`, wanted `async def run(ctx, args)`"
    ]


SEEN = Kind(
    name="look",
    shape="one",
    effect="perform",
    performer="look",
    endings={
        "look.done": json.dumps({"type": "object", "properties": {"count": {"type": "integer"}}}),
    },
    doc="Looks.",
)


class Looks:
    """Answers as its kind says."""

    async def perform(self, effect: Effect, world: World) -> Kept:
        return EffectAnswered(effect.id, "look.done", '{"count": 1}')


class Lies:
    """Answers with what its kind does not know."""

    async def perform(self, effect: Effect, world: World) -> Kept:
        return EffectAnswered(effect.id, "look.away")


def test_a_kind_that_keeps_the_promises_is_let_through() -> None:
    conformance.kind(SEEN, Looks, ends="look.done", seeds=5).check()


def test_a_kind_whose_performer_lies_is_found() -> None:
    account = conformance.kind(SEEN, Lies, seeds=0)
    (first, *_) = account.faults
    assert first.startswith(
        "its answer is one it has declared: the performer answered with `look.away`, which its kind"
    )


class Forgets(MemoryStore):
    """A store that takes whatever comes."""

    def append(self, item: Append) -> Any:
        head = self.head(item.session)
        seq = head.seq + 1 if head else 0
        return super().append(Append(**{**vars(item), "seq": seq, "token": 0}))


def test_a_store_that_lets_two_drivers_write_is_found() -> None:
    faults = conformance.store(lambda _: Forgets(), name="forgets").faults
    broken = {fault.partition(":")[0] for fault in faults}
    assert {
        "an entry out of turn conflicts and changes nothing",
        "of many writers of the same entry one wins",
        "what was appended is there when it is opened again",
    } <= broken


class Rambles:
    """A provider that never says why it ends, and whose arguments are half."""

    def facts(self, name: str) -> ModelFacts:
        if name != "m":
            raise LoopspecError("no such model")
        return ModelFacts()

    async def stream(self, ask: ModelAsk) -> AsyncIterator[Piece]:
        yield Piece(call=(0, "read_file", '{"path": '))
        yield Piece(usage=TokenUsage(1, 1))


def test_a_provider_that_breaks_promises_is_found() -> None:
    assert conformance.provider(Rambles(), "m", unknown="x").faults == [
        "it says at the end, and once, why it ends: []",
        "its calls are whole: the arguments of call 0 are no JSON",
    ]


def test_the_report_can_be_read() -> None:
    account = Account("tool mine")
    account.note("it works")
    account.note("it stops", "it does not")
    assert str(account) == (
        "tool mine: 2 promises, 1 broken\n  kept    it works\n  BROKEN  it stops: it does not"
    )


def test_the_examples_of_the_manual_hold() -> None:
    assert doctest.testmod(conformance) == doctest.TestResults(failed=0, attempted=5)

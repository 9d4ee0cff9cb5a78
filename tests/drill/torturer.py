"""A program for the tests: tortures small loops, whole and sabotaged, and prints what it found as JSON.

It is a process of its own because only one without threads may fork, and one for all of the tests
because a model's library takes seconds to load.
"""

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from loopspec.cli.exits import exit_of
from loopspec.cli.signals import signals
from loopspec.cli.text_door import TextDoor
from loopspec.drill.job import FULL, HANGUP, KILL, TERM, Case, Job, parse_case
from loopspec.drill.marked import MarkedStore
from loopspec.drill.torture import Result, plan, run
from loopspec.drivers import launch, local
from loopspec.errors import LoopspecError
from loopspec.hooks import Tool, ToolContext, hook
from loopspec.performers import builtin
from loopspec.registry import Registry, build
from loopspec.stores.base import Append

HERE = Path(__file__).parent
NO_ARGS: dict[str, Any] = {"type": "object", "additionalProperties": False}
AMOUNT = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}


async def pay(ctx: ToolContext, args: dict[str, Any]) -> str:
    return f"paid {args['amount']}\n" + "a long receipt\n" * 4000


async def tally(ctx: ToolContext, args: dict[str, Any]) -> str:
    with (ctx.workdir / "tally.txt").open("a") as file:
        file.write("|\n")
    return "counted"


class World:
    """A plugin with an act that may not be repeated, and one that wrongly says it may."""

    @hook
    def loopspec_tools(self) -> list[Tool]:
        return [
            Tool(name="world.pay", description="Pay.", parameters=AMOUNT, run=pay),
            Tool(
                name="world.tally",
                description="Count.",
                parameters=NO_ARGS,
                run=tally,
                effect="write",
                after_crash="rerun",
            ),
        ]


class EarlyStore(MarkedStore):
    """Sabotage: acknowledges a claim before it is written, and writes it with the next entry."""

    def __init__(self, path: Path, reached: Callable[[str], None]) -> None:
        super().__init__(path, reached)
        self._held: Append | None = None

    def append(self, item: Append) -> "Future[None]":
        held, self._held = self._held, None
        if held is not None:
            super().append(held)
        if b'"effect.claimed"' not in item.entry:
            return super().append(item)
        self._held = item
        done: Future[None] = Future()
        done.set_result(None)
        return done


class Deaf:
    """Sabotage: nobody listens to signals."""

    @staticmethod
    @contextlib.asynccontextmanager
    async def signals(driver: Any, door: Any) -> AsyncIterator[None]:
        yield


def job(spec: str, registry: Registry, workdir: Path | None) -> Job:
    path = HERE / spec
    loaded = launch.load(str(path), registry)
    if loaded.machine is None:
        raise SystemExit("\n".join(map(str, loaded.diagnostics)))
    machine = launch.anchored(loaded.machine, path.parent)
    windows = launch.preflight(machine)
    return Job(
        machine=machine,
        registry=registry,
        started=launch.started(machine, registry, "{}", HERE, windows, "test"),
        workdir=workdir,
        prompts=("Go.",),
        ends=exit_of,
        signals=signals,
        terminal=lambda: TextDoor(yes=True, terminal=True, ask=False),
    )


def said(results: list[Result]) -> list[tuple[str, str, list[str]]]:
    """Each case, its verdict and its differences."""
    return [
        (str(r.case), r.verdict.result, [str(d) for d in r.verdict.differences]) for r in results
    ]


def tried(found: Job, scratch: Path, only: list[str]) -> list[tuple[str, str, list[str]]]:
    scratch.mkdir()
    made = plan(found, scratch)
    cases = [parse_case(text) for text in only]
    return said(run(found, made.reference.evidence, cases, scratch))


def of(cases: tuple[Case, ...], harm: str) -> list[Case]:
    return [case for case in cases if case.harm == harm]


def main(scratch: Path, step: int) -> None:
    """`step` is how many kills to pass over for each one tried; 1 tries them all."""
    registry = build([("builtin", "0", builtin), ("world", "0", World())])
    for make in registry.performers.values():
        make()
    desk = scratch / "desk"
    desk.mkdir()
    (desk / "notes.txt").write_text("old\n")
    undo, count = job("undo.yaml", registry, desk), job("tally.yaml", registry, None)
    (scratch / "whole").mkdir()
    made = plan(undo, scratch / "whole")
    kills = of(made.cases, KILL)[::step]
    others = [case for harm in (TERM, HANGUP, FULL) for case in of(made.cases, harm)[1:8:step]]
    twice = [parse_case(f"act.done#1+{n}") for n in (1, 9, 12)]
    results = run(undo, made.reference.evidence, [*kills, *others, *twice], scratch / "whole")
    out: dict[str, Any] = {
        "points": made.points,
        "whole": said(results),
        "messages": {str(r.case): r.verdict.said for r in results if r.verdict.said},
        "left": sorted(p.name for p in (scratch / "whole").glob("case-*")),
        "facts": made.reference.evidence.facts,
        "early": tried(replace(undo, store=EarlyStore), scratch / "early", ["act.done#1"]),
        "deaf": tried(replace(undo, signals=Deaf.signals), scratch / "deaf", ["term@act.begins#1"]),
        "tally": tried(count, scratch / "tally", ["act.done#1", "act.begins#1"]),
        "missed": tried(count, scratch / "missed", ["no.such-point#1"]),
    }
    needs_claim, local.needs_claim = local.needs_claim, lambda machine, effect: False
    out["unclaimed"] = tried(undo, scratch / "unclaimed", ["act.done#1"])
    local.needs_claim = needs_claim
    (scratch / "late").mkdir()
    try:
        plan(replace(undo, seconds=0.0), scratch / "late")
    except LoopspecError as err:
        out["late"] = str(err)
    print(json.dumps(out))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

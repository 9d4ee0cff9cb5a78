"""Conformance of kinds: a real session in which a state of the kind does its work, and is interrupted.

Rules of this file:
1. The kind runs as users run it: in a compiled spec, by the local driver, over a store.
2. What comes of it is read in the journal.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from loopspec.drivers import launch
from loopspec.drivers.door import Nobody
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.session import Session
from loopspec.drivers.world import SystemClock
from loopspec.errors import LoopspecError
from loopspec.events import (
    EffectAnswered,
    EffectCancelled,
    EffectFailed,
    EffectLost,
    EffectStarted,
    Kept,
    Live,
    UserInterrupted,
)
from loopspec.governance.redact import Redactor
from loopspec.hooks import Kind, Performer, hook
from loopspec.journal.chain import read
from loopspec.machine.model import Machine
from loopspec.machine.rest import Rest
from loopspec.performers import builtin
from loopspec.registry import PluginError, Registry, build
from loopspec.registry_checks import check_kind
from loopspec.spec.diagnose import render_text
from loopspec.stores.memory import MemoryStore
from loopspec.testing.conformance_base import PATIENCE, Account, Folder
from loopspec.testing.many import Plan, batches
from loopspec.version import __version__

SEEDS: Final = 20


def kind(
    tested: Kind,
    performer: Callable[[], Performer] | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    models: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    ends: str = "",
    seeds: int = SEEDS,
) -> Account:
    """Try a kind with its performer (None for a kind that only waits).

    `config` are the keys of its state as a spec writes them; `models` the models it may ask, by name
    (`scripted/FILE`); `files` lie in the work directory, where relative scripts are looked for, too.
    `ends` is the ending that is expected, any of the kind's own if left out. Then it is simulated:
    `seeds` sessions in which everything goes wrong that can.
    """
    account = Account(f"kind {tested.name}")
    try:
        check_kind(tested, "mine")
        registry = _registry(tested, performer)
    except PluginError as err:
        account.note("it is declared well", err.fault)
        return account
    account.note("it is declared well")
    account.note("it says what it is for", "" if tested.doc.strip() else "its `doc` is empty")
    text = json.dumps(_spec(tested, dict(config or {}), dict(models or {})))
    loaded = launch.load_text(text, registry, "conformance.yaml")
    faults = [d for d in loaded.diagnostics if d.severity == "error"]
    told = render_text(faults, {loaded.name: loaded.source}) if faults else ""
    account.note("a spec can use it", told.strip())
    if loaded.machine is None:
        return account
    if tested.shape == "one" and performer is not None:
        with Folder(files or {}) as where:
            machine = launch.anchored(loaded.machine, where)
            asyncio.run(_runs(machine, registry, where, tested, ends, account))
    if seeds:
        account.note(f"it is simulated {seeds} times", _simulated(loaded.machine, seeds))
    return account


def _registry(tested: Kind, performer: Callable[[], Performer] | None) -> Registry:
    """What loopspec ships, and the kind; raises `PluginError`."""
    from_us = {"loopspec_kinds": lambda: [tested]}
    more: dict[str, Any] = {}
    if performer is not None:
        more["loopspec_performers"] = lambda: {tested.performer: performer}
    if tested.name in {one.name for one in builtin.KINDS}:
        return build([("builtin", __version__, builtin)])
    return build([("builtin", __version__, builtin), ("mine", "0", _Bringing({**from_us, **more}))])


class _Bringing:
    """A plugin made of functions."""

    def __init__(self, hooks: Mapping[str, Callable[[], Any]]) -> None:
        """`hooks` by name."""
        for name, function in hooks.items():
            function.__name__ = name
            setattr(self, name, hook(function))


def _spec(tested: Kind, config: dict[str, Any], models: dict[str, str]) -> dict[str, Any]:
    """A spec whose first state is of the kind; each of its endings leads to the end."""
    routes: dict[str, Any] = dict.fromkeys(tested.endings, "done")
    if tested.rests:
        routes |= dict.fromkeys(tested.offers, "done")
    if tested.effect == "perform":
        routes["effect.failed"] = "done"
    if not tested.repeatable:
        routes["effect.lost"] = "done"
    work: dict[str, Any] = {"kind": tested.name, **config, "on": routes}
    around = {"user.interrupted": "stopped", "error.execution": "stopped", "budget.exhausted": "done"}
    spec: dict[str, Any] = {
        "loopspec": 1,
        "name": "conformance",
        "version": "1.0.0",
        "budgets": {"turns": 50, "elapsed": "1h"},
        "initial": "busy",
        "states": {
            "busy": {"initial": "work", "on": around, "states": {"work": work}},
            "stopped": {"kind": "interrupt", "on": {"user.resumed": "busy", "user.message": "busy"}},
            "done": {"type": "final"},
        },
    }
    return spec | ({"models": {name: {"use": use} for name, use in models.items()}} if models else {})


async def _runs(
    machine: Machine, registry: Registry, where: Path, tested: Kind, ends: str, account: Account
) -> None:
    """Let it work to its end, then interrupt it."""
    facts = [e for e in await _session(machine, registry, where, interrupt=False) if _of(e)]
    account.note("its performer answers once", "" if len(facts) == 1 else repr(facts))
    if facts:
        answer = facts[-1]
        failed = answer.reason if isinstance(answer, EffectFailed) else ""
        account.note("its answer is one it has declared", failed)
        name = answer.name if isinstance(answer, EffectAnswered) else type(answer).__name__
        if ends:
            account.note(f"it ends in {ends}", "" if name == ends else f"it ended in {name}")
    facts = [e for e in await _session(machine, registry, where, interrupt=True) if _of(e)]
    lost = [e.reason for e in facts if isinstance(e, EffectLost | EffectFailed)]
    account.note("interrupted, it stops in time and says so", "; ".join(lost))


def _of(event: Kept) -> bool:
    """Whether an event settles an effect of the kind."""
    return isinstance(event, EffectAnswered | EffectFailed | EffectCancelled | EffectLost)


async def _session(
    machine: Machine, registry: Registry, where: Path, *, interrupt: bool
) -> list[Any]:
    """Run a session until it rests; its events."""
    store = MemoryStore()
    try:
        begun = launch.started(machine, registry, "{}", where, {}, __version__)
        clock, redactor = SystemClock(), Redactor.from_environment(os.environ)
        session, step = await Session.create(store, machine, "c", begun, clock, redactor)
        door = _Watching()
        driver = LocalDriver(session, registry, door)
        running = asyncio.ensure_future(driver.run((), step))
        if interrupt:
            started = asyncio.ensure_future(door.begun.wait())
            await asyncio.wait(
                {running, started}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED
            )
            started.cancel()
            with contextlib.suppress(LoopspecError):  # it was faster: then nothing is left to stop
                await driver.tell(UserInterrupted())
        _, late = await asyncio.wait({running}, timeout=6 * PATIENCE)
        if late:
            driver.stop(Rest("idle"))
        await running
        return [read(row).event for row in store.entries("c")]
    finally:
        store.close()


class _Watching(Nobody):
    """Notices that an effect has begun."""

    def __init__(self) -> None:
        """Nothing has."""
        super().__init__()
        self.begun = asyncio.Event()

    def live(self, event: Live) -> None:
        """Look for the beginning."""
        if isinstance(event, EffectStarted):
            self.begun.set()


def _simulated(machine: Machine, seeds: int) -> str:
    """What simulated sessions have violated."""
    found = [v for part in batches(Plan(machine), range(seeds), 1) for v in part.violations]
    return "; ".join(f"seed {v.seed}: {v.what}" for v in found[:3])

"""Loop: a spec that was read and found right, and the sessions that are made of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopspec.api.engine import Plan
from loopspec.api.session import Place, Session
from loopspec.drivers import launch
from loopspec.drivers.conforming import Wanted
from loopspec.drivers.guidance import guided
from loopspec.drivers.limiting import Limits, with_limits
from loopspec.drivers.places import open_store, resolve_session
from loopspec.drivers.resuming import plain_prompt
from loopspec.drivers.session import Session as Driven
from loopspec.drivers.session import load_machine, read_snapshot
from loopspec.drivers.world import SystemClock, redactor
from loopspec.errors import BadInput, BadSpec, Conflict, UsageError
from loopspec.machine.model import Machine
from loopspec.registry import Registry, installed
from loopspec.spec.diagnose import Diagnostic, render_text
from loopspec.spec.literals import usd as read_usd
from loopspec.stores.base import Store
from loopspec.version import __version__


class SpecError(BadSpec):
    """A spec with faults. `diagnostics` are all of them, errors and warnings; the text shows them."""

    def __init__(self, spec: str, text: str, diagnostics: tuple[Diagnostic, ...]) -> None:
        """Show every fault."""
        super().__init__(f"the spec is wrong:\n{text}", place=spec)
        self.diagnostics = diagnostics


@dataclass(frozen=True)
class Loop:
    """A loop that can be run. `warnings` are what `loopspec check` would warn of."""

    name: str
    version: str
    file: Path
    warnings: tuple[Diagnostic, ...] = ()
    machine: Machine = field(kw_only=True, repr=False)
    registry: Registry = field(kw_only=True, repr=False)

    def session(
        self,
        prompt: str | None = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        model: str | Mapping[str, str] | None = None,
        workdir: str | Path | None = None,
        store: Place = None,
        id: str | None = None,
        yes: bool = False,
        max_turns: int | None = None,
        max_usd: str | None = None,
        output_schema: Mapping[str, Any] | None = None,
    ) -> Session:
        """A new session, which begins with its first run.

        `prompt` is the first message. `inputs` are the spec's inputs by name. `model` replaces models
        by name (`{"main": "openai/gpt-5-mini"}`), or the only one. `workdir` is where the tools work
        (default: the current directory), `store` where the journal is kept (default as for the command
        line). `yes` answers what is asked with yes, and never overrides a deny. `max_turns` and
        `max_usd` (USD as text) only tighten the spec's budgets. With `output_schema`, a JSON Schema, the
        answer must be JSON that conforms; `Result.output` is its value.

        Raises `BadInput`, `NoKey` for a model whose key is missing, `UsageError` for what cannot be.
        """
        limits = Limits(_turns(max_turns), amount(max_usd))
        wanted = Wanted(dict(output_schema)) if output_schema is not None else None
        machine = launch.with_models(self.machine, choices(self.machine, model))
        machine = with_limits(machine, limits)
        machine = launch.anchored(machine, self.file.parent)
        given = launch.parse_inputs(machine, texts(machine, inputs or {}))
        where = Path(workdir or ".").resolve()
        if not where.is_dir():
            raise UsageError(f"the work directory {where} is no directory")
        machine = guided(machine, where, redactor().text)
        windows = launch.preflight(machine, given, str(where))
        started = launch.started(machine, self.registry, given, where, windows, __version__)
        key = launch.check_id(id) if id is not None else launch.new_id(machine)

        async def create(opened: Store) -> Any:
            try:
                return await Driven.create(opened, machine, key, started, SystemClock(), redactor())
            except Conflict:
                raise UsageError(
                    f"there is a session `{key}` already", remedy=f'loopspec.resume("{key}")'
                ) from None

        plan = Plan(yes=yes, wanted=wanted)
        return Session(key, store, self.registry, plan, said(prompt, wanted), create)


def load(spec: str | Path) -> Loop:
    """Read a spec: a file, or the name of a shipped loop.

    Raises `SpecError` with every fault (`.diagnostics`), `UsageError` when there is no such spec.
    """
    registry = installed()
    loaded = launch.load(str(spec), registry)
    found = tuple(loaded.diagnostics)
    if loaded.machine is None:
        text = render_text(found, {loaded.name: loaded.source}).rstrip("\n")
        raise SpecError(str(spec), text, found)
    machine = loaded.machine
    return Loop(
        machine.name,
        machine.version,
        launch.find(str(spec)).absolute(),
        found,
        machine=machine,
        registry=registry,
    )


def resume(
    id: str,
    prompt: str | None = None,
    *,
    store: Place = None,
    yes: bool = False,
    max_turns: int | None = None,
    max_usd: str | None = None,
    output_schema: Mapping[str, Any] | None = None,
) -> Session:
    """A session that is in a store: its id, the beginning of one, or `last`.

    Its next run goes on where its journal stands, after a crash too. `max_turns` and `max_usd` limit
    each run; the session keeps its own budgets. Raises `NotFound`, `Damaged`, `UsageError`.
    """
    registry = installed()
    limits = Limits(_turns(max_turns), amount(max_usd))
    wanted = Wanted(dict(output_schema)) if output_schema is not None else None
    opened = open_store(store)
    try:
        key = resolve_session(opened, id)
        if limits.usd is not None:
            head = opened.head(key)
            if head is not None:
                machine = load_machine(opened, read_snapshot(head.snapshot, key).machine)
                launch.preflight(with_limits(machine, limits))
    finally:
        opened.close()
    plan = Plan(yes=yes, limits=limits, wanted=wanted)
    return Session(key, store, registry, plan, said(prompt, wanted))


def said(prompt: str | None, wanted: Wanted | None) -> str | None:
    """The message to begin with, and what the answer must conform to; raises `UsageError`."""
    parts = [plain_prompt(prompt)] if prompt is not None else []
    if wanted is not None:
        parts.append(wanted.told)
    return "\n\n".join(parts) if parts else None


def amount(usd: str | None) -> int | None:
    """Nano-USD of an amount; raises `UsageError`."""
    if usd is None:
        return None
    found = read_usd(str(usd))
    if not found:
        raise UsageError(f"`{usd}` is no amount of USD", remedy='write max_usd="1.50"')
    return found


def choices(machine: Machine, model: str | Mapping[str, str] | None) -> list[str]:
    """The models to use, as the command line takes them; raises `UsageError`."""
    if model is None:
        return []
    if isinstance(model, str):
        if len(machine.models) != 1:
            names = ", ".join(machine.models) or "none"
            raise UsageError(
                "which model is replaced is not clear",
                remedy=f'name it: model={{"NAME": "{model}"}}; declared: {names}',
            )
        model = {next(iter(machine.models)): model}
    return [f"{name}={use}" for name, use in model.items()]


def texts(machine: Machine, inputs: Mapping[str, Any]) -> list[str]:
    """Inputs as the command line takes them; raises `BadInput`."""
    out: list[str] = []
    for name, value in inputs.items():
        declared = machine.inputs.get(name)
        wants_text = declared is None or declared.type == "string"
        if wants_text and not isinstance(value, str):
            raise BadInput(f"input `{name}`: {type(value).__name__} is no string")
        try:
            text = value if wants_text else json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as err:
            raise BadInput(f"input `{name}`: {err}") from None
        out.append(f"{name}={text}")
    return out


def _turns(given: int | None) -> int | None:
    """A limit of turns; raises `UsageError` for what is no whole number from 1 on."""
    if given is not None and (type(given) is not int or given < 1):
        raise UsageError(f"max_turns is {given!r}", remedy="give a whole number, at least 1")
    return given

"""Conformance of tools: declared well, run, run again, cancelled, previewed."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from loopspec.codec import canonical_json
from loopspec.errors import NotFound
from loopspec.hooks import People, Tool, ToolContext, ToolFailed
from loopspec.registry_checks import PluginError, check_tool
from loopspec.testing.conformance_base import (
    PATIENCE,
    Account,
    Folder,
    ends_when_cancelled,
    tree,
)
from loopspec.tools.arguments import validate

TICKS: Final = (0, 1, 3, 10, 50)
"""Turns of the event loop after which a run is cancelled."""


def tool(
    tested: Tool,
    args: Mapping[str, Any],
    *,
    config: Mapping[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
    failing: Mapping[str, Any] | None = None,
    people: People | None = None,
) -> Account:
    """Try a tool with arguments that must work, in a new work directory that holds `files`.

    `config` are its keys as they arrive in `ToolContext.config`; `failing` are arguments that fit its
    schema and cannot work: these must end in `ToolFailed`. The tool is really run, twice if a restart
    would rerun it, and some more times to be cancelled.
    """
    account = Account(f"tool {tested.name}")
    try:
        check_tool(tested, "mine")
    except PluginError as err:
        account.note("it is declared well", err.fault)
        return account
    account.note("it is declared well")
    parameters = json.dumps(dict(tested.parameters))
    account.note("its schemas are JSON Schemas", _schemas(tested))
    account.note("the arguments fit its parameters", validate(parameters, dict(args)))
    if account.faults:
        return account
    trial = _Trial(tested, dict(args), dict(config or {}), dict(files or {}), people)
    asyncio.run(trial.all(account))
    if failing is not None:
        account.note("the failing arguments fit its parameters", validate(parameters, dict(failing)))
        account.note("what cannot work ends in ToolFailed", asyncio.run(trial.fails(dict(failing))))
    return account


def _schemas(tested: Tool) -> str:
    """What is wrong with the tool's schemas as a whole."""
    for schema in (tested.parameters, tested.config_schema):
        fault = validate(json.dumps(dict(schema)), {})
        if fault.startswith("the tool's own schema"):
            return fault
    return ""


def _recall(handle: str) -> str:
    """A conversation of one message."""
    if handle != "1.0":
        raise NotFound(f"`{handle}` is no handle of this conversation")
    return "an earlier message"


class _Trial:
    """A tool with what it is tried with."""

    def __init__(
        self,
        tested: Tool,
        args: dict[str, Any],
        config: dict[str, Any],
        files: dict[str, str],
        people: People | None,
    ) -> None:
        """Nothing is run yet."""
        self._tool, self._args, self._config, self._files = tested, args, config, files
        self._people = people
        self._said: list[Any] = []

    def _context(self, where: Path) -> ToolContext:
        """What the tool may touch."""
        return ToolContext(
            workdir=where,
            emit=self._said.append,
            config=self._config,
            people=self._people,
            call="conformance-1",
            recall=_recall,
        )

    async def all(self, account: Account) -> None:
        """Try everything but failing arguments."""
        with Folder(self._files) as where:
            before = tree(where)
            account.note("its preview shows a text and does nothing", self._preview(where, before))
            given = dict(self._args)
            account.note("it gives back text", await self._run(where))
            account.note("it leaves its arguments alone", "" if given == self._args else "changed")
            if self._tool.effect == "read":
                changed = "" if tree(where) == before else "the work directory has changed"
                account.note("what reads changes nothing", changed)
            pieces = [type(piece).__name__ for piece in self._said if not isinstance(piece, str)]
            account.note("what it emits is text", ", ".join(pieces))
            if self._tool.probe is not None:
                account.note("its probe answers yes, no or unknown", await self._probe(where))
            if self._tool.after_crash == "rerun":
                account.note("it can be run again", await self._run(where))
        faults = dict.fromkeys([await self._cancelled(ticks) for ticks in TICKS])
        account.note("a cancelled run ends and leaves nothing running", next(filter(None, faults), ""))

    async def _cancelled(self, ticks: int) -> str:
        """What is wrong with a run that is cancelled after so many turns of the event loop."""
        with Folder(self._files) as where:
            context = self._context(where)
            return await ends_when_cancelled(lambda: self._tool.run(context, self._args), None, ticks)

    async def fails(self, args: dict[str, Any]) -> str:
        """What is wrong with how arguments that cannot work end."""
        with Folder(self._files) as where:
            try:
                async with asyncio.timeout(self._tool.total):
                    await self._tool.run(self._context(where), args)
            except ToolFailed as err:
                return "" if str(err).strip() else "the ToolFailed says nothing"
            except Exception as err:
                return f"{type(err).__name__}: {err}"
        return "it did not fail"

    async def _run(self, where: Path) -> str:
        """What is wrong with a run."""
        try:
            async with asyncio.timeout(min(self._tool.total, 6 * PATIENCE)):
                given: Any = await self._tool.run(self._context(where), self._args)
        except Exception as err:
            return f"it raised {type(err).__name__}: {err}"
        if not isinstance(given, str):
            return f"it gave {type(given).__name__}"
        try:
            canonical_json(given).encode()
        except UnicodeEncodeError:
            return "its text cannot be written as UTF-8"
        return ""

    async def _probe(self, where: Path) -> str:
        """What is wrong with a probe."""
        assert self._tool.probe is not None
        given: Any = await self._tool.probe(self._context(where), self._args)
        return "" if given is None or isinstance(given, bool) else f"it gave {type(given).__name__}"

    def _preview(self, where: Path, before: dict[str, bytes]) -> str:
        """What is wrong with the preview; nothing without one."""
        if self._tool.preview is None:
            return ""
        given: Any = self._tool.preview(self._context(where), self._args)
        if not isinstance(given, str):
            return f"it gave {type(given).__name__}"
        return "" if tree(where) == before else "the work directory has changed"

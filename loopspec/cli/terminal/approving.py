"""Approving: a call is put before a person, with a preview of what it would do.

Rules of this file:
1. Nothing is granted but by a key pressed after the card was shown; a wider grant takes a second one.
2. Arguments a person has changed are shown again as they would run before they can be sent.
3. The gate decides: what is sent here may still be denied by a rule.
"""

import asyncio
import json
import os
from typing import Any, Final

import msgspec

from loopspec.cli.cards import call_name, preview_of
from loopspec.cli.terminal.asker import BACK, Asker
from loopspec.cli.terminal.editor import edited, editor_of
from loopspec.cli.terminal.offers import command_offers, globs_of, line_of, path_offers
from loopspec.cli.terminal.paint import diff
from loopspec.cli.terminal.screen import Screen
from loopspec.cli.terminal.wording import rule_lines, target_of
from loopspec.codec import canonical_json
from loopspec.drivers.door import granted, waiting_call
from loopspec.drivers.session import Session
from loopspec.errors import LoopspecError
from loopspec.events import ApprovalGiven, Kept
from loopspec.registry import Registry
from loopspec.snapshot import Call
from loopspec.tools.arguments import validate
from loopspec.views.words import plural, printable

SHORT: Final = 160
"""Characters of JSON that are edited in place; more goes to the editor."""
PREVIEW: Final = 60
_LOST: Final = {"d": "done", "r": "rerun", "g": "abandon"}


class Approving:
    """Asks about the calls of one session, one after another."""

    def __init__(self, session: Session, screen: Screen, asker: Asker, registry: Registry) -> None:
        """`registry` brings the tools whose previews are shown."""
        self._session, self._screen, self._asker = session, screen, asker
        self._tools = registry.tools
        self._look = screen.look
        self._style = screen.look.style
        self._shown = ""

    async def ask(self, yes: bool) -> Kept | None:
        """The answer for the first waiting call; None to leave it. `yes` answers what may be
        answered without looking."""
        call = waiting_call(self._session)
        if call is None:
            return None
        if self._shown != call.id:
            await self._card(call)
            self._shown = call.id
        if yes and (given := granted(self._session)) is not None:
            self._say(self._style.good(f"  {given.answer}ed by --yes"))
            return given
        return await (self._lost(call) if call.status == "lost" else self._asked(call))

    async def _asked(self, call: Call) -> Kept | None:
        """Yes, no, always, edited; why."""
        hint = self._keys("Allow it?", "y yes", "n no", "a always", "e edit", "? why")
        first = True
        while True:
            key = await self._asker.choose("ynae?", hint, first=first)
            first = False
            given: Kept | None = None
            match key:
                case "y":
                    given = self._given(call, "grant")
                case "n":
                    given = await self._no(call)
                case "a":
                    given = await self._always(call)
                case "e":
                    given = await self._edit(call)
                case "?":
                    self._say(*rule_lines(self._session, call, self._screen.columns, self._look))
                case _:
                    return None
            if given is not None:
                return given

    async def _lost(self, call: Call) -> Kept | None:
        """It may have happened: done, run again, given up."""
        hint = self._keys("It may have happened.", "d done already", "r run again", "g give up", "? why")
        key = await self._asker.choose("drg?", hint, first=True)
        while key == "?":
            self._say(*rule_lines(self._session, call, self._screen.columns, self._look))
            key = await self._asker.choose("drg?", hint)
        return self._given(call, _LOST[key]) if key in _LOST else None

    async def _no(self, call: Call) -> Kept | None:
        """No, and why if the person says so."""
        hint = ["Enter says no; a reason reaches the model; Esc goes back"]
        reason = await self._asker.edit("no, because: ", "", hint)
        return None if reason is None else self._given(call, "deny", reason=reason.strip(" ,:"))

    async def _always(self, call: Call) -> Kept | None:
        """Which grant for the session: these arguments, this tool within limits, this tool."""
        target = await asyncio.to_thread(target_of, self._session, call)
        paths, commands = path_offers(target), command_offers(target)
        within = " ".join(x for x in (line_of(paths), line_of(commands)) if x)
        lines = [
            "Always, in this session:",
            f"  1 {call.tool} with exactly these arguments",
            f"  2 {call.tool} within limits: {within}" if within else "",
            f"  3 {call.tool}, whatever its arguments",
            "1, 2 or 3 · Esc back" if within else "1 or 3 · Esc back",
        ]
        keys = ("1", "2", "3", BACK) if within else ("1", "3", BACK)
        shown = [self._look.plain(printable(x, 400)) for x in lines if x]
        match await self._asker.choose(keys, shown):
            case "1":
                return self._given(call, "grant", scope="exact")
            case "2":
                return await self._limits(call, paths, commands)
            case "3":
                return self._given(call, "grant", scope="tool")
            case _:
                return None

    async def _limits(self, call: Call, paths: tuple[str, ...], commands: tuple[str, ...]) -> Kept | None:
        """The limits of a grant, as the person edits them."""
        hint = ["globs, with commas between; Enter grants within them, Esc goes back"]

        def some(text: str) -> str:
            return "" if globs_of(text) else "write at least one glob, or Esc to go back"

        if paths:
            found = await self._asker.edit("paths: ", line_of(paths), hint, some)
            if found is None:
                return None
            paths = globs_of(found)
        if commands:
            found = await self._asker.edit("commands: ", line_of(commands), hint, some)
            if found is None:
                return None
            commands = globs_of(found)
        return self._given(call, "grant", scope="limited", paths=paths, commands=commands)

    # ------------------------------------------------------------ edited arguments

    async def _edit(self, call: Call) -> Kept | None:
        """The call with other arguments, shown again before it is sent."""
        try:
            text = self._session.args(call)
        except LoopspecError as err:
            self._say(self._style.bad(printable(str(err), 400)))
            return None
        while True:
            found = await self._arguments(call, text)
            if found is None:
                return None
            text = found
            preview = await asyncio.to_thread(preview_of, self._session, call, self._tools, text)
            self._frame(f"{call.tool}, as you changed it", preview)
            hint = self._keys("Run it so?", "y yes", "e edit again", "Esc back")
            key = await self._asker.choose(("y", "e", BACK), hint)
            if key == "y":
                return self._given(call, "grant", args=text)
            if key != "e":
                return None

    async def _arguments(self, call: Call, text: str) -> str | None:
        """Arguments from the prompt or the editor, checked; None when nothing came of it."""
        long = len(text) > SHORT or "\\n" in text
        if not (long and editor_of(os.environ)):
            hint = ["JSON; Enter takes it, Esc goes back"]
            shown = json.dumps(json.loads(text), ensure_ascii=False, indent=2 if long else None)
            found = await self._asker.edit("arguments: ", shown, hint, lambda t: self._fault(call, t))
            return None if found is None else canonical_json(json.loads(found))
        shown = json.dumps(json.loads(text), ensure_ascii=False, indent=2) + "\n"
        while True:
            try:
                shown = await edited(self._screen, shown, ".json")
            except LoopspecError as err:
                self._say(self._style.warn(printable(f"  {err}", 400)))
                return None
            if not (fault := self._fault(call, shown)):
                return canonical_json(json.loads(shown))
            self._say(self._style.warn(printable(f"  {fault}", 400)))
            if await self._asker.choose(("e", BACK), self._keys("", "e edit again", "Esc back")) != "e":
                return None

    def _fault(self, call: Call, text: str) -> str:
        """What is wrong with edited arguments; empty if nothing is."""
        declared = self._session.machine.tools.get(call.tool)
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as err:
            return f"no JSON: {err}"
        if not isinstance(data, dict):
            return "the arguments must be a JSON object: {…}"
        try:
            canonical_json(data)
        except ValueError as err:
            return str(err)
        return validate(declared.parameters, data) if declared is not None else ""

    # ------------------------------------------------------------ within

    async def _card(self, call: Call) -> None:
        """Say the card: what it is, which rule asks, what it would do."""
        preview = await asyncio.to_thread(preview_of, self._session, call, self._tools)
        calls = self._session.snapshot.calls.values()
        others = sum(c.status in ("asked", "lost") for c in calls) - 1
        more = f" (and {plural(others, 'more call')} after it)" if others else ""
        rule = call.rule if call.status == "asked" else "lost"
        head = call_name(self._session, call.id)
        self._frame(head, preview, f"{rule}{': ' if call.reason else ''}{call.reason}{more}")

    def _frame(self, head: str, body: str, foot: str = "") -> None:
        """Lines in a frame."""
        style, width = self._style, self._screen.columns
        bar = style.strong("│ ")
        lines = diff(body, width - 2, self._look, PREVIEW)
        self._say(
            "",
            style.strong("┌ " + printable(head, width - 2)),
            *(bar + line for line in lines),
            style.strong("└ ") + style.dim(printable(foot, max(0, width - 2))),
        )

    def _given(self, call: Call, answer: str, **more: Any) -> Kept | None:
        """The event; what this version of the core does not know is said, and not sent."""
        known = ApprovalGiven.__struct_fields__
        unknown = [name for name, value in more.items() if value and name not in known]
        if unknown:
            self._say(self._style.warn(f"  not in this version: {', '.join(unknown)}"))
            return None
        found = {name: value for name, value in more.items() if name in known}
        fields = {"call": call.id, "args_hash": call.args_hash, "answer": answer, **found}
        scope = more.get("scope", "call")
        word = {"grant": "allowed", "deny": "denied"}.get(answer, answer)
        how = {"exact": ", with these arguments", "limited": ", within limits", "tool": ", always"}
        self._say(self._style.dim(f"  {word}{how.get(scope, '')}"))
        return msgspec.convert(fields, ApprovalGiven)

    def _keys(self, question: str, *keys: str) -> list[str]:
        """Lines that say what the keys do, as many as the width needs."""
        width, style = self._screen.columns, self._style
        shown = [key for key in keys if key]
        whole = " · ".join(shown)
        if len(question) + 2 + len(whole) <= width:
            return [style.strong(self._look.plain(f"{question}  {whole}" if question else whole))]
        lines: list[str] = []
        for key in shown:
            if lines and len(lines[-1]) + 3 + len(key) <= width:
                lines[-1] += f" · {key}"
            else:
                lines.append(key)
        return [style.strong(line) for line in ([question] if question else []) + lines]

    def _say(self, *lines: str) -> None:
        self._screen.say(*lines)

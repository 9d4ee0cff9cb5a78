"""Commands: every `/` command of the terminal, in one table; `docs/terminal.md` shows the same.

Rules of this file:
1. A line is a command when it begins with `/` and a word without another `/`: `/usr/bin is full` is a
   message.
2. An unknown command does nothing and names its near miss; nothing is guessed.
3. Whatever goes wrong is said in lines; no command ends the terminal but `/quit`.
"""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from loopspec.cli.slash import leaving, mentions, models, standing, workspace
from loopspec.cli.slash.desk import (
    Choice,
    Completion,
    Desk,
    Reply,
    joined,
    refused,
    told,
)
from loopspec.drivers.choosing import DECLARED
from loopspec.errors import LoopspecError, StoreError
from loopspec.views.words import pad, printable

__all__ = ["COMMANDS", "Choice", "Command", "Completion", "Desk", "Reply", "answer", "complete", "meant"]

_LINE: Final = re.compile(r"/([A-Za-z?][A-Za-z-]*)?(?:\s+(.*))?", re.DOTALL)
MOST: Final = 50


@dataclass(frozen=True)
class Command:
    """A command: what may follow it, what it does in a sentence, and more of that.

    `offers` gives what could be typed as its argument, each with a note.
    """

    name: str
    takes: str
    does: str
    more: str
    run: Callable[[Desk, str], Reply]
    offers: Callable[[Desk], list[tuple[str, str]]] = lambda desk: []

    @property
    def usage(self) -> str:
        """How it is typed."""
        return f"/{self.name} {self.takes}".rstrip()


def meant(line: str) -> bool:
    """Whether a typed line is a command, and not a message to the model."""
    return _LINE.fullmatch(line.strip()) is not None


def answer(line: str, desk: Desk) -> Reply:
    """What a line that begins with `/` comes to; never raises `LoopspecError`.

    It reads files and the journal, and so blocks: call it in a thread where an event loop must go on.
    """
    found = _LINE.fullmatch(line.strip())
    if found is None:
        return refused(desk, "A command is `/` and a word", "/help shows them all")
    name, given = (found[1] or "help").lower(), (found[2] or "").strip()
    command = COMMANDS.get(_ALSO.get(name, name))
    if command is None:
        near = difflib.get_close_matches(name, list(COMMANDS), n=1, cutoff=0.5)
        hint = f"Did you mean /{near[0]}?" if near else "/help shows them all"
        return refused(desk, f"There is no command /{name}", hint)
    if given and not command.takes:
        return refused(desk, f"/{command.name} takes nothing after it", f"Type /{command.name}")
    try:
        return command.run(desk, given)
    except StoreError as err:
        return refused(desk, f"The store: {err}")
    except LoopspecError as err:
        return refused(desk, str(err))


def complete(text: str, desk: Desk) -> list[Completion]:
    """Ways to finish `text`, which stands before the cursor: a command, its argument, or an `@path`."""
    if "\n" not in text and text.startswith("/"):
        head, space, given = text[1:].partition(" ")
        if not space:
            names = [n for n in COMMANDS if n.startswith(head.lower())]
            return [Completion(f"/{n}", len(text), COMMANDS[n].does) for n in names]
        command = COMMANDS.get(head.lower())
        if command is not None:
            return _offered(command, given.lstrip(" "), desk)
    return mentions.complete(text, desk.workdir, desk.session.machine)


def _offered(command: Command, given: str, desk: Desk) -> list[Completion]:
    """What could be the argument of a command."""
    try:
        offers = command.offers(desk)
    except LoopspecError:
        return []
    fitting = [(value, note) for value, note in offers if value.startswith(given)]
    return [Completion(value, len(given), printable(note, 80)) for value, note in fitting[:MOST]]


# ---------------------------------------------------------------- help


def _help(desk: Desk, given: str) -> Reply:
    """All commands, or one."""
    if not given:
        room = max(len(c.usage) for c in COMMANDS.values()) if desk.room >= 60 else 0
        lines = [line for c in COMMANDS.values() for line in _short(desk, c, room)]
        more = [
            "`@path` in a message puts a file's text behind it; `!command` runs through the loop's gate.",
            "More about one: /help NAME",
        ]
        return joined([*lines, "", *(line for text in more for line in desk.wrapped(text))])
    name = given.removeprefix("/").lower()
    command = COMMANDS.get(_ALSO.get(name, name))
    if command is None:
        near = difflib.get_close_matches(name, list(COMMANDS), n=1, cutoff=0.5)
        return refused(desk, f"There is no command /{name}", f"Did you mean /{near[0]}?" if near else "")
    return told(desk, command.usage, command.does, *([command.more] if command.more else []))


def _short(desk: Desk, command: Command, room: int) -> list[str]:
    """A command in a line, or in two on a narrow terminal."""
    if not room:
        return [*desk.wrapped(command.usage), *desk.wrapped(command.does, "  ", "  ")]
    indent = " " * (room + 2)
    return desk.wrapped(f"{pad(command.usage, room + 2)}{command.does}".rstrip(), "", indent)


# ---------------------------------------------------------------- what could be typed


def _names(desk: Desk) -> list[tuple[str, str]]:
    return [(c.name, c.does) for c in COMMANDS.values()]


def _boundaries(desk: Desk) -> list[tuple[str, str]]:
    return [(b.id, f"in {b.state}, entry {b.seq}") for b in reversed(desk.session.snapshot.boundaries)]


def _since(desk: Desk) -> list[tuple[str, str]]:
    return [(workspace.START, "since the session began"), *_boundaries(desk)]


def _models(desk: Desk) -> list[tuple[str, str]]:
    found = []
    for name, decl in desk.session.machine.models.items():
        found += [(name, decl.shown), (f"{name} {DECLARED}", "as the spec declares it")]
        found += [(f"{name} {use}", "a declared fallback") for use in decl.fallbacks]
    return found


def _sessions(desk: Desk) -> list[tuple[str, str]]:
    rows = [r for r in desk.store.sessions() if r.head >= 0 and r.session != desk.session.id]
    return [(r.session, r.name) for r in sorted(rows, key=lambda r: -r.updated)[:MOST]]


_TABLE: Final = (
    Command("help", "[COMMAND]", "Shows the commands, or one of them.", "", _help, _names),
    Command(
        "status",
        "",
        "Says where the session stands, in a few lines.",
        "State, what it waits for, turns, tokens, cost, the window, budgets.",
        standing.status,
    ),
    Command(
        "explain",
        "",
        "Says why it stands there, and what would move it.",
        "The same as `loopspec explain` in a shell.",
        standing.explain,
    ),
    Command(
        "context",
        "",
        "Shows what fills the model's window, and what is pinned.",
        "Sizes are estimates until the provider has counted; a star marks what compaction leaves.",
        standing.context,
    ),
    Command(
        "cost",
        "",
        "Shows what each model has cost, and what has no known price.",
        "Counted from the journal: answers, failed attempts and what plugins asked.",
        standing.cost,
    ),
    Command(
        "diff",
        "[POINT|start]",
        "Shows what changed in the work directory.",
        "Since the newest rollback point, since POINT, or since the session began (before its first call "
        "that writes). Your own changes count too; your git is not asked. A file that was renamed is one "
        "removed and one added.",
        workspace.diff,
        _since,
    ),
    Command(
        "rewind",
        "[POINT]",
        "Puts the work directory back to a rollback point.",
        "Without POINT it lists them and what would change. Work that goes on is interrupted first. The "
        "conversation stays; /fork goes back in it.",
        workspace.rewind,
        _boundaries,
    ),
    Command(
        "compact",
        "",
        "Makes the conversation in the model's window smaller now.",
        "The journal keeps everything; only the view changes.",
        models.compact,
    ),
    Command(
        "approvals",
        "",
        "Lists what you have granted, and what waits for an answer.",
        "Each with its scope, what it covers and how often it may still be used.",
        standing.approvals,
    ),
    Command(
        "model",
        "[NAME] [MODEL]",
        "Lists the declared models, or puts another model behind a name.",
        "/model main openai/gpt-5-mini; key, price and window are looked at first. /model main declared "
        "goes back to what the spec says. With one declared model its name may be left out.",
        models.model,
        _models,
    ),
    Command(
        "sessions",
        "",
        "Lists the newest sessions of this store.",
        "A star marks the present one.",
        leaving.sessions,
    ),
    Command(
        "resume",
        "[ID]",
        "Leaves this session and goes on with another one.",
        "The beginning of an id is enough; `last` is the newest. Without ID it lists them.",
        leaving.resume,
        _sessions,
    ),
    Command(
        "fork",
        "[ENTRY]",
        "Makes a new session that stands where this one stands, or stood.",
        "After ENTRY of the journal, without it at the newest. Not where work is pending: then the "
        "nearest earlier entry is named. The files are shared and stay as they are.",
        leaving.fork,
    ),
    Command(
        "export",
        "[FILE]",
        "Writes the session as JSON lines into a new file.",
        "Only what is whole is written, and nothing is overwritten. Without FILE: SESSION.jsonl here. "
        "`loopspec import FILE` reads it.",
        leaving.export,
    ),
    Command(
        "quit",
        "",
        "Leaves; the session stays, and `loopspec resume` goes on with it.",
        "The same as Ctrl-D on an empty line.",
        leaving.leave,
    ),
)
COMMANDS: Final = {command.name: command for command in _TABLE}
_ALSO: Final = {"?": "help", "h": "help", "q": "quit", "exit": "quit"}

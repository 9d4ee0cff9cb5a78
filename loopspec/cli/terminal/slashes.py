"""Slashes: the door to `/` commands and `@` mentions, which live in `loopspec.cli.slash`."""

import asyncio
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from loopspec.cli.slash import commands, mentions
from loopspec.cli.slash.desk import Completion, Desk, Reply
from loopspec.cli.style import Style
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.session import Session
from loopspec.registry import Registry

MOST: Final = 200


class Slashes:
    """Commands, mentions and completions of one session."""

    def __init__(self, desk: Desk) -> None:
        """What a command may look at."""
        self._desk = desk

    @classmethod
    def of(
        cls, session: Session, driver: LocalDriver, registry: Registry, style: Style, width: int
    ) -> "Slashes":
        """For a session that is being driven."""
        desk = Desk(
            session=session,
            driver=driver,
            registry=registry,
            store=session.store,
            style=style,
            width=width,
        )
        return cls(desk)

    def resized(self, width: int) -> None:
        """The terminal has another width now."""
        if width != self._desk.width:
            self._desk = dataclasses.replace(self._desk, width=width)

    async def answer(self, line: str) -> Reply:
        """The reply of a command."""
        return await asyncio.to_thread(commands.answer, line, self._desk)

    def expand(self, text: str) -> tuple[str, Sequence[str]]:
        """A message with what its mentions name, and notes for the person."""
        return mentions.expand(text, self._desk.workdir, self._desk.session.machine)

    def complete(self, text: str) -> Sequence[Completion]:
        """How the text before the cursor may go on."""
        if found := commands.complete(text, self._desk):
            return found
        last = "" if not text or text[-1].isspace() else text.split()[-1]
        if not last or not (text.startswith("!") or "/" in last):
            return []
        head = last.removeprefix("!")
        return [Completion(path, len(head)) for path in paths(head, self._desk.workdir)]


def paths(head: str, workdir: Path) -> list[str]:
    """Paths below the work directory that begin with `head`, directories with a `/`."""
    folder, _, name = head.rpartition("/")
    if head.startswith(("/", "~")) or ".." in folder.split("/"):
        return []
    found: list[str] = []
    try:
        with os.scandir(workdir / folder) as rows:
            for row in rows:
                hidden = row.name.startswith(".") and not name.startswith(".")
                if row.name.startswith(name) and not hidden and row.name.isprintable():
                    path = f"{folder}/{row.name}" if folder else row.name
                    found.append(f"{path}/" if row.is_dir() else path)
                if len(found) >= MOST:
                    break
    except OSError:
        return []
    return sorted(found)

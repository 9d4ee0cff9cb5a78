"""Editor: a text in the person's own editor, the way git does it."""

import asyncio
import os
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path

from loopspec.cli.terminal.screen import Screen
from loopspec.errors import LoopspecError


def editor_of(environ: Mapping[str, str]) -> list[str]:
    """The words of the editor's command; empty when none is named."""
    named = environ.get("VISUAL") or environ.get("EDITOR") or ""
    try:
        return shlex.split(named)
    except ValueError:
        return []


async def edited(screen: Screen, text: str, suffix: str) -> str:
    """`text` as the editor leaves it; raises `LoopspecError` when that does not work.

    The file is the person's alone (0600, in a directory of its own) and is gone afterwards.
    """
    words = editor_of(os.environ)
    if not words:
        raise LoopspecError("no editor is named", remedy="set VISUAL or EDITOR, e.g. EDITOR=nano")
    with tempfile.TemporaryDirectory(prefix="loopspec-edit-") as directory:
        path = Path(directory) / f"arguments{suffix}"
        path.touch(0o600)
        path.write_text(text, "utf-8")

        async def work() -> int:
            process = await asyncio.create_subprocess_exec(*words, str(path))
            try:
                return await process.wait()
            finally:
                if process.returncode is None:
                    process.terminate()

        try:
            code = await screen.aside(work)
        except OSError as err:
            raise LoopspecError(f"the editor `{words[0]}` did not start: {err}") from None
        if code:
            raise LoopspecError(f"the editor `{words[0]}` ended with code {code}; nothing is changed")
        try:
            return path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as err:
            raise LoopspecError(f"what the editor left cannot be read: {err}") from None

"""The real command line in this process: quicker than a process of its own, and as true, but for
signals and for what a shell does."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

from cli.kit import Place, Ran
from loopspec.cli.main import run_cli
from loopspec.performers import scripted


class Inside(Place):
    """A work directory and a store, and `loopspec` called as a function."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(path)
        monkeypatch.chdir(self.work)
        for name in [n for n in os.environ if n.endswith(("_API_KEY", "_TOKEN"))]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("LOOPSPEC_STORE", str(self.store))
        self._patch = monkeypatch

    def run(self, *args: str | Path, stdin: str | bytes | None = None, **env: str) -> Ran:
        """Call `loopspec ARGS`; what it writes goes to files, as it would behind `>` and `2>`."""
        scripted.forget()
        data = stdin.encode() if isinstance(stdin, str) else stdin
        old = os.dup(0)
        made = tempfile.TemporaryFile
        with made("w+") as out, made("w+") as err, made() as given:
            with self._patch.context() as patch:
                given.write(data or b"")
                given.seek(0)
                os.dup2(given.fileno(), 0)
                patch.setattr(sys, "stdout", out)
                patch.setattr(sys, "stderr", err)
                for name, value in env.items():
                    patch.setenv(name, value)
                try:
                    code = run_cli([str(a) for a in args])
                finally:
                    os.dup2(old, 0)
                    os.close(old)
            for file in (out, err):
                file.flush()
                file.seek(0)
            return Ran(code, out.read(), err.read())

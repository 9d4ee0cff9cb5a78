"""The newcomer's path is true: fewer than ten commands, each of them run.

Quickly, with the environment of the tests, from the first command after the demonstration on; and slowly
(`-m slow`), from a clone with an environment of its own.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from docs.pages import ROOT, Command, Run, blocks, commands, shows

PAGE = (ROOT / "docs" / "newcomer.md").read_text()
COMMANDS = [one for block in blocks(PAGE) if block.lang == "console" for one in commands(block)]
REPLIES = "docs/loops/replies/count.yaml"


def test_it_is_fewer_than_ten_commands_and_each_was_timed() -> None:
    assert len(COMMANDS) < 10
    timed = re.findall(r"^\| `([^`]+)`.*\| \d+ \|$", PAGE, re.MULTILINE)
    assert len(timed) == len(COMMANDS)
    for one, name in zip(COMMANDS, timed, strict=True):
        assert one.line.startswith(name), f"{name}: {one.line}"


def told(run: Run, one: Command) -> str:
    """Run one command; what differs from what the page shows, empty if nothing does."""
    code, printed = run.run("bash", "-c", one.line)
    kept = "".join(line for line in printed.splitlines(True) if not line.startswith("WARNING: "))
    if code == one.code and shows(one.shown, kept):
        return ""
    return f"$ {one.line}\n{printed}[exit code {code}]\nand the page shows:\n{one.shown}"


def environment(place: Path) -> Path:
    """An environment that sees what the tests' own has, and installs into itself; its programs."""
    subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True, timeout=300)
    (site,) = (place / "venv" / "lib").glob("python*/site-packages")
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (site / "ours.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in ours))
    programs = place / "venv" / "bin"
    (programs / "loopspec").write_text(f"#!/bin/sh\nexec '{programs}/python' -m loopspec \"$@\"\n")
    (programs / "loopspec").chmod(0o755)
    return programs


@pytest.mark.slow
def test_a_tool_and_a_loop_of_ones_own(tmp_path: Path) -> None:
    run = Run(tmp_path)
    programs = environment(tmp_path)
    run.env["PATH"] = f"{programs}{os.pathsep}{run.env['PATH']}"
    (run.work / REPLIES).parent.mkdir(parents=True)
    shutil.copy(ROOT / REPLIES, run.work / REPLIES)
    shutil.copy(ROOT / "README.md", run.work)
    first = next(n for n, one in enumerate(COMMANDS) if one.line.startswith("source ")) + 1
    wrong = []
    for one in COMMANDS[first:]:
        offline = "pip install -q --no-deps --no-index --no-build-isolation"
        wrong.append(told(run, replace(one, line=one.line.replace("pip install -e ", f"{offline} ./"))))
    assert not any(wrong), "\n\n".join(wrong)


@pytest.mark.slow
def test_the_whole_path_from_a_clone(tmp_path: Path) -> None:
    """The clone is of the files as they are now, so that the path is tried before it is committed."""
    files = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(files, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    run = Run(tmp_path)
    clone = run.work / "loopspec"
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    del run.env["PYTHONPATH"]
    run.env["PATH"] = os.environ["PATH"]
    run.env |= {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "UV_", "SSL_"))}
    run.env["PYTHON"] = sys.executable
    wrong = []
    for one in COMMANDS:
        if one.line.startswith("git clone "):
            continue
        if one.line.startswith("cd "):
            run.here = run.here / one.line[3:]
        elif one.line.startswith("source "):
            run.env["PATH"] = f"{clone}/.venv/bin{os.pathsep}{run.env['PATH']}"
        else:
            wrong.append(told(run, one))
    assert not any(wrong), "\n\n".join(wrong)

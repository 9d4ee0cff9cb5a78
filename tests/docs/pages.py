"""Pages that run: the blocks of a Markdown page, what a page's commands print, and whether it shows that.

How a page is written so that it can be run:
- ```console blocks hold commands behind `$ ` and, if they like, what these print. `…` is anything within
  a line, a line `…` any number of lines. A number behind `console` is the last command's exit code.
- ```yaml NAME, ```python NAME (and so on) are files, written before the page's first command.
- A ```yaml block without a name is checked: a whole spec, a whole journey, or a part, which must parse.
  A ```python block without a name is run; one that holds tests is run by pytest.
- All of a page happens in one fresh directory, from top to bottom, with a store of its own.
- In the lines before a block: `<!-- not run: REASON -->` leaves it out (a test counts those);
  `<!-- offline: OPTIONS -->` adds options to its `loopspec run`, for a real model is named there;
  `<!-- first: COMMAND -->` is run before it and not shown (`$ROOT` is the repository).
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import yaml

from loopspec.check.spec import check_spec
from loopspec.drivers.launch import tool_infos
from loopspec.registry import installed
from loopspec.testing.journey_file import read_journey

ROOT = Path(__file__).parent.parent.parent
BLOCK = re.compile(
    r"^(?P<told>(?:<!-- (?:not run|offline|first): [^\n]*? -->\n)*)"
    r"```(?P<lang>\w+)(?: (?P<about>[^\n]+))?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
TOLD = re.compile(r"<!-- (not run|offline|first): (.*?) -->")
TIMEOUT = 300


@dataclass(frozen=True)
class Block:
    """A fenced block. `about` is what stands behind the language, `why` the reason not to run it,
    `offline` the options for its runs, `first` what is run before it."""

    lang: str
    about: str
    text: str
    line: int
    why: str = ""
    offline: str = ""
    first: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """A command of a console block: what it is shown to print, and the exit code it is to have."""

    line: str
    shown: str
    code: int


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page's text."""
    found = []
    for match in BLOCK.finditer(page):
        line = page.count("\n", 0, match.start()) + 1
        told = TOLD.findall(match["told"])
        why, offline = (" ".join(t for w, t in told if w == word) for word in ("not run", "offline"))
        first = tuple(text for word, text in told if word == "first")
        found.append(Block(match["lang"], match["about"] or "", match["text"], line, why, offline, first))
    return found


def commands(block: Block) -> list[Command]:
    """The commands of a console block; a line that ends with a backslash goes on in the next."""
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    made = []
    for n, part in enumerate(parts):
        line, shown = part.split("\n", 1)
        while line.endswith("\\"):
            more, shown = shown.split("\n", 1)
            line = f"{line}\n{more}"
        code = int(block.about or 0) if n == len(parts) - 1 else 0
        made.append(Command(re.sub(r"\s+# .*$", "", line), shown, code))
    return made


def shows(shown: str, printed: str) -> bool:
    """Whether what was printed is what is shown, `…` aside; nothing shown claims nothing."""
    if not shown.strip():
        return True
    pattern = ""
    for line in shown.strip("\n").split("\n"):
        whole = "[^\n]*".join(re.escape(part) for part in line.rstrip().split("…"))
        pattern += r"(?:[^\n]*\n)*?" if line.strip() == "…" else rf"{whole}[ ]*\n"
    return re.fullmatch(pattern, printed.strip("\n") + "\n") is not None


class Run:
    """A page under way, in a directory of its own."""

    def __init__(self, place: Path) -> None:
        """`place` is empty."""
        self.work = place / "work"
        self.work.mkdir()
        keep = ("PATH", "HOME", "LANG", "TMPDIR")
        self.env = {k: v for k, v in os.environ.items() if k in keep}
        self.env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{self.env['PATH']}"
        self.env |= {"LOOPSPEC_STORE": str(place / "store"), "LANG": "C.UTF-8", "NO_COLOR": "1"}
        self.env |= {"PYTHONPATH": str(ROOT), "COLUMNS": "100", "ROOT": str(ROOT)}
        self.here = self.work

    def files(self, found: list[Block]) -> None:
        """Write the blocks that are files."""
        for block in found:
            if block.about and block.lang != "console" and not block.why:
                path = self.work / block.about
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text)

    def console(self, block: Block) -> list[str]:
        """Run a console block; what is wrong with it."""
        wrong = []
        for line in block.first:
            code, printed = self.run("bash", "-c", line)
            assert code == 0, f"line {block.line}, first: {line}\n{printed}"
        for one in commands(block):
            if one.line.startswith("cd "):
                where = one.line[3:].strip()
                self.here = self.here if where.startswith("~") else self.here / where
                continue
            if one.line.startswith("source "):
                continue  # the environment is that of the test
            runs = one.line.startswith("loopspec run ")
            line = f"{one.line} {block.offline}" if runs and block.offline else one.line
            code, printed = self.run("bash", "-c", line)
            if code != one.code or not shows(one.shown, printed):
                wrong.append(f"line {block.line}: $ {one.line}\n{printed}[exit code {code}]\n"
                             f"and the page shows, with exit code {one.code}:\n{one.shown}")
        return wrong

    def run(self, *argv: str) -> tuple[int, str]:
        """Run a program here; its exit code and all it printed."""
        done = subprocess.run(
            argv,
            cwd=self.here,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
        )
        return done.returncode, done.stdout

    def python(self, block: Block) -> list[str]:
        """Run a python block; what is wrong with it."""
        path = self.here / f"block_{block.line}.py"
        path.write_text(block.text)
        tests = re.search(r"^(?:async )?def test_", block.text, re.MULTILINE)
        argv = ["-m", "pytest", "-q", "-p", "no:cacheprovider", path.name] if tests else [path.name]
        code, printed = self.run(sys.executable, *argv)
        return [f"line {block.line}: exit code {code}\n{printed}"] if code else []

    def data(self, block: Block) -> list[str]:
        """Check a block of yaml, json or toml; what is wrong with it."""
        try:
            if block.lang == "json":
                json.loads(block.text)
            elif block.lang == "toml":
                tomllib.loads(block.text)
            elif re.search(r"^loopspec: 1$", block.text, re.MULTILINE):
                return self._spec(block)
            elif re.search(r"^journey: 1$", block.text, re.MULTILINE):
                path = self.work / (block.about or f"block_{block.line}.yaml")
                path.write_text(block.text)
                read_journey(path)
            else:
                yaml.load(block.text, Loader=yaml.CSafeLoader)
        except Exception as err:
            return [f"line {block.line}: {err}"]
        return []

    def _spec(self, block: Block) -> list[str]:
        """A whole spec has no error."""
        registry = installed()
        made = check_spec(block.text, kinds=registry.kinds, tools=tool_infos(registry), name="block")
        return [] if made.machine else [f"line {block.line}: {d}" for d in made.diagnostics]


def run_page(text: str, place: Path) -> list[str]:
    """Run all of a page; what is wrong with it."""
    found = [block for block in blocks(text) if not block.why]
    run = Run(place)
    run.files(found)
    wrong: list[str] = []
    for block in found:
        if block.lang == "console":
            wrong += run.console(block)
        elif block.lang == "python" and not block.about:
            wrong += run.python(block)
        elif block.lang in ("yaml", "json", "toml"):
            wrong += run.data(block)
    return wrong

"""The whole comparison in one run: makes the peers' environment, measures everything, prints a report.

    python benchmarks/speed.py [--quick] [--no-peers] [--dir DIR] [--write docs/performance.md]

Ends with 1 if a target is missed. `--write` puts the report between the two marks of a page.
"""

import contextlib
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Final

import beside
import kit
import memory
import resume
import sessions
import startup
import transitions
from kit import HERE, Options, Section

BEGIN: Final = "<!-- report: python benchmarks/speed.py --write docs/performance.md -->"
END: Final = "<!-- end of the report -->"
SHOWN: Final = ("langgraph", "langgraph-checkpoint-sqlite", "apache-burr", "dbos", "pydantic-graph")


def step() -> Section | None:
    """What `step.py` prints: the pure step has a benchmark of its own."""
    script = HERE / "step.py"
    if not script.is_file():
        return None
    print("the pure step", file=sys.stderr)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=kit.environment(), check=False
    )
    out = Section("The pure step", lines=[done.stdout.strip() or done.stderr.strip()[-2000:], ""])
    out.want("the pure step", "≤ 50 µs", "see its table", done.returncode == 0)
    return out


def measure(options: Options, *, peers: bool) -> list[Section]:
    """Everything, one after the other."""
    if peers:
        beside.prepare()
    parts = [transitions, *([beside] if peers else []), sessions, resume, startup, memory]
    out: list[Section] = []
    for part in parts:
        made = part.measure(options)
        with contextlib.redirect_stdout(sys.stderr):  # a run that is cut short is not all lost
            kit.show(made)
        out += made
    pure = step()
    return [*out, pure] if pure else out


def versions() -> str:
    """The peers' versions, as pinned."""
    pinned = (HERE / "peers" / "requirements.txt").read_text().splitlines()
    found = dict(line.split("==") for line in pinned if "==" in line)
    return ", ".join(f"{name} {found[name]}" for name in SHOWN)


def report(options: Options, found: list[Section], *, peers: bool) -> str:
    """All of it as Markdown, the targets first."""
    beside_ = f" Peers: {versions()}." if peers else ""
    lines = [f"loopspec {version('loopspec')}. {kit.machine_line(options.directory)}{beside_}", ""]
    lines += ["### Targets", "", *kit.targets(found)]
    for section in found:
        lines += [f"### {section.title}", "", *section.lines]
    return "\n".join(lines).strip() + "\n"


def put(page: Path, text: str) -> None:
    """Put the report between the marks of a page. Raises `SystemExit` when they are not there."""
    old = page.read_text()
    if BEGIN not in old or END not in old:
        raise SystemExit(f"{page} has no place for the report: it needs the lines\n{BEGIN}\n{END}")
    before, after = old.split(BEGIN)[0], old.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


def main() -> int:
    """Measure, print, perhaps write; 1 if a target is missed."""
    parser = kit.parser(__doc__)
    parser.add_argument("--no-peers", action="store_true", help="only our own contenders")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the report into this page")
    given = parser.parse_args()
    options = Options(given.quick, given.dir)
    found = measure(options, peers=not given.no_peers)
    text = report(options, found, peers=not given.no_peers)
    print(text)
    if given.write:
        put(given.write, text)
    return int(kit.missed(found))


if __name__ == "__main__":
    sys.exit(main())

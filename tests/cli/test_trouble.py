"""What goes wrong around a run: a clear line, no traceback, nothing lost."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.kit import TIMEOUT, Place, small, until

ROOT = os.geteuid() == 0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def mounted(place: Place) -> Iterator[Path]:
    """A tmpfs of one megabyte; skipped where mounting is not possible."""
    where = place.path / "small-disk"
    where.mkdir()
    if not ROOT or subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(where)],
        capture_output=True,
    ).returncode:
        pytest.skip("mounting a tmpfs needs root and a kernel that lets us")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=False, capture_output=True)


def test_starting_and_checking_import_nothing_heavy(place: Place) -> None:
    spec = small(place, {"reply": "x"})
    code = (
        "import sys\n"
        "from loopspec.cli.main import run_cli\n"
        "assert run_cli(sys.argv[1:]) == 0\n"
        "heavy = {'litellm', 'openai', 'httpx', 'rich', 'diskcache', 'aiohttp', 'pydantic', 'sqlite3'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)), len(sys.modules))\n"
    )
    for args in (["--version"], ["check", str(spec)]):
        done = subprocess.run(
            [sys.executable, "-c", code, *args], capture_output=True, text=True, env=place.env()
        )
        assert "HEAVY []" in done.stdout, done.stdout + done.stderr


def test_version_imports_not_even_the_yaml_reader(place: Place) -> None:
    code = (
        "import sys\n"
        "from loopspec.cli.main import run_cli\n"
        "run_cli(['--version'])\n"
        "later = {'yaml', 'msgspec', 'jinja2', 'statemachine', 'cel_expr_python'}\n"
        "print(sorted(later & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_read_only_store_directory(place: Place, mounted: Path) -> None:
    spec = small(place, {"reply": "Hi."})
    assert place.run("run", spec, "-p", "Hi", LOOPSPEC_STORE=str(mounted / "s")).code == 0
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    ran = place.run("run", spec, "-p", "Hi", LOOPSPEC_STORE=str(mounted / "s"))
    assert ran.code == 1
    assert str(mounted / "s") in ran.err and "Traceback" not in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    for command in ("verify", "explain", "timeline", "replay"):
        looked = place.run(command, "last", LOOPSPEC_STORE=str(mounted / "s"))
        assert looked.code == 0, looked.err


def test_a_full_disk_loses_nothing_and_resume_finishes_when_there_is_room(
    place: Place, mounted: Path
) -> None:
    store = str(mounted / "s")
    big = {"tool": "read", "args": {"path": "big.txt"}}
    (place.work / "big.txt").write_text("a line of text that fills the disk\n" * 800)
    turns = [{"reply": "", "calls": [big]}] * 60
    spec = small(place, *turns, {"reply": "Done."})
    spec.write_text(spec.read_text().replace("turns: 20", "turns: 200"))
    ran = place.run("run", spec, "-p", "Hi", "--output-format", "json", LOOPSPEC_STORE=store)
    assert ran.code == 1
    assert "Traceback" not in ran.err and "space" in ran.err.lower()
    assert place.run("verify", "last", LOOPSPEC_STORE=store).code == 0
    subprocess.run(["mount", "-o", "remount,size=64m", str(mounted)], check=True)
    again = place.run("resume", "last", "--output-format", "json", LOOPSPEC_STORE=store)
    assert (again.code, again.lines[-1]["answer"]) == (0, "Done."), again.err
    assert place.run("verify", "last", LOOPSPEC_STORE=store).code == 0


def test_a_spec_that_vanishes_during_the_run_changes_nothing(place: Place) -> None:
    words = {"reply": "word " * 60, "chunk": 10, "delay": 0.01}
    spec = small(place, words)
    process = place.start("run", spec, "-p", "Hi", "--output-format", "stream-json")
    until(process, "effect.started")
    spec.unlink()
    process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    assert place.run("explain", "last").code == 0
    assert place.run("replay", "last", "--recompute").code == 0


@pytest.mark.parametrize("form", ["text", "stream-json"])
def test_a_closed_output_pipe_parks_the_session(place: Place, form: str) -> None:
    words = {"reply": "word " * 400, "chunk": 10, "delay": 0.02}
    spec = small(place, words)
    process = place.start("run", spec, "-p", "Hi", "--output-format", form)
    stream = process.stdout if form == "stream-json" else process.stderr
    assert stream is not None and stream.readline()
    stream.close()
    left = process.stderr if form == "stream-json" else process.stdout
    assert left is not None
    rest = left.read()
    process.wait(timeout=TIMEOUT)
    assert "Traceback" not in rest
    assert process.returncode in (0, 56)
    assert place.run("verify", "last").code == 0
    small(place, {"reply": "Done."})
    ran = place.run("resume", "last", "--output-format", "json")
    assert ran.code == 0, ran.err


def test_damage_is_named_with_its_entry_and_exit_57(place: Place) -> None:
    import sqlite3

    spec = small(place, {"reply": "Hi."})
    place.run("run", spec, "-p", "Hi")
    db = sqlite3.connect(place.store / "journal.db")
    (row,) = db.execute("select rowid, * from entries order by rowid limit 1 offset 1").fetchall()
    columns = [c[1] for c in db.execute("pragma table_info(entries)")]
    name = next(c for c, v in zip(columns, row[1:], strict=True) if isinstance(v, bytes))
    data = next(v for v in row[1:] if isinstance(v, bytes))
    db.execute(f"update entries set {name} = ? where rowid = ?", (data.replace(b"Hi", b"Ho"), row[0]))
    db.commit()
    db.close()
    ran = place.run("verify", "last")
    assert ran.code == 57
    assert "entry 1" in ran.err and "Traceback" not in ran.err


def test_a_message_steers_no_terminal(place: Place) -> None:
    ran = place.run("check", "no\x1b]0;HACK\x07such.yaml")
    assert ran.code == 2
    assert "\x1b" not in ran.err and "\x07" not in ran.err
    assert "no\\x1b]0;HACK\\x07such.yaml" in ran.err

"""`graph` of a session, `timeline`, `sessions` and `stats` as a person calls them."""

import hashlib
import json
import shutil
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.kit import LOOP, Place, Ran, kill, small, until
from cli.terminal import terminal
from loopspec.cli.main import run_cli
from loopspec.views.words import cells

ASK = {"reply": "I run it.", "calls": [{"tool": "shell", "args": {"command": "echo hi"}}]}
READ = {"reply": "I look.", "calls": [{"tool": "read", "args": {"path": "a.txt"}}]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A store with a session that waits for an approval, and one that is at rest."""
    made = Place(tmp_path_factory.mktemp("looking"))
    (made.work / "a.txt").write_text("text\n")
    spec = small(made, READ, ASK, {"reply": "Done."})
    waits = made.run("run", spec, "-p", "Look.", "--session", "waits")
    assert waits.code == 55, waits
    rests = made.run("run", spec, "-p", "Go.", "--session", "rests", "--yes")
    assert rests.code == 0, rests
    return made


Quick = Callable[..., Ran]


@pytest.fixture
def quick(place: Place, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Quick:
    """A command of `place` in this process: what has no terminal and no signals needs no other one."""
    monkeypatch.chdir(place.work)
    monkeypatch.setenv("LOOPSPEC_STORE", str(place.store))

    def run(*args: str | Path, **env: str) -> Ran:
        monkeypatch.delenv("COLUMNS", raising=False)
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        capfd.readouterr()
        code = run_cli([str(arg) for arg in args])
        told = capfd.readouterr()
        return Ran(code, told.out, told.err)

    return run


def state_of(store: Path) -> dict[str, str]:
    """The bytes of everything in a store, but for what readers leave beside the log."""
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }


# ------------------------------------------------------------ graph


def test_a_session_is_drawn_where_it_stands(quick: Quick) -> None:
    ran = quick("graph", "waits", "--format", "svg")
    assert (ran.code, ran.err) == (0, "")
    assert "<title>The loop small 1.0.0: Session waits, entry " in ran.out
    assert "Waits for a person: call c" in ran.out and ">● here</text>" in ran.out
    assert ran.out == quick("graph", "wai", "--format", "svg").out
    diagram = quick("graph", "last")
    assert "class s_ready here\n" in diagram.out and "note right of s_ready\n" in diagram.out


def test_a_session_that_is_looked_at_stays_as_it_is(place: Place, quick: Quick) -> None:
    before = state_of(place.store)
    for args in (
        *(("graph", "waits"), ("graph", "waits", "--format", "png"), ("timeline", "rests")),
        *(("timeline", "waits", "--html", "-"), ("stats",), ("sessions",)),
    ):
        argv = [*args, "-o", "x.png"] if "png" in args else args
        assert quick(*argv).code == 0, args
    assert state_of(place.store) == before


def test_a_png_is_a_png_and_needs_no_font_of_the_machine(place: Place, tmp_path: Path) -> None:
    nowhere = {"FONTCONFIG_FILE": "/dev/null", "HOME": str(tmp_path)}
    for scale in ("1", "0.5"):
        ran = place.run("graph", "rests", "-o", f"{scale}.png", "--scale", scale, **nowhere)
        assert (ran.code, ran.out, ran.err) == (0, "", "")
    small_one, large = ((place.work / f"{s}.png").read_bytes() for s in ("0.5", "1"))
    assert small_one.startswith(b"\x89PNG\r\n\x1a\n")
    sizes = [struct.unpack(">II", data[16:24]) for data in (small_one, large)]
    assert all(abs(2 * a - b) <= 1 for a, b in zip(*sizes, strict=True))


def test_letters_come_along_with_the_png() -> None:
    pytest.importorskip("resvg_py")
    from loopspec.cli.rastering import FONT, png

    def drawn(text: str) -> bytes:
        style = f"font-family:{FONT}".replace('"', "'")
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="90" height="20"><text x="2" y="15" '
            f'style="{style}">{text}</text></svg>'
        )
        return png(svg, 90, 20)

    pictures = [drawn(text) for text in ("", "model", "ready", "→ × …")]
    assert len(set(pictures)) == len(pictures)


def test_without_the_library_a_png_is_refused_in_one_line(place: Place) -> None:
    blocked = place.path / "blocked"
    blocked.mkdir(exist_ok=True)
    (blocked / "resvg_py.py").write_text("raise ImportError('not here')\n")
    ran = place.run("graph", "rests", "-o", "no.png", PYTHONPATH=str(blocked))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "loopspec: a png needs the library resvg_py. "
        "pip install 'loopspec[png]', or write an svg, which needs nothing\n"
    )
    assert not (place.work / "no.png").exists()


def test_a_png_is_not_thrown_at_a_terminal(place: Place) -> None:
    with terminal(place, "graph", "rests", "--format", "png") as term:
        assert term.ends() == 2
        assert "a png is nothing a terminal shows. write it to a file: -o loop.png" in term.text


def test_a_spec_comes_through_standard_input(place: Place) -> None:
    (place.work / "given.yaml").write_text(LOOP)
    ran = place.run("graph", "-", stdin=LOOP)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == place.run("graph", "given.yaml").out
    wrong = place.run("graph", "-", stdin="loopspec: 1\n")
    assert wrong.code == 52 and "<stdin>" in wrong.err


def test_what_is_neither_a_spec_nor_a_session_is_one_line(quick: Quick) -> None:
    ran = quick("graph", "nobody")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith(
        "loopspec: there is no file `nobody` and no shipped loop of that name, and no session `nobody`. "
    )
    assert ran.err.endswith("; sessions are listed by: loopspec sessions\n")


# ------------------------------------------------------------ widths


@pytest.mark.parametrize("width", [20, 80])
def test_no_line_is_wider_than_the_terminal(place: Place, quick: Quick, width: int) -> None:
    for command in (("timeline", "rests"), ("timeline", "waits", "--full"), ("sessions",), ("stats",)):
        ran = quick(*command, COLUMNS=str(width))
        assert (ran.code, ran.err) == (0, "")
        wide = [line for line in ran.out.splitlines() if cells(line) > width]
        assert ran.out and not wide, command
    with terminal(place, "timeline", "rests", columns=width) as term:
        assert term.ends() == 0
        assert all(cells(line) <= width for line in term.text.splitlines())


def test_without_a_terminal_a_line_has_80_columns(place: Place, quick: Quick) -> None:
    lines = quick("timeline", "rests").out.splitlines()
    assert max(cells(line) for line in lines) == 80
    assert len(lines) == len(place.entries("rests"))
    last = quick("timeline", "rests", "--last", "1").out.splitlines()
    assert last == lines[-1:]


def test_the_whole_texts_go_on_below(quick: Quick) -> None:
    full = quick("timeline", "rests", "--full").out
    assert "…" not in full.replace("…”", "")
    cut = quick("timeline", "rests").out
    assert len(full.splitlines()) > len(cut.splitlines())


# ------------------------------------------------------------ the page


def test_the_page_is_a_file_of_its_own(place: Place) -> None:
    ran = place.run("timeline", "waits", "--html", "t.html")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    page = (place.work / "t.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>\n") and page.endswith("</html>\n")
    assert "<h1>waits: small 1.0.0</h1>" in page and 'id="e0"' in page
    assert page == place.run("timeline", "waits", "--html", "-", PYTHONIOENCODING="ascii").out
    assert page == place.run("timeline", "waits", "--html", "-").out
    nowhere = place.run("timeline", "waits", "--html", "no/such/t.html")
    assert (nowhere.code, nowhere.out) == (1, "")
    assert nowhere.err.startswith("loopspec: no/such/t.html: the page was not written: No such file")


# ------------------------------------------------------------ stats


def test_the_sessions_of_a_store_are_counted(place: Place, quick: Quick) -> None:
    made = json.loads(quick("stats", "--format", "json").out)
    entries = [place.entries(name) for name in ("rests", "waits")]
    assert made["stats"] == 1
    assert made["sessions"] == {"approval": 1, "input": 1}
    assert made["loops"] == {"small": 2}
    assert made["entries"] == sum(len(found) for found in entries)
    assert made["turns"] == 5
    assert made["tools"]["read"]["ok"] == 2 and made["tools"]["shell"]["ok"] == 1
    asked = made["approvals"]
    assert (asked["asked"], asked["granted"], asked["unanswered"]) == (2, 1, 1)
    assert made["left_out"] == []
    later = quick("stats", "--since", "1ms", "--format", "json")
    assert json.loads(later.out)["sessions"] == {}
    assert json.loads(quick("stats", "--since", "7d", "--format", "json").out)["turns"] == 5


def test_a_time_that_is_none_is_refused(quick: Quick) -> None:
    for wrong in ("week", "0s", "-1d", ""):
        ran = quick("stats", "--since", wrong)
        assert (ran.code, ran.out) == (2, ""), wrong
        assert ran.err == f"loopspec: `--since {wrong}` is no time. write 90s, 10m, 24h or 7d\n"


def test_a_store_that_is_not_there_has_no_sessions(tmp_path: Path) -> None:
    ran = Place(tmp_path).run("stats")
    assert (ran.code, ran.out, ran.err) == (0, "0 sessions\n", "")


def test_a_damaged_session_is_named_and_left_out(place: Place, quick: Quick, tmp_path: Path) -> None:
    store = tmp_path / "copy"
    shutil.copytree(place.store, store)
    with sqlite3.connect(store / "journal.db") as base:
        (key,) = base.execute("SELECT key FROM sessions WHERE id = 'waits'").fetchone()
        gone = base.execute("DELETE FROM entries WHERE session = ? AND seq = 3", (key,)).rowcount
    assert gone == 1
    ran = quick("stats", "--format", "json", "--store", store)
    counts = json.loads(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert counts["sessions"] == {"input": 1}
    assert counts["entries"] == len(place.entries("rests"))
    assert [left["session"] for left in counts["left_out"]] == ["waits"]
    assert "\nleft out: session waits: " in quick("stats", "--store", store).out


def test_a_session_that_runs_is_counted_beside_it(tmp_path: Path) -> None:
    made = Place(tmp_path)
    sleep = {"reply": "", "calls": [{"tool": "shell", "args": {"command": "sleep 600"}}]}
    loop = LOOP.replace("ask: [{tools: [shell]}]", "ask: [{tools: [ask]}]").replace(
        "tools: [read, edit, write, ask]", "tools: [read, edit, write, shell]"
    )
    spec = small(made, sleep, loop=loop)
    process = made.start("run", spec, "-p", "Go.", "--session", "busy", "--output-format", "stream-json")
    try:
        until(process, "effect.claimed")
        counts = json.loads(made.run("stats", "--format", "json").out)
        assert counts["sessions"] == {"running": 1} and counts["turns"] == 1
        page = made.run("timeline", "busy", "--html", "-")
        assert page.code == 0 and "not answered yet" in page.out
        assert "Waits for the tool `shell`" in made.run("graph", "busy").out.replace("#96;", "`")
    finally:
        kill(process)

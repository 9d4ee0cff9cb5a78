"""`export`, `import`, `verify`, `backup` as people use them, and every command on a damaged store."""

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from drivers import moving_kit

from cli.kit import Place, Ran, small
from loopspec.cli import running
from loopspec.cli.main import run_cli
from loopspec.drivers import local
from loopspec.drivers.verifying import verified
from loopspec.stores.sqlite import FILE, SqliteStore

PRELOADED = (local, running)  # so that a copy of this process need not import them again
READ = {"reply": "I look.", "calls": [{"tool": "read", "args": {"path": "a.txt"}}]}
WRITE = {"reply": "I write.", "calls": [{"tool": "write", "args": {"path": "b.txt", "content": "b\n"}}]}
TURNS = [READ, WRITE, {"reply": "Done."}, {"reply": "More."}, {"reply": "And more."}]


def forked(store: Path, path: Path, *args: str | Path) -> Ran:
    """Run `loopspec ARGS` in a copy of this process; `path` is for its output."""
    files = [path / name for name in ("out", "err")]
    child = os.fork()
    if not child:
        code = 99
        try:
            streams = [file.open("w") for file in files]
            sys.stdin, sys.stdout, sys.stderr = io.StringIO(), *streams
            os.environ["LOOPSPEC_STORE"] = str(store)
            code = run_cli([str(arg) for arg in args])
            for stream in streams:
                stream.flush()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    texts = [file.read_text() for file in files]
    for file in files:
        file.unlink()
    return Ran(os.waitstatus_to_exitcode(status), *texts)


@pytest.fixture(scope="module", name="made")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A store with sessions `s` and `other`, both at rest."""
    place = Place(tmp_path_factory.mktemp("made"))
    (place.work / "a.txt").write_text("a\n")
    spec = small(place, *TURNS)
    for name in ("s", "other"):
        args = ("run", spec, "-p", "go", "--session", name, "--workdir", place.work)
        ran = forked(place.store, place.path, *args)
        assert ran.code == 0, ran.err
    return place


class Here:
    """A copy of the store, and the command line in this process."""

    def __init__(self, made: Place, path: Path) -> None:
        self.path = path
        self.store = shutil.copytree(made.store, path / "store")

    def __call__(self, *args: str | Path, store: Path | None = None, stdin: bytes = b"") -> Ran:
        """Run `loopspec ARGS` here."""
        old = (sys.stdin, sys.stdout, sys.stderr)
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
        sys.stdin, sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO(stdin)), out, err
        os.environ["LOOPSPEC_STORE"] = str(store or self.store)
        try:
            code = run_cli([str(arg) for arg in args])
        finally:
            del os.environ["LOOPSPEC_STORE"]
            sys.stdin, sys.stdout, sys.stderr = old
        texts = []
        for stream in (out, err):
            stream.flush()
            assert isinstance(stream.buffer, io.BytesIO)
            texts.append(stream.buffer.getvalue().decode())
        return Ran(code, *texts)

    def resume(self, *args: str) -> Ran:
        """Resume a session of this store in a process of its own: a copy of this one."""
        return forked(self.store, self.path, "resume", *args)

    def sql(self, statement: str) -> None:
        """Do to the database what nobody should."""
        conn = sqlite3.connect(self.store / FILE, isolation_level=None)
        conn.execute(statement)
        conn.close()

    def rows(self, session: str) -> list[bytes]:
        """The entries as they stand."""
        conn = sqlite3.connect(self.store / FILE)
        found = conn.execute(
            "SELECT body FROM entries e JOIN sessions s ON e.session = s.key WHERE s.id = ? ORDER BY seq",
            (session,),
        ).fetchall()
        conn.close()
        return [body for (body,) in found]


@pytest.fixture(name="here")
def _here(made: Place, tmp_path: Path) -> Here:
    return Here(made, tmp_path)


# ------------------------------------------------------------ a session that is right


def test_a_session_travels_and_goes_on_elsewhere(here: Here) -> None:
    file = here.path / "s.jsonl"
    last = len(here.rows("s")) - 1
    ran = here("export", "s", "-o", file)
    size = file.stat().st_size
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"session s: entries 0 to {last} in {file}, {size:,} bytes\n"
    assert file.stat().st_mode & 0o777 == 0o600
    head = json.loads(file.read_bytes().splitlines()[0])["hash"]
    whole = f"session s: {last + 1} entries, chain whole, head {head[:16]}\n"
    assert here("verify", "s").out == whole
    assert here("verify", file).out == whole
    assert here("verify", "-", stdin=file.read_bytes()).out == whole
    other = here.path / "elsewhere"
    assert here("import", file, store=other).out == whole
    assert other.stat().st_mode & 0o777 == 0o700
    assert here("verify", "s", store=other).out == whole
    for command in (["timeline", "s"], ["replay", "s", "--recompute"]):
        assert here(*command, store=other) == here(*command)
    here.store = other
    assert here.resume("s", "-p", "again").out == "More.\n"
    assert here("verify", "s").code == 0
    assert len(here.rows("s")) > last + 1


def test_an_export_to_standard_output_is_the_file(here: Here) -> None:
    file = here.path / "s.jsonl"
    here("export", "s", "-o", file)
    ran = here("export", "s")
    assert (ran.code, ran.err, ran.out) == (0, "", file.read_text())
    assert here("export", "s", "-o", "-").out == ran.out


def test_a_cut_says_what_it_leaves_behind(here: Here) -> None:
    file = here.path / "s.jsonl"
    last = len(here.rows("s")) - 1
    said = (
        f"cut after entry 3: the journal went on to entry {last}; resuming it may do again what was "
        "done since\n"
    )
    assert here("export", "s", "--upto", "3", "-o", file).out.endswith(f"bytes\n{said}")
    assert here("verify", file).out.endswith(said)
    other = here.path / "elsewhere"
    assert here("import", file, store=other).out.endswith(said)
    found = json.loads(here("verify", "s", "--format", "json", store=other).out)
    assert (found["whole"], found["entries"]) == (True, 4)


def test_what_cannot_be_is_said_in_one_line_and_nothing_is_written(here: Here) -> None:
    file = here.path / "s.jsonl"
    here("export", "s", "-o", file)
    lines = file.read_bytes().splitlines(keepends=True)
    bad = here.path / "bad.jsonl"
    bad.write_bytes(b"".join([*lines[:-2], lines[-1]]))
    before = there(here)
    table: list[tuple[list[str | Path], int, str]] = [
        (["export", "nobody"], 2, "there is no session `nobody`. see: loopspec sessions"),
        (["export", "s", "--upto", "999"], 2, "session s has no entry 999; its last is "),
        (["export", "s", "-o", here.path / "no" / "file"], 1, "the file was not written: No such file"),
        (["export", "s", "-o", here.path], 1, "the file was not written: Is a directory"),
        (["import", here.path / "none.jsonl"], 2, "it cannot be read: No such file or directory"),
        (["import", here.path], 2, "it cannot be read: Is a directory"),
        (["import", file], 1, "there is a session `s` already. A session's id is inside"),
        (["import", bad], 57, "the closing line does not fit the lines before it"),
        (["import", "-"], 57, "stdin: the file is empty. Export the session again"),
        (["verify", "none.jsonl"], 2, "there is no session and no file `none.jsonl`. see:"),
        (["verify", bad], 57, f"{bad}, line {len(lines) - 1}: the closing line does not fit"),
        (["backup", here.path], 2, "it exists already, and a backup overwrites nothing"),
        (["backup", here.path / "no" / "dir"], 2, "there is no such directory. Make it first"),
        (["backup", here.store / "copy"], 2, "a copy inside the store would be lost with it"),
    ]
    for args, code, said in table:
        ran = here(*args)
        assert (ran.code, ran.out) == (code, ""), (args, ran)
        assert said in ran.err and ran.err.count("\n") == 1, (args, ran.err)
    assert there(here) == before
    assert {row: len(here.rows(row)) for row in ("s", "other")}["s"] == len(lines) - 2 - blobs(lines)


def there(here: Here) -> list[Path]:
    """Every file, but for SQLite's own, which come and go."""
    return sorted(p for p in here.path.rglob("*") if not p.name.startswith(f"{FILE}-"))


def blobs(lines: list[bytes]) -> int:
    return sum(line.startswith(b'{"blob"') for line in lines)


def test_an_export_that_fails_leaves_what_was_there(here: Here) -> None:
    file = here.path / "s.jsonl"
    here("export", "s", "-o", file)
    before = file.read_bytes()
    here.sql("UPDATE entries SET body = CAST(replace(body, 'look', 'lack') AS BLOB)")
    assert here("export", "s", "-o", file).code == 57
    assert file.read_bytes() == before
    assert sorted(p.name for p in here.path.iterdir()) == ["s.jsonl", "store"]


# ------------------------------------------------------------ backup


def test_a_backup_is_a_store_with_its_rollback_points_whole(here: Here) -> None:
    copy = here.path / "copy"
    ran = here("backup", copy, "--format", "json")
    found = json.loads(ran.out)
    whole = {name: len(here.rows(name)) for name in ("s", "other")}
    assert (ran.code, ran.err) == (0, "")
    assert found["sessions"] == whole and found["damaged"] == {} and found["files"] > 5
    for path in [copy, *copy.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert sorted(p.name for p in copy.iterdir()) == [FILE, "workspaces"]
    here.store = copy
    assert [here("verify", name).code for name in whole] == [0, 0]
    assert here.resume("s", "-p", "again").code == 0
    (git,) = (copy / "workspaces").iterdir()
    points = [e["event"]["ref"] for e in map(json.loads, here.rows("s")) if "ref" in e["event"]]
    assert points
    for ref in points:
        argv = ["git", "--git-dir", str(git), "fsck", "--strict", ref.removeprefix("git:")]
        assert subprocess.run(argv, capture_output=True).returncode == 0


def test_a_backup_tells_what_is_damaged_and_copies_it_all_the_same(here: Here) -> None:
    here.sql("DELETE FROM entries WHERE seq = 2 AND session = 1")
    copy = here.path / "copy"
    ran = here("backup", copy)
    assert ran.code == 57
    assert ran.out.startswith(f"{copy}: 1 session whole, ")
    assert ran.err.startswith("copied as it is: session s, entry 2: entry 3 stands where 2 should be.")
    assert here("verify", "other", store=copy).code == 0


def test_backups_of_a_store_that_is_written_as_fast_as_it_goes(tmp_path: Path) -> None:
    root = Path(moving_kit.__file__).parents[2]
    busy = subprocess.Popen(
        [sys.executable, moving_kit.__file__, str(tmp_path / "store"), "s"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"},
        text=True,
    )
    assert busy.stdout is not None
    sizes, acknowledged = [], []
    try:
        for n in range(5):
            acknowledged.append([int(busy.stdout.readline()) for _ in range(30)][-1])
            args = ["backup", str(tmp_path / f"copy{n}"), "--store", str(tmp_path / "store")]
            assert run_cli(args) == 0
            copy = SqliteStore(tmp_path / f"copy{n}")
            sizes.append(sum(1 for _ in verified(copy, "s")))
            copy.close()
    finally:
        busy.kill()
        busy.communicate()
    store = SqliteStore(tmp_path / "store")
    rows = list(store.entries("s"))
    assert sum(1 for _ in verified(store, "s")) == len(rows)
    store.close()
    for n, (size, acked) in enumerate(zip(sizes, acknowledged, strict=True)):
        assert acked < size <= len(rows)  # what was acknowledged before it began is in it
        copy = SqliteStore(tmp_path / f"copy{n}")
        assert list(copy.entries("s")) == rows[:size]
        copy.close()
    assert sizes == sorted(sizes)


# ------------------------------------------------------------ damage

BAD: dict[str, tuple[str, str, int]] = {
    "flipped byte": (
        "UPDATE entries SET body = CAST(replace(body, 'I look', 'I lack') AS BLOB) WHERE session = 1",
        "entry 2: the entry's own hash does not match: it was edited",
        1,
    ),
    "flipped byte at the end": (
        """UPDATE entries SET body = CAST(replace(body, '"awake"', '"awoke"') AS BLOB)
            WHERE session = 1 AND seq = (SELECT max(seq) FROM entries WHERE session = 1)""",
        "entry {last}: the bytes are no journal entry",
        -1,
    ),
    "cut tail": (
        "DELETE FROM entries WHERE session = 1 AND seq > 4",
        "entry 5: the head says entry {last}, but the newest entry is 4: the tail was cut",
        4,
    ),
    "swapped": (
        """UPDATE entries SET body = (SELECT o.body FROM entries o WHERE o.session = 1
            AND o.seq = 7 - entries.seq) WHERE session = 1 AND seq IN (3, 4)""",
        "entry 3: entry 4 stands where 3 should be",
        2,
    ),
    "missing entry": (
        "DELETE FROM entries WHERE session = 1 AND seq = 3",
        "entry 3: entry 4 stands where 3 should be",
        2,
    ),
    "missing blob": (
        "DELETE FROM blobs WHERE CAST(data AS TEXT) LIKE 'Work in%'",
        "entry 1: its blob",
        0,
    ),
    "other blob": (
        "UPDATE blobs SET data = x'00' WHERE CAST(data AS TEXT) LIKE 'Work in%'",
        "entry 1: its blob",
        0,
    ),
    "missing machine": ("DELETE FROM blobs WHERE length(data) > 2000", "entry 0: its blob", -1),
    "head back": (
        """UPDATE sessions SET head_seq = 4, head_hash = (SELECT json_extract(body, '$.hash')
            FROM entries WHERE session = 1 AND seq = 4) WHERE id = 's'""",
        "entry 5: the head says entry 4, but the entries go on to {last}",
        99,
    ),
    "head forward": (
        "UPDATE sessions SET head_seq = head_seq + 1 WHERE id = 's'",
        "entry {next}: the head says entry {next}, but the newest entry is {last}",
        99,
    ),
    "other snapshot": (
        """UPDATE sessions SET snapshot = CAST(replace(snapshot, 'ready', 'reads') AS BLOB)
            WHERE id = 's'""",
        "entry {last}: the stored snapshot is not the one its entries fold to",
        99,
    ),
    "mistyped head": (
        "UPDATE sessions SET head_seq = 'x' WHERE id = 's'",
        "session s: the row holds something that was never written there",
        99,
    ),
}
LOOKS: list[list[str]] = [
    ["explain", "s"],
    ["explain", "s", "--format", "json"],
    ["timeline", "s"],
    ["timeline", "s", "--last", "3"],
    ["replay", "s"],
    ["replay", "s", "--recompute"],
    ["sessions"],
    ["export", "s"],
    ["verify", "s", "--format", "json"],
]


@pytest.mark.parametrize("case", BAD)
def test_a_damaged_session_is_named_rescued_and_harms_no_other(here: Here, case: str) -> None:
    statement, said, good = BAD[case]
    last = len(here.rows("s")) - 1
    good = last if good == 99 else last - 1 if case.endswith("at the end") else good
    whole = here("verify", "other").out
    here.sql(statement)
    ran = here("verify", "s")
    wanted = said.format(last=last, next=last + 1)
    assert (ran.code, ran.out, ran.err.count("\n")) == (57, "", 1)
    assert wanted in ran.err
    rescue = f"loopspec export s --upto {good} -o s.jsonl"
    if good < 0:
        assert ran.err.endswith("No entry is whole; restore the store from a backup\n")
    else:
        assert ran.err.endswith(f"The last good entry is {good}; save what is whole with: {rescue}\n")
    for args in LOOKS:
        looked = here(*args)
        assert "bug" not in looked.err and "Traceback" not in looked.err, (args, looked.err)
        assert looked.err.count("\n") <= 1, (args, looked.err)
        assert looked.code in (0, 57), (args, looked.code)
    if "blob" not in case and "machine" not in case:
        assert here("verify", "other").out == whole
        assert "other  " in here("sessions").out
    before = here.rows("s")
    resumed = here.resume("s", "-p", "again")
    assert "bug" not in resumed.err and "Traceback" not in resumed.err
    after = here.rows("s")
    if resumed.code == 0:  # then what it rests on was right, and it went on from there
        assert after[: len(before)] == before and len(after) > len(before)
        assert case in ("flipped byte", "missing entry", "swapped", "missing blob", "other blob")
    else:
        assert resumed.code == 57 and after == before, resumed
    if good >= 0:
        rescued(here, good)


def rescued(here: Here, good: int) -> None:
    """Run the command `verify` gave, bring the file into a new store, and go on there."""
    file = here.path / "s.jsonl"
    assert here("export", "s", "--upto", str(good), "-o", file).code == 0
    here.store = here.path / "fresh"
    assert here("import", file).code == 0
    assert here("verify", "s").code == 0
    assert len(here.rows("s")) == good + 1
    resumed = here.resume("s", "-p", "again")
    assert resumed.code in (0, 41, 55), resumed
    assert here("verify", "s").code == 0
    assert len(here.rows("s")) > good + 1


def test_a_damaged_session_as_json(here: Here) -> None:
    last = len(here.rows("s")) - 1
    here.sql("DELETE FROM entries WHERE session = 1 AND seq > 4")
    ran = here("verify", "s", "--format", "json")
    assert ran.code == 57
    assert json.loads(ran.out) == {
        "session": "s",
        "whole": False,
        "entries": 5,
        "entry": 5,
        "last_good": 4,
        "rescue": "loopspec export s --upto 4 -o s.jsonl",
        "fault": f"the head says entry {last}, but the newest entry is 4: the tail was cut "
        "(5 entries before it are whole)",
        "place": "session s, entry 5",
        "remedy": "The last good entry is 4; save what is whole with: "
        "loopspec export s --upto 4 -o s.jsonl",
    }


def test_a_file_that_is_no_store_and_one_that_is_torn_give_one_line(here: Here) -> None:
    data = (here.store / FILE).read_bytes()
    for torn in (b"", b"x" * 5_000, data[:1_000], data[: len(data) // 2], b"\0" * len(data)):
        (here.store / FILE).write_bytes(torn)
        for args in [*LOOKS, ["backup", str(here.path / "copy")]]:
            ran = here(*args)
            assert "bug" not in ran.err and "Traceback" not in ran.err, (len(torn), args, ran.err)
            assert ran.err.count("\n") <= 1 or args[0] == "backup", (len(torn), args, ran.err)
            shutil.rmtree(here.path / "copy", ignore_errors=True)


def test_a_damaged_log_stops_every_command_but_the_backup_that_saves_the_rest(
    here: Here, tmp_path: Path
) -> None:
    store = SqliteStore(tmp_path / "open")
    moving_kit.written(store, "u", turns=6)
    killed = tmp_path / "killed"  # what stands on the disk when the process is killed now
    killed.mkdir(mode=0o700)
    for name in (FILE, f"{FILE}-wal"):
        shutil.copy(tmp_path / "open" / name, killed)
    store.close()
    log = killed / f"{FILE}-wal"
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    here.store = killed
    said = f"loopspec: {log}: the log is damaged in frame "
    for args in [*LOOKS, ["export", "u"], ["verify", "u"]]:
        ran = here(*args)
        assert (ran.code, ran.out) == (57, ""), args
        assert ran.err.startswith(said) and ran.err.count("\n") == 1, args
    assert here.resume("u").code == 57
    assert log.read_bytes() == bytes(data)
    copy = tmp_path / "saved"
    ran = here("backup", copy)
    assert (ran.code, ran.out) == (57, f"{copy}: 1 session whole, 0 files of rollback points\n")
    assert ran.err.startswith(f"copied up to the damage: {log}: the log is damaged in frame ")
    assert log.read_bytes() == bytes(data)
    assert here("verify", "u", store=copy).code == 0
    assert here("export", "u", "-o", tmp_path / "u.jsonl", store=copy).code == 0

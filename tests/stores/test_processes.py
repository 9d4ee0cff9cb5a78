"""What holds across processes: kill -9, named crash points, two writers, a fork."""

import os
import random
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from store_kit import child, head_of, item, whole

from loopspec.errors import StoreError
from loopspec.stores.base import Append
from loopspec.stores.sqlite import FILE, SqliteStore


def lines(process: "subprocess.Popen[str]", count: int) -> list[str]:
    """The next lines a child says."""
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def tell(process: "subprocess.Popen[str]", line: str) -> None:
    """Say a line to a child."""
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def end(process: "subprocess.Popen[str]", code: int) -> str:
    """Wait for a child's end; the rest of what it said."""
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == code
    return rest


@pytest.mark.parametrize("seed", range(4))
def test_kill_9_loses_no_acknowledged_entry(tmp_path: Path, seed: int) -> None:
    process = child("append", tmp_path, "3")
    said = lines(process, random.Random(seed).randrange(1, 400))
    process.kill()
    said += end(process, -9).split("\n")
    acked: dict[str, int] = defaultdict(lambda: -1)
    for line in said[:-1]:  # what follows the last newline was cut by the kill
        name, seq = line.split()  # said by two threads, so neighbours may change places
        acked[name] = max(acked[name], int(seq))
    store = SqliteStore(tmp_path)
    for row in store.sessions():
        number = row.session[1:]
        assert row.head >= acked[row.session]
        wanted = [
            item(row.session, seq, blobs=(f"blob {number} {seq}".encode(),))
            for seq in range(row.head + 1)
        ]
        head = head_of(wanted[-1]) if wanted else None
        assert whole(store, row.session) == (head, [one.entry for one in wanted])
        kept = {digest: store.blob(digest) for one in wanted for digest in one.blobs}
        assert kept == {digest: data for one in wanted for digest, data in one.blobs.items()}
        assert store.append(item(row.session, row.head + 1)).result() is None
    assert set(acked) <= {row.session for row in store.sessions()}
    store.close()


@pytest.mark.parametrize(
    ("point", "head"), [("before-write", 0), ("after-write", 0), ("after-commit", 1)]
)
def test_a_crash_at_a_named_point_leaves_all_of_the_entry_or_nothing(
    tmp_path: Path, point: str, head: int
) -> None:
    process = child("crash", tmp_path, point)
    assert end(process, -9) == "armed\n"
    made = [item("s", 0), item("s", 1, blobs=(b"one",))][: head + 1]
    store = SqliteStore(tmp_path)
    assert whole(store, "s") == (head_of(made[-1]), [one.entry for one in made])
    for digest in made[-1].blobs:
        assert store.blob(digest) == b"one"
    store.close()


def test_partial_rows_survive_a_killed_process(tmp_path: Path) -> None:
    process = child("streams", tmp_path)
    assert lines(process, 1) == ["kept"]
    process.kill()
    end(process, -9)
    store = SqliteStore(tmp_path)
    assert store.partials("s") == {"s:0:0": b"half a reply"}
    store.close()


def test_of_two_processes_with_the_same_seq_one_wins(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.create("s", "spec", 1)
    rivals = [child("race", tmp_path, "s") for _ in range(2)]
    assert [lines(one, 1) for one in rivals] == [["ready"], ["ready"]]
    wins: list[list[str]] = []
    for seq in range(40):
        for one in rivals:
            tell(one, str(seq))
        wins.append(sorted(lines(one, 1)[0] for one in rivals))
    assert wins == [["lost", "won"]] * 40
    for one in rivals:
        assert end(one, 0) == ""
    pads = [item("s", seq, pad=one.pid % 97) for one in rivals for seq in range(40)]
    possible = {one.entry: one for one in pads}
    won: list[Append] = [possible[entry] for entry in store.entries("s")]
    assert [one.seq for one in won] == list(range(40))
    assert store.head("s") == head_of(won[-1])
    store.close()


def test_two_processes_may_make_the_same_store(tmp_path: Path) -> None:
    for n in range(3):
        path = tmp_path / str(n)
        rivals = [child("race", path, "s") for _ in range(3)]
        assert [lines(one, 1) for one in rivals] == [["ready"]] * 3
        assert [end(one, 0) for one in rivals] == ["", "", ""]
        assert [one.name for one in path.iterdir()] == [FILE]


def test_a_file_that_may_not_grow_fails_the_append_and_later_ones_work(tmp_path: Path) -> None:
    process = child("limit", tmp_path)
    assert end(process, 0).split("\n") == [
        f"{tmp_path / FILE}: the disk reports an error. Check the disk and try again",
        "written",
        "",
    ]
    made = [item("s", 0), item("s", 1, pad=1024 * 1024)]
    store = SqliteStore(tmp_path)
    assert whole(store, "s") == (head_of(made[1]), [one.entry for one in made])
    store.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_told_to_open_the_store_itself(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.create("s", "spec", 1)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        fault = store.append(item("s", 0)).exception()
        store.put_partial("s", "e", b"x")
        store.close()
        os.write(writing, f"{type(fault) is StoreError} {fault}".encode())
        os._exit(0)
    os.close(writing)
    assert os.waitpid(pid, 0)[1] == 0
    with os.fdopen(reading) as pipe:
        assert pipe.read() == (
            f"True {tmp_path / FILE}: the store was opened before this process was forked. "
            "Open it again in this process"
        )
    assert store.append(item("s", 0)).result() is None
    store.close()

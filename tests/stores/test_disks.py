"""Full and read-only disks. They need root to mount a tmpfs and are skipped elsewhere."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from store_kit import fill, head_of, item, whole

from loopspec.errors import NotFound, StoreError
from loopspec.stores.sqlite import FILE, SqliteStore


class SmallDisk:
    """A tmpfs of its own, which only root may mount; elsewhere the test is skipped."""

    def __init__(self, path: Path, kilobytes: int) -> None:
        self.path = path
        path.mkdir()
        if os.geteuid() != 0:
            pytest.skip("mounting needs root")
        self._mount("-t", "tmpfs", "-o", f"size={kilobytes}k,mode=0700", "tmpfs")

    def _mount(self, *args: str) -> None:
        try:
            done = subprocess.run(["mount", *args, str(self.path)], capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("no mount command")
        if done.returncode != 0:
            pytest.skip(f"mount is not allowed here: {done.stderr.strip()}")

    def freeze(self) -> None:
        """Make the file system read-only."""
        self._mount("-o", "remount,ro")

    def unmount(self) -> None:
        """Give it back."""
        subprocess.run(["umount", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    made = SmallDisk(tmp_path / "disk", kilobytes=1024)
    yield made
    made.unmount()


def stuff(path: Path) -> None:
    """Write until nothing fits any more."""
    with path.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def test_a_full_disk_fails_the_group_and_there_is_life_after_it(disk: SmallDisk) -> None:
    store = SqliteStore(disk.path / "store")
    made = fill(store, "s", 3)
    before = whole(store, "s"), store.sessions()
    stuff(disk.path / "filler")
    wanted = [item("s", seq, pad=100_000, blobs=(b"b" * 50_000,)) for seq in range(3, 6)]
    faults = [future.exception() for future in [store.append(one) for one in wanted]]
    assert type(faults[0]) is StoreError
    assert str(faults[0]) == (
        f"{disk.path / 'store' / FILE}: the disk is full. Free some space and try again"
    )
    assert all(isinstance(fault, StoreError) for fault in faults)
    with pytest.raises(StoreError, match="the disk is full"):
        store.put_blob(b"c" * 200_000)
    assert (whole(store, "s"), store.sessions()) == before
    with pytest.raises(NotFound):
        store.blob(next(iter(wanted[0].blobs)))
    (disk.path / "filler").unlink()
    assert [future.exception() for future in [store.append(one) for one in wanted]] == [None] * 3
    entries = [one.entry for one in [*made, *wanted]]
    assert whole(store, "s") == (head_of(wanted[-1]), entries)
    store.close()
    again = SqliteStore(disk.path / "store")
    assert whole(again, "s") == (head_of(wanted[-1]), entries)
    again.close()


def test_acknowledged_entries_outlive_a_disk_that_stays_full(disk: SmallDisk) -> None:
    store = SqliteStore(disk.path / "store")
    store.create("s", "spec", 1)
    acked = 0
    while store.append(item("s", acked, pad=20_000)).exception() is None:
        acked += 1
    stuff(disk.path / "filler")
    store.put_partial("s", "s:0:0", b"p" * 50_000)
    store.close()
    assert store.lost_partials == 1
    (disk.path / "filler").unlink()
    again = SqliteStore(disk.path / "store")
    made = [item("s", seq, pad=20_000) for seq in range(acked)]
    assert whole(again, "s") == (head_of(made[-1]), [one.entry for one in made])
    again.close()


def test_no_room_for_a_new_store(disk: SmallDisk) -> None:
    stuff(disk.path / "filler")
    with pytest.raises(StoreError) as caught:
        SqliteStore(disk.path / "store")
    assert str(disk.path / "store") in str(caught.value)


def test_a_store_on_a_read_only_disk_can_be_read(disk: SmallDisk) -> None:
    store = SqliteStore(disk.path)
    made = fill(store, "s", 3)
    store.close()
    disk.freeze()
    for readonly in (False, True):
        reader = SqliteStore(disk.path, readonly=readonly)
        assert whole(reader, "s") == (head_of(made[-1]), [one.entry for one in made])
        asks: list[Callable[[], object]] = [
            lambda reader=reader: reader.append(item("s", 3)).result(),
            lambda reader=reader: reader.create("t", "spec", 1),
        ]
        for ask in asks:
            with pytest.raises(StoreError) as caught:
                ask()
            assert str(caught.value) == (
                f"{disk.path / FILE}: the store can only be read. "
                "Open it for writing, in a directory that allows it"
            )
        reader.close()


def test_a_store_cannot_be_made_on_a_read_only_disk(disk: SmallDisk) -> None:
    (disk.path / "empty").mkdir()
    disk.freeze()
    for path, place in [
        (disk.path / "new", disk.path / "new"),
        (disk.path / "empty", disk.path / "empty" / FILE),
    ]:
        with pytest.raises(StoreError) as caught:
            SqliteStore(path)
        assert str(caught.value) == (
            f"{place}: the store cannot be opened: Read-only file system. "
            "Check the path and its permissions"
        )


def test_a_log_on_a_read_only_disk_is_not_skipped(disk: SmallDisk, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "live")
    made = fill(store, "s", 3)
    for suffix in ("", "-wal"):
        shutil.copy(tmp_path / "live" / f"{FILE}{suffix}", disk.path)
    store.close()
    disk.freeze()
    for readonly in (False, True):
        with pytest.raises(StoreError) as caught:
            SqliteStore(disk.path, readonly=readonly)
        assert str(caught.value) == (
            f"{disk.path / FILE}: the store was not closed, so its last entries cannot be read "
            "where nobody can write. Copy the directory to where you can write, and open the copy"
        )
    shutil.copytree(disk.path, tmp_path / "copy")
    copy = SqliteStore(tmp_path / "copy")
    assert whole(copy, "s") == (head_of(made[-1]), [one.entry for one in made])
    copy.close()

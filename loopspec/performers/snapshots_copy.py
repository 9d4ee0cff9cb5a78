"""Recording a work directory as a plain copy, where there is no git.

Rules of this file:
1. A copy is made beside its final place and renamed when it is whole: a half copy is never found.
2. What it holds is written down with content hashes in `manifest.json`, next to the copy.

Directories are restored, empty ones too. Not restored: directories' modes, times, owners,
extended attributes, hard links between files.
"""

import hashlib
import json
import os
import re
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final

from loopspec.performers.snapshots import (
    Entry,
    Listing,
    SnapshotFailed,
    Stop,
    look,
    printable,
    put_back,
)
from loopspec.points import reach

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,160}")


class CopySnapshots:
    """Records and restores one work directory. Blocking; call it in a thread.

    All methods raise `SnapshotFailed`, `Stopped` or `OSError`.
    """

    method = "copy"

    def __init__(self, workdir: Path, directory: Path, stop: Stop) -> None:
        """`directory` is the store's own."""
        self._workdir = Path(os.path.realpath(workdir))
        self._directory, self._stop = directory, stop
        self._copies = directory / "copies"

    def record(self, boundary: str) -> str:
        """Copy the work directory; gives back the ref that restores it."""
        listing = look(self._workdir, self._directory, self._stop)
        self._copies.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Something random: two sessions of one store may name a boundary alike.
        slug = re.sub(r"[^A-Za-z0-9._-]", "-", boundary)[:120].strip(".") or "boundary"
        name = f"{slug}-{uuid.uuid4().hex[:8]}"
        with tempfile.TemporaryDirectory(dir=self._copies, prefix=".") as made:
            new = Path(made) / name
            entries = self._copy(listing, new / "tree")
            manifest = {
                "workdir": os.fsdecode(self._workdir),
                "directories": sorted(listing.directories),
                "entries": {p: [e.link, e.mode, e.id] for p, e in sorted(entries.items())},
            }
            (new / "manifest.json").write_text(json.dumps(manifest))
            reach("boundary.renames")
            os.rename(new, self._copies / name)
        reach("boundary.recorded")
        return f"copy:{name}"

    def restore(self, ref: str) -> list[str]:
        """Put the work directory back; gives back every path touched. Copies the present first."""
        name = ref.removeprefix("copy:")
        target = self._listing(name, ref)
        os.makedirs(self._workdir, exist_ok=True)
        undone = self.record("before-a-rollback")
        now = self._listing(undone.removeprefix("copy:"), undone)
        tree = self._copies / name / "tree"

        def fetch(path: str) -> bytes:
            data = _content(tree / path, target.entries[path].link)
            if data is None or _hash(data) != target.entries[path].id:
                raise SnapshotFailed(f"the copy of {printable(path)} in {ref} is damaged")
            return data

        return put_back(self._workdir, now, target, fetch, self._present, self._stop)

    def _present(self) -> Listing:
        found = look(self._workdir, self._directory, self._stop)
        entries = {}
        for path, entry in found.entries.items():
            self._stop.check()
            data = _content(self._workdir / path, entry.link)
            if data is not None:
                entries[path] = Entry(entry.link, entry.mode, _hash(data))
        return Listing(entries, found.directories)

    def _copy(self, listing: Listing, tree: Path) -> dict[str, Entry]:
        tree.mkdir(parents=True)
        for path in sorted(listing.directories):
            (tree / path).mkdir()
        entries = {}
        for path, entry in listing.entries.items():
            self._stop.check()
            data = _content(self._workdir / path, entry.link)
            if data is None:
                continue  # gone since it was listed
            if entry.link:
                os.symlink(data, os.fsencode(tree / path))
            else:
                (tree / path).write_bytes(data)
                (tree / path).chmod(entry.mode)
            entries[path] = Entry(entry.link, entry.mode, _hash(data))
        return entries

    def _listing(self, name: str, ref: str) -> Listing:
        file = self._copies / name / "manifest.json"
        known = _NAME.fullmatch(name) is not None and not name.startswith(".")
        found = None
        if known:
            with suppress(FileNotFoundError):
                found = json.loads(file.read_text())
        if found is None or found["workdir"] != os.fsdecode(self._workdir):
            raise SnapshotFailed(
                f"the rollback point {ref!r} is not known here; it was recorded with another store "
                "or work directory, or was deleted"
            )
        entries = {path: Entry(*fields) for path, fields in found["entries"].items()}
        return Listing(entries, set(found["directories"]))


def _content(path: Path, link: bool) -> bytes | None:
    """A file's bytes or a link's target; None when it is gone or has become something else."""
    try:
        if link:
            return os.readlink(os.fsencode(path))
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        return file.read()


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

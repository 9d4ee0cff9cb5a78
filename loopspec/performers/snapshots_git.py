"""Recording a work directory with git, beside the user's own repository and never in it.

Rules of this file:
1. Objects go to a shadow repository of our own; the user's `.git`, index, refs, stash, hooks and
   configuration are neither read nor written. Never `git clean`, never a checkout.
2. Files are recorded byte for byte: attributes (line ends, filters, ident) are switched off.
3. Each record works on an index file of its own; the last good one is kept to make the next record
   fast. So records that run at once, or were killed half way, cannot harm one another.

A record is a commit of two things: `tree`, and `manifest`, which holds what a git tree cannot: all
directories (empty ones are restored too) and permission bits other than 644 and 755. Not restored:
directories' modes, times, owners, extended attributes, hard links between files.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from loopspec.performers.snapshots import (
    Entry,
    Listing,
    SnapshotFailed,
    Stop,
    look,
    put_back,
)
from loopspec.points import reach

_SETTINGS: Final = {
    "core.bare": "false",
    "core.hooksPath": os.devnull,
    "core.excludesFile": os.devnull,
    "core.attributesFile": os.devnull,
    "core.autocrlf": "false",
    "core.safecrlf": "false",
    "core.fileMode": "true",
    "core.symlinks": "true",
    "core.ignoreCase": "false",
    "core.precomposeUnicode": "false",
    "core.protectNTFS": "false",
    "core.protectHFS": "false",
    "core.splitIndex": "false",
    "core.fsmonitor": "false",
    "core.fsync": "committed,loose-object",
    "core.fsyncMethod": "batch",
    "gc.auto": "0",
}
_ATTRIBUTES: Final = "* -text !eol -ident -filter !working-tree-encoding\n"
_ID: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_STALE: Final = 24 * 3600


class GitSnapshots:
    """Records and restores one work directory. Blocking; call it in a thread.

    `directory` is the store's own. All methods raise `SnapshotFailed`, `Stopped` or `OSError`.
    """

    method = "git"

    def __init__(self, git: str, workdir: Path, directory: Path, stop: Stop) -> None:
        """`git` is the program's path."""
        self._git, self._stop = git, stop
        self._workdir = Path(os.path.realpath(workdir))
        self._directory = directory
        name = hashlib.sha256(os.fsencode(self._workdir)).hexdigest()[:32]
        self._shadow = directory / "workspaces" / name

    def record(self, boundary: str) -> str:
        """Record the work directory now; gives back the ref that restores it."""
        self._prepare()
        listing = look(self._workdir, self._directory, self._stop)
        kept = self._shadow / "index.last"
        mine = self._shadow / f"index.{uuid.uuid4().hex}"
        try:
            if kept.exists():
                shutil.copy2(kept, mine)  # with its time: git compares files' times with it
            try:
                self._update(mine, listing)
            except SnapshotFailed:
                if not kept.exists():
                    raise
                mine.unlink(missing_ok=True)  # a damaged index must not end all recording
                self._update(mine, listing)
            tree = self._run(["write-tree"], index=mine).decode().strip()
            reach("boundary.indexed")
            if mine.exists():
                os.replace(mine, kept)
        finally:
            mine.unlink(missing_ok=True)
            Path(f"{mine}.lock").unlink(missing_ok=True)
        return f"git:{self._commit(tree, listing, boundary)}"

    def restore(self, ref: str) -> list[str]:
        """Put the work directory back; gives back every path touched. Records the present first."""
        commit = ref.removeprefix("git:")
        if not _ID.fullmatch(commit) or not self._knows(commit):
            raise SnapshotFailed(
                f"the rollback point {ref!r} is not known here; it was recorded with another store "
                "or work directory, or was deleted"
            )
        os.makedirs(self._workdir, exist_ok=True)
        undone = self.record("before a rollback")
        now, target = self._listing(undone), self._listing(ref)
        with self._contents() as content:
            return put_back(
                self._workdir,
                now,
                target,
                lambda path: content(target.entries[path].id),
                lambda: self._listing(self.record("after a rollback")),
                self._stop,
            )

    # ------------------------------------------------------------ recording

    def _prepare(self) -> None:
        """Make the shadow repository once, whole or not at all."""
        if not self._shadow.exists():
            self._shadow.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._shadow.parent) as made:
                new = Path(made) / "git"
                argv, env = self._call(["init", "--quiet", "--template=", "."], git_dir=new)
                self._stop.run(argv, env, Path(made), b"")
                (new / "info").mkdir(exist_ok=True)
                (new / "info" / "attributes").write_text(_ATTRIBUTES)
                reach("boundary.prepares")
                with suppress(OSError):  # somebody else was first, with the same result
                    os.rename(new, self._shadow)
        for left in self._shadow.glob("index.*"):
            with suppress(OSError):
                if left.name != "index.last" and time.time() - left.stat().st_mtime > _STALE:
                    left.unlink()

    def _update(self, index: Path, listing: Listing) -> None:
        """Bring the index to exactly the listing; unchanged files are not read again."""
        before = self._run(["ls-files", "-z", "--cached"], index=index).split(b"\0")
        paths = {os.fsencode(path) for path in listing.entries}
        gone = b"".join(p + b"\0" for p in before if p and p not in paths)
        if gone:
            self._run(["update-index", "--force-remove", "-z", "--stdin"], gone, index=index)
        named = b"".join(path + b"\0" for path in sorted(paths))
        if named:
            # --remove: a file that went since the listing is no fault.
            command = ["update-index", "--add", "--remove", "--replace", "-z", "--stdin"]
            self._run(command, named, index=index)

    def _commit(self, tree: str, listing: Listing, boundary: str) -> str:
        modes = {
            path: entry.mode
            for path, entry in sorted(listing.entries.items())
            if not entry.link and entry.mode not in (0o644, 0o755)
        }
        manifest = {"modes": modes, "directories": sorted(listing.directories)}
        text = json.dumps(manifest, separators=(",", ":")).encode()
        blob = self._run(["hash-object", "-w", "--stdin"], text).decode().strip()
        both = f"100644 blob {blob}\tmanifest\n040000 tree {tree}\ttree\n".encode()
        top = self._run(["mktree"], both).decode().strip()
        message = boundary.encode("utf-8", "replace")
        reach("boundary.commits")
        commit = self._run(["commit-tree", top], message).decode().strip()
        reach("boundary.names")
        # A name nobody else uses: the same tree recorded twice in one second is the same commit, and a
        # git that was killed while it named it leaves a lock on that name behind.
        self._run(["update-ref", f"refs/loopspec/{commit}-{uuid.uuid4().hex[:12]}", commit])
        reach("boundary.recorded")
        return commit

    # ------------------------------------------------------------ reading records

    def _knows(self, commit: str) -> bool:
        if not self._shadow.exists():
            return False
        try:
            self._run(["cat-file", "-e", f"{commit}:manifest"])
        except SnapshotFailed:
            return False
        return True

    def _listing(self, ref: str) -> Listing:
        commit = ref.removeprefix("git:")
        manifest = json.loads(self._run(["cat-file", "blob", f"{commit}:manifest"]))
        found = Listing(directories=set(manifest["directories"]))
        # --full-tree: the shadow repository may lie inside the work directory.
        command = ["ls-tree", "-r", "-z", "--full-tree", f"{commit}:tree"]
        for line in self._run(command).split(b"\0"):
            if not line:
                continue
            about, name = line.split(b"\t", 1)
            mode, _, blob = about.decode().split(" ")
            path = os.fsdecode(name)
            usual = 0o755 if mode == "100755" else 0o644
            if mode == "120000":
                found.entries[path] = Entry(True, 0, blob)
            else:
                found.entries[path] = Entry(False, manifest["modes"].get(path, usual), blob)
        return found

    @contextmanager
    def _contents(self) -> Iterator[Callable[[str], bytes]]:
        """A function from a blob's id to its bytes; one process serves them all."""
        argv, env = self._call(["cat-file", "--batch"])
        # Errors of this command come on standard output, so the third pipe never fills.
        with self._stop.child(argv, env, self._shadow) as child:
            given, answers = child.stdin, child.stdout
            assert given is not None and answers is not None

            def content(blob: str) -> bytes:
                with suppress(BrokenPipeError):  # seen as an answer that is too short
                    given.write(blob.encode() + b"\n")
                    given.flush()
                about = answers.readline().split()
                self._stop.check()
                if len(about) != 3:
                    raise SnapshotFailed(f"the record is damaged: object {blob} cannot be read")
                data = answers.read(int(about[2]) + 1)[:-1]
                self._stop.check()
                return data

            yield content

    # ------------------------------------------------------------ git

    def _run(
        self,
        command: list[str],
        given: bytes = b"",
        *,
        index: Path | None = None,
    ) -> bytes:
        argv, env = self._call(command, index)
        return self._stop.run(argv, env, self._workdir if index else self._shadow, given)

    def _call(
        self, command: list[str], index: Path | None = None, git_dir: Path | None = None
    ) -> tuple[list[str], dict[str, str]]:
        argv = [self._git]
        for name, value in _SETTINGS.items():
            argv += ["-c", f"{name}={value}"]
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._shadow.parent),
            "XDG_CONFIG_HOME": str(self._shadow.parent),
            "LC_ALL": "C",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_DIR": str(git_dir or self._shadow),
            "GIT_WORK_TREE": str(self._workdir),
            "GIT_INDEX_FILE": str(index or self._shadow / "index.none"),
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_AUTHOR_NAME": "loopspec",
            "GIT_AUTHOR_EMAIL": "loopspec@localhost",
            "GIT_COMMITTER_NAME": "loopspec",
            "GIT_COMMITTER_EMAIL": "loopspec@localhost",
        }
        if git_dir is not None:
            del env["GIT_WORK_TREE"]  # `init` would write it into the configuration
        return argv + command, env

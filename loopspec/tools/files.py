"""`files.read`, `files.write`, `files.edit`: text files below the work directory.

Rules of this file:
1. What is read is given back unchanged (line ends too), so that an edit can name it exactly.
2. A file is replaced as a whole, or not at all: temporary file, fsync, rename.
3. Only UTF-8 text is read and edited; anything else is refused, never guessed at.
"""

import codecs
import os
import stat
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from loopspec.hooks import Tool, ToolContext, ToolFailed
from loopspec.tools import diffs
from loopspec.tools.aside import Stop, work
from loopspec.tools.confine import inside, open_directory, open_file

# One page and its note fit what the output keeper shows whole (32 KiB), so the model sees a page
# that ends at a line instead of one with a hole in the middle.
PAGE_BYTES: Final = 30 * 1024
PAGE_LINES: Final = 2000
EDIT_BYTES: Final = 10 * 1024 * 1024
_PROBE_BYTES: Final = 8192


# ---------------------------------------------------------------- read


async def _read(ctx: ToolContext, args: dict[str, Any]) -> str:
    offset, limit = int(args.get("offset", 1)), int(args.get("limit", PAGE_LINES))
    return await work(lambda stop: read_page(ctx.workdir, args["path"], offset, limit, stop))


def read_page(workdir: Path, given: str, offset: int, limit: int, stop: Stop) -> str:
    """Lines `offset` to `offset + limit - 1` (first is 1) of a text file, at most `PAGE_BYTES`.

    A note in brackets on a line of its own says when the file goes on. Raises `ToolFailed`.
    """
    with open_file(workdir, given) as descriptor, open(descriptor, "rb", closefd=False) as file:
        if os.fstat(descriptor).st_size == 0:
            return "[the file is empty]"
        if b"\0" in file.read(_PROBE_BYTES):
            raise ToolFailed(f"{given} is a binary file; only text can be read")
        file.seek(0)
        seen = _skip(file, offset - 1, stop)
        if seen < offset - 1:
            raise ToolFailed(f"{given} has {seen} lines; offset {offset} is past its end")
        page, lines, cut = _page(file, min(limit, PAGE_LINES), stop)
        more = cut or bool(file.read(1))
    if not lines:
        raise ToolFailed(f"{given} has {seen} lines; offset {offset} is past its end")
    text = _text(page, given, whole=not cut)
    last = offset + lines - 1
    if not more:
        return text
    end = "" if text.endswith("\n") else "\n"
    if cut:
        return f"{text}{end}[line {last} is longer than {PAGE_BYTES} bytes and was cut here]"
    return f"{text}{end}[lines {offset} to {last}; the file goes on: read from offset {last + 1}]"


def _skip(file: BinaryIO, lines: int, stop: Stop) -> int:
    """Pass over `lines` lines with bounded memory; gives back how many there were."""
    seen = 0
    while seen < lines:
        piece = file.readline(1 << 20)
        if not piece:
            break
        if piece.endswith(b"\n"):
            seen += 1
            if seen % 4096 == 0:
                stop.check()
        elif len(piece) < 1 << 20:
            seen += 1  # the last line, without a line end
        else:
            stop.check()
    return seen


def _page(file: BinaryIO, limit: int, stop: Stop) -> tuple[bytes, int, bool]:
    """Whole lines up to the limits; a first line that is too long alone is cut (True)."""
    stop.check()
    page, lines = bytearray(), 0
    while lines < limit:
        at = file.tell()
        line = file.readline(PAGE_BYTES + 1)
        if not line:
            break
        if len(page) + len(line) > PAGE_BYTES:
            if page:
                file.seek(at)
                break
            return line[:PAGE_BYTES], 1, True
        page += line
        lines += 1
    return bytes(page), lines, False


def _text(data: bytes, given: str, *, whole: bool = True) -> str:
    if b"\0" in data:
        raise ToolFailed(f"{given} is a binary file; only text can be read")
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data, final=whole)
    except UnicodeDecodeError as error:
        raise ToolFailed(
            f"{given} is not UTF-8 text (byte 0x{data[error.start]:02x}); "
            "convert it to UTF-8 first or treat it as binary"
        ) from error


# ---------------------------------------------------------------- write


async def _write(ctx: ToolContext, args: dict[str, Any]) -> str:
    return await work(
        lambda stop: write_text(ctx.workdir, args["path"], args["content"], stop), ctx.emit
    )


def write_text(workdir: Path, given: str, content: str, stop: Stop) -> str:
    """Put `content` into the file as a whole and say so in one line. Raises `ToolFailed`."""
    try:
        data = content.encode()
    except UnicodeEncodeError as error:
        raise ToolFailed(f"the content for {given} is not valid Unicode text") from error
    path = inside(workdir, given)
    new = _replace(workdir, path, given, data, stop)
    lines = content.count("\n") + (not content.endswith("\n") and bool(content))
    what = "created" if new else "replaced"
    return f"{what} {given}: {_some(lines, 'line')}, {_some(len(data), 'byte')}"


def _replace(workdir: Path, path: Path, given: str, data: bytes, stop: Stop) -> bool:
    """Replace or create the file atomically; True when it is new. Keeps mode and owner."""
    if path == workdir.resolve():
        raise ToolFailed(f"{given} is a directory; name a file in it")
    try:
        with open_directory(workdir, path.parent, create=True) as directory:
            before = _before(directory, path.name, given)
            temporary = f".{uuid.uuid4().hex}.tmp"
            try:
                _fill(directory, temporary, data, before)
                stop.check()
                os.replace(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=directory)
                raise
            return before is None
    except OSError as error:
        raise ToolFailed(f"{given} cannot be written: {error.strerror}") from error


def _before(directory: int, name: str, given: str) -> os.stat_result | None:
    try:
        before = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(before.st_mode):
        raise ToolFailed(f"{given} is a directory; name a file in it")
    if not stat.S_ISREG(before.st_mode):
        raise ToolFailed(f"{given} is not a regular file; only regular files can be written")
    if not before.st_mode & 0o222:
        # A rename would replace it all the same: the mode bit is somebody's wish.
        raise ToolFailed(f"{given} is read-only; make it writable first or leave it alone")
    return before


def _fill(directory: int, name: str, data: bytes, before: os.stat_result | None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(name, flags, 0o666, dir_fd=directory), "wb") as file:
        if before is not None:
            if before.st_uid != os.geteuid():
                with suppress(PermissionError):  # only root may keep a foreign owner
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


# ---------------------------------------------------------------- edit


async def _edit(ctx: ToolContext, args: dict[str, Any]) -> str:
    def edit(stop: Stop) -> str:
        given = args["path"]
        text = _load(ctx.workdir, given)
        changed, lines = diffs.edited(given, text, args["old"], args["new"], _every(args))
        _replace(ctx.workdir, inside(ctx.workdir, given), given, changed.encode(), stop)
        return f"edited {given}: {diffs.places(lines)}"

    return await work(edit, ctx.emit)


async def _probe_edit(ctx: ToolContext, args: dict[str, Any]) -> bool | None:
    def probe(_: Stop) -> bool | None:
        try:
            text = _load(ctx.workdir, args["path"])
        except ToolFailed:
            return None
        return diffs.was_edited(text, args["old"], args["new"])

    return await work(probe)


def _load(workdir: Path, given: str) -> str:
    with open_file(workdir, given) as descriptor:
        size = os.fstat(descriptor).st_size
        if size > EDIT_BYTES:
            raise ToolFailed(f"{given} has {size} bytes; files above {EDIT_BYTES} are not edited")
        with open(descriptor, "rb", closefd=False) as file:
            return _text(file.read(), given)


def _every(args: Mapping[str, Any]) -> bool:
    return bool(args.get("all", False))


# ---------------------------------------------------------------- previews


def _preview_write(ctx: ToolContext, args: dict[str, Any]) -> str:
    given = args["path"]
    try:
        before = _load(ctx.workdir, given) if inside(ctx.workdir, given).exists() else ""
    except ToolFailed as error:
        return f"writes {_some(len(args['content']), 'character')} to {given} ({error})"
    return diffs.unified(given, before, args["content"])


def _preview_edit(ctx: ToolContext, args: dict[str, Any]) -> str:
    given = args["path"]
    try:
        before = _load(ctx.workdir, given)
        after, _ = diffs.edited(given, before, args["old"], args["new"], _every(args))
    except ToolFailed as error:
        return f"this edit would fail: {error}"
    return diffs.unified(given, before, after)


def _some(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


# ---------------------------------------------------------------- the tools

_PATH: Final = {"type": "string", "description": "path relative to the work directory"}

READ: Final = Tool(
    name="files.read",
    description=(
        "Read a text file. Long files come in pages: the last line says from which offset (line "
        "number, first is 1) to read on."
    ),
    parameters={
        "type": "object",
        "properties": {
            "path": _PATH,
            "offset": {"type": "integer", "minimum": 1, "description": "first line, default 1"},
            "limit": {"type": "integer", "minimum": 1, "description": "how many lines"},
        },
        "required": ["path"],
        "additionalProperties": False,
    },
    run=_read,
    effect="read",
    after_crash="rerun",
    paths=("path",),
    total=30.0,
)

WRITE: Final = Tool(
    name="files.write",
    description="Write a whole text file; creates it and its directories when they are missing.",
    parameters={
        "type": "object",
        "properties": {"path": _PATH, "content": {"type": "string"}},
        "required": ["path", "content"],
        "additionalProperties": False,
    },
    run=_write,
    effect="write",
    after_crash="rerun",
    paths=("path",),
    total=30.0,
    preview=_preview_write,
)

EDIT: Final = Tool(
    name="files.edit",
    description=(
        "Replace a piece of a text file. `old` must occur exactly once, with the same spaces; with "
        "`all` every occurrence is replaced."
    ),
    parameters={
        "type": "object",
        "properties": {
            "path": _PATH,
            "old": {"type": "string", "minLength": 1},
            "new": {"type": "string"},
            "all": {"type": "boolean", "description": "replace every occurrence"},
        },
        "required": ["path", "old", "new"],
        "additionalProperties": False,
    },
    run=_edit,
    effect="write",
    after_crash="probe",
    paths=("path",),
    total=30.0,
    preview=_preview_edit,
    probe=_probe_edit,
)

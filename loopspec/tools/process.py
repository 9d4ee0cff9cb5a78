"""Process: run one child, stream what it says, and leave nothing of it running.

Rules of this file:
1. The child has a session of its own, no terminal, and an environment that the caller spelled out.
2. The pipe is ours and not asyncio's: waiting for the child never waits for a grandchild that holds
   the other end.
3. However it ends (exit, cancel, fault), every process of the child's tree is ended before `run`
   returns, so that nothing writes while a rollback runs.
"""

import asyncio
import codecs
import os
import signal
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loopspec.hooks import ToolFailed
from loopspec.tools import tree
from loopspec.tools.aside import settled
from loopspec.tools.bounded import Bounded

DRAIN: Final = 2.0
_READ: Final = 64 * 1024


@dataclass(frozen=True)
class Ended:
    """How a child ended. `code` is its exit code (minus the signal's number when killed by one).

    `output` is all it said, bounded as `Bounded.whole`. `left` is how many processes it had left in
    the background, which were ended.
    """

    code: int
    output: bytes
    left: int

    @property
    def meaning(self) -> str:
        """`exit code N`; for a signal the shell's 128 + N and the signal's name."""
        if self.code >= 0:
            return f"exit code {self.code}"
        try:
            name = signal.Signals(-self.code).name
        except ValueError:
            name = f"signal {-self.code}"
        return f"exit code {128 - self.code} (ended by {name})"


class _Pipe:
    """Our end of the child's output: decodes across reads, keeps, and shows at once."""

    def __init__(self, descriptor: int, emit: Callable[[str], None]) -> None:
        self._descriptor = descriptor
        self._emit = emit
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._loop = asyncio.get_running_loop()
        self.kept = Bounded()
        self.closed = asyncio.Event()
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._ready)

    def _ready(self) -> None:
        try:
            data = os.read(self._descriptor, _READ)
        except BlockingIOError:
            return
        if not data:
            self.close()
            return
        self.kept.add(data)
        self._show(self._decode(data))

    def _show(self, text: str) -> None:
        if text:
            self._emit(text)

    async def drain(self, seconds: float) -> None:
        """Wait for the end of the output, at most `seconds`, then let go of the pipe."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.closed.wait()
        self.close()

    def close(self) -> None:
        """Let go of the pipe; what was half a character is shown as damaged."""
        if not self.closed.is_set():
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self.closed.set()
            self._show(self._decode(b"", True))


async def run(
    argv: list[str],
    *,
    workdir: Path,
    env: Mapping[str, str],
    emit: Callable[[str], None],
    call: str,
    stdin: bytes | None = None,
) -> Ended:
    """Run `argv` in `workdir` with exactly `env` (and the call's mark) and wait for its end.

    Output and errors come as one stream. Without `stdin` the child reads from /dev/null. Cancelling
    ends the whole tree first. Raises `ToolFailed` when the program cannot be started.
    """
    mark = f"{call}:{uuid.uuid4().hex}"
    ours, theirs = os.pipe()
    pipe = _Pipe(ours, emit)
    begun: list[asyncio.subprocess.Process] = []

    async def start() -> asyncio.subprocess.Process:
        begun.append(await _start(argv, workdir, {**env, tree.MARK: mark}, theirs, stdin))
        return begun[0]

    try:
        try:
            child = await settled(start())
        finally:
            os.close(theirs)
    except OSError as error:
        pipe.close()
        raise ToolFailed(f"{argv[0]} cannot be started: {error.strerror}") from error
    except asyncio.CancelledError:
        # The start itself ran to its end. Its child is ended by its number: for an instant after it has
        # begun, its environment reads as empty, and so its mark could be missed.
        if begun:
            await settled(_end(begun[0], tree.root_of(begun[0].pid), pipe, mark))
        pipe.close()
        raise
    root = tree.root_of(child.pid)
    try:
        await _talk(child, stdin)
        code = await child.wait()
        # Most output has its end here; a grandchild that holds the pipe costs DRAIN at most.
        await pipe.drain(DRAIN)
    except BaseException:
        await settled(_end(child, root, pipe, mark))
        raise
    left = await settled(_end(child, root, pipe, mark))
    return Ended(code, pipe.kept.whole(), left)


async def _start(
    argv: list[str], workdir: Path, env: dict[str, str], out: int, stdin: bytes | None
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *argv,
        cwd=workdir,
        env=env,
        stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
        stdout=out,
        stderr=out,
        start_new_session=True,
    )


async def _talk(child: asyncio.subprocess.Process, stdin: bytes | None) -> None:
    if child.stdin is not None and stdin is not None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it ended without listening
            child.stdin.write(stdin)
            await child.stdin.drain()
        child.stdin.close()


async def _end(
    child: asyncio.subprocess.Process, root: tree.Root, pipe: _Pipe, mark: str
) -> int:
    left = await asyncio.to_thread(tree.end, root, mark)
    with suppress(TimeoutError):  # a child the kernel cannot end must not hold us
        async with asyncio.timeout(DRAIN):
            await child.wait()
    await pipe.drain(0.2)
    return left

"""Supervise: runs any tool inside its time and its size, whatever the tool does.

Rules of this file:
1. A run ends as `ok`, `error` or `timeout`; what it had said until then is kept and shown.
2. A tool that ignores its cancellation is left behind after `PATIENCE`, never waited for, and said.
3. Nothing is shown or kept once the run has ended.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Any, Final

from loopspec.hooks import Tool, ToolContext, ToolFailed
from loopspec.tools.bounded import Bounded

__all__ = ["PATIENCE", "Bounded", "Outcome", "Run", "run_tool"]

PATIENCE: Final = 5.0
LEFT: Final[set["asyncio.Task[str]"]] = set()
"""Tools of this process that ignored their cancellation and are still at work."""

_FAULT_LENGTH: Final = 4000


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `ok`, `error`, `timeout`, or `cancelled` for what was there at a cancel.

    `text` is for the model, bounded; `whole` is everything as bytes when `text` leaves some out,
    else None. `duration_us` is microseconds.
    """

    status: str
    text: str
    whole: bytes | None = None
    duration_us: int = 0


class Run:
    """One run of one tool; use it once. The caller has validated `args`.

    `total` and `silence` are seconds; 0 silence is off.
    """

    def __init__(
        self, tool: Tool, args: dict[str, Any], ctx: ToolContext, total: float, silence: float
    ) -> None:
        """A run that has not begun."""
        self._tool, self._args, self._ctx = tool, args, ctx
        self._total, self._silence = total, silence
        self._said = Bounded()
        self._open = True
        self._began = self._heard = self._ended = 0.0
        self._stuck = False

    async def outcome(self) -> Outcome:
        """Run the tool to its end or its deadline.

        When cancelled: cancels the tool, waits for it at most `PATIENCE`, and raises
        `CancelledError`; `partial` then tells what was done so far.
        """
        loop = asyncio.get_running_loop()
        self._began = self._heard = loop.time()
        ctx = replace(self._ctx, emit=self._emit)
        task: asyncio.Task[str] = asyncio.ensure_future(_call(self._tool, ctx, self._args))
        try:
            late = await self._watch(task)
            if late:
                await self._stop(task)
        except asyncio.CancelledError:
            await self._stop(task)
            raise
        finally:
            self._open = False
            self._ended = loop.time()
        if late and (not task.done() or task.cancelled() or task.exception() is not None):
            return self._failed("timeout", late)
        return self._result(task)

    def partial(self) -> Outcome:
        """What the tool had said so far (status `cancelled`); for use after a cancellation."""
        note = "[interrupted before it was done]"
        return self._failed("cancelled", note) if self._said.size else self._made("cancelled", b"")

    @property
    def left_behind(self) -> bool:
        """Whether the tool ignored its cancellation and may still be at work."""
        return self._stuck

    async def _watch(self, task: "asyncio.Task[str]") -> str:
        """Wait for the task; gives back why it must be stopped, empty when it is done."""
        loop = asyncio.get_running_loop()
        while not task.done():
            now = loop.time()
            due = self._began + self._total
            quiet = self._heard + self._silence if self._silence > 0 else due
            if now >= due:
                return f"[{self._tool.name} was ended: not done within {self._total:g} s]"
            if now >= quiet:
                return f"[{self._tool.name} was ended: no output for {self._silence:g} s]"
            await asyncio.wait({task}, timeout=min(due, quiet) - now)
        return ""

    async def _stop(self, task: "asyncio.Task[str]") -> None:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=PATIENCE)
        if not task.done():
            self._stuck = True
            LEFT.add(task)
            task.add_done_callback(LEFT.discard)
            task.add_done_callback(_forget)
        else:
            _forget(task)

    def _emit(self, text: str) -> None:
        if not self._open:
            return
        self._heard = asyncio.get_running_loop().time()
        self._said.add(text.encode("utf-8", "replace"))
        self._ctx.emit(text)

    def _result(self, task: "asyncio.Task[str]") -> Outcome:
        if task.cancelled():
            return self._failed("error", "the tool cancelled itself")
        error = task.exception()
        if isinstance(error, ToolFailed):
            return self._failed("error", str(error)[:_FAULT_LENGTH])
        if error is not None:
            return self._failed("error", f"{type(error).__name__}: {error}"[:_FAULT_LENGTH])
        text = task.result()
        if not isinstance(text, str):
            fault = f"{self._tool.name} gave back {type(text).__name__} where text was due"
            return self._failed("error", fault)
        return self._made("ok", text.encode("utf-8", "replace"))

    def _failed(self, status: str, note: str) -> Outcome:
        """What was said until then, with the note as its last line."""
        if self._stuck:
            note += f" [it did not stop within {PATIENCE:g} s and was left behind]"
        said = self._said.whole()
        if said and not said.endswith(b"\n"):
            said += b"\n"
        return self._made(status, said + note.encode("utf-8", "replace"))

    def _made(self, status: str, data: bytes) -> Outcome:
        keeper = Bounded()
        keeper.add(data)
        lasted = max(0, round((self._ended - self._began) * 1_000_000))
        return Outcome(status, keeper.text(), keeper.whole() if keeper.cut else None, lasted)


async def _call(tool: Tool, ctx: ToolContext, args: dict[str, Any]) -> str:
    try:
        return await tool.run(ctx, args)
    except (SystemExit, KeyboardInterrupt) as err:
        # asyncio lets these through a task, which would end the loop in the middle of a call.
        raise ToolFailed(f"the tool tried to end the process: {type(err).__name__}") from err


def _forget(task: "asyncio.Task[str]") -> None:
    """Look at the result, so that asyncio does not report it as never retrieved."""
    if not task.cancelled():
        task.exception()


async def run_tool(
    tool: Tool, args: dict[str, Any], ctx: ToolContext, total: float, silence: float
) -> Outcome:
    """Run `tool` within `total` seconds and `silence` seconds between outputs (0: any).

    Validates nothing. Never raises but for its own cancellation; use `Run` to keep what was done
    when it is cancelled.
    """
    return await Run(tool, args, ctx, total, silence).outcome()

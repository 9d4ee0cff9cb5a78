"""Supervision of any tool: its end, its faults, its deadlines, its size."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import Shown

from loopspec.hooks import Tool, ToolContext, ToolFailed, ToolRun
from loopspec.tools import supervise
from loopspec.tools.bounded import Bounded
from loopspec.tools.supervise import Outcome, Run, run_tool


def tool(run: ToolRun) -> Tool:
    return Tool(name="some.tool", description="", parameters={}, run=run)


def ended(run: ToolRun, total: float = 5.0, silence: float = 0.0) -> Outcome:
    shown = Shown(Path("."))
    return asyncio.run(run_tool(tool(run), {"n": 1}, shown.context, total, silence))


def said(outcome: Outcome) -> tuple[str, str, bytes | None]:
    return outcome.status, outcome.text, outcome.whole


def test_the_result_is_the_text_the_tool_gave_back() -> None:
    async def run(ctx: ToolContext, args: dict[str, Any]) -> str:
        ctx.emit("shown")
        await asyncio.sleep(0.05)
        return f"n is {args['n']}"

    outcome = ended(run)
    assert said(outcome) == ("ok", "n is 1", None)
    assert 50_000 <= outcome.duration_us < 2_000_000


def test_faults_are_told_without_a_traceback_and_keep_what_was_said() -> None:
    async def refuses(ctx: ToolContext, args: dict[str, Any]) -> str:
        raise ToolFailed("no such file; list the directory")

    async def breaks(ctx: ToolContext, args: dict[str, Any]) -> str:
        ctx.emit("half")
        raise KeyError("x")

    async def wrong(ctx: ToolContext, args: dict[str, Any]) -> str:
        return 7  # type: ignore[return-value]  # what a careless plugin does

    async def cancels_itself(ctx: ToolContext, args: dict[str, Any]) -> str:
        raise asyncio.CancelledError

    async def ends_the_process(ctx: ToolContext, args: dict[str, Any]) -> str:
        raise SystemExit(0)

    async def presses_ctrl_c(ctx: ToolContext, args: dict[str, Any]) -> str:
        raise KeyboardInterrupt

    def raises_at_once(ctx: ToolContext, args: dict[str, Any]) -> Any:
        raise ValueError("bad")

    assert said(ended(refuses)) == ("error", "no such file; list the directory", None)
    assert said(ended(breaks)) == ("error", "half\nKeyError: 'x'", None)
    assert said(ended(wrong)) == ("error", "some.tool gave back int where text was due", None)
    assert said(ended(cancels_itself)) == ("error", "the tool cancelled itself", None)
    ended_by = "the tool tried to end the process: "
    assert said(ended(ends_the_process)) == ("error", f"{ended_by}SystemExit", None)
    assert said(ended(presses_ctrl_c)) == ("error", f"{ended_by}KeyboardInterrupt", None)
    assert said(ended(raises_at_once)) == ("error", "ValueError: bad", None)


def test_the_total_deadline_holds_however_much_is_said() -> None:
    async def run(ctx: ToolContext, args: dict[str, Any]) -> str:
        while True:
            ctx.emit(".")
            await asyncio.sleep(0.01)

    outcome = ended(run, total=0.3, silence=0.2)
    assert outcome.status == "timeout"
    assert outcome.text.startswith("..")
    assert outcome.text.endswith(".\n[some.tool was ended: not done within 0.3 s]")


def test_the_silence_deadline_is_put_off_by_output() -> None:
    async def run(ctx: ToolContext, args: dict[str, Any]) -> str:
        for _ in range(5):
            await asyncio.sleep(0.1)
            ctx.emit(".")
        await asyncio.sleep(60)
        return ""

    outcome = ended(run, total=30, silence=0.4)
    assert said(outcome) == ("timeout", ".....\n[some.tool was ended: no output for 0.4 s]", None)


def test_a_tool_that_finishes_while_it_is_being_stopped_has_finished() -> None:
    async def run(ctx: ToolContext, args: dict[str, Any]) -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "written all the same"
        return ""

    assert said(ended(run, total=0.05)) == ("ok", "written all the same", None)


def test_a_tool_deaf_to_cancellation_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "PATIENCE", 0.2)
    shown = Shown(Path("."))
    free = asyncio.Event()

    async def run(ctx: ToolContext, args: dict[str, Any]) -> str:
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue
        ctx.emit("too late")
        return ""

    async def story() -> Outcome:
        outcome = await run_tool(tool(run), {}, shown.context, 0.1, 0)
        free.set()
        await asyncio.sleep(0.05)
        return outcome

    outcome = asyncio.run(story())
    assert outcome.status == "timeout"
    assert outcome.text == (
        "[some.tool was ended: not done within 0.1 s] "
        "[it did not stop within 0.2 s and was left behind]"
    )
    assert shown.texts == []


def test_cancelling_a_run_waits_for_the_tool_and_keeps_the_partial_output() -> None:
    cleaned = []

    async def run(ctx: ToolContext, args: dict[str, Any]) -> str:
        ctx.emit("so far")
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            cleaned.append(True)
        return ""

    async def story() -> Outcome:
        one = Run(tool(run), {}, Shown(Path(".")).context, 30, 0)
        task = asyncio.ensure_future(one.outcome())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return one.partial()

    outcome = asyncio.run(story())
    assert said(outcome) == ("cancelled", "so far\n[interrupted before it was done]", None)
    assert cleaned == [True]
    assert outcome.duration_us > 0


# ---------------------------------------------------------------- the output keeper

PIECES = st.lists(st.binary(max_size=90), max_size=30)


@given(PIECES)
@settings(max_examples=200, deadline=None)
def test_any_bytes_in_any_pieces_stay_within_bounds(pieces: list[bytes]) -> None:
    keeper = Bounded(head=32, tail=32, cap=400)
    for piece in pieces:
        keeper.add(piece)
    data = b"".join(pieces)
    whole, text = keeper.whole(), keeper.text()
    assert keeper.size == len(data)
    assert len(whole) <= 400
    if len(data) <= 400:
        assert whole == data
    else:
        head, _, tail = whole.partition(b"\n[\xe2\x80\xa6 ")
        assert data.startswith(head)
        assert data.endswith(tail.split(b" bytes were not kept]\n", 1)[1])
    if len(data) <= 64:
        assert text == data.decode("utf-8", "replace")
        assert not keeper.cut
    else:
        assert keeper.cut
        assert len(text) <= 64 + 80


@given(st.text(max_size=600), st.integers(1, 7))
@settings(max_examples=200, deadline=None)
def test_no_character_is_cut_and_the_gap_is_counted(text: str, size: int) -> None:
    data = text.encode("utf-8", "replace")
    text = data.decode()
    keeper = Bounded(head=32, tail=32, cap=400)
    for begin in range(0, len(data), size):
        keeper.add(data[begin : begin + size])
    shown = keeper.text()
    assert shown.count("\ufffd") <= text.count("\ufffd")
    if not keeper.cut:
        assert shown == text
        return
    begin = shown.index("\n[… ")
    head, rest = shown[:begin], shown[begin:]
    while not text.startswith(head) or " bytes left out" not in rest:  # the text may hold `\n[… `
        begin = shown.index("\n[… ", begin + 1)
        head, rest = shown[:begin], shown[begin:]
    count, tail = rest[4:].split(" bytes left out; the whole output is in the call's blob]\n", 1)
    assert text.startswith(head) and text.endswith(tail)
    assert len(head.encode()) + int(count) + len(tail.encode()) == len(data)
    assert keeper.whole().decode()  # the whole is never cut inside a character either


def test_a_large_output_goes_to_disk_and_comes_back() -> None:
    keeper = Bounded(cap=2_000_000)
    for n in range(1000):
        keeper.add(b"%06d\n" % n * 100)
    assert keeper.whole() == b"".join(b"%06d\n" % n * 100 for n in range(1000))
    keeper.add(b"x" * 2_000_000 + b"the end")
    assert len(keeper.whole()) <= 2_000_000
    assert keeper.whole().endswith(b"xthe end")
    with pytest.raises(ValueError, match="head and tail"):
        Bounded(head=10, tail=10, cap=20)

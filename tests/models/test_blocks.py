"""What a provider wants back verbatim: collected from the stream, put into the next request."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from model_helpers import SECRET, call, effect, run, world_for

from loopspec.context.transcript import Item, ViewCall
from loopspec.events import ModelReplied
from loopspec.performers import model_stream
from loopspec.performers.model_errors import Late, mend
from loopspec.performers.model_request import CALL_SIGNATURES, build_request
from loopspec.performers.model_stream import Deadlines, Gathered, Reader, TooLarge, signed

ASKED = Item(id="0.0", role="user", text="Hi")


def chunk(**delta: Any) -> SimpleNamespace:
    """A chunk as litellm gives it, as far as it is read."""
    return SimpleNamespace(choices=[SimpleNamespace(delta=SimpleNamespace(**delta), finish_reason=None)])


def block(thinking: str = "", signature: str = "") -> dict[str, str]:
    return {"type": "thinking", "thinking": thinking, "signature": signature}


def test_pieces_of_thinking_become_signed_blocks() -> None:
    got = Gathered("e")
    redacted = {"type": "redacted_thinking", "data": "x"}
    pieces = [
        block("a"),
        block("b"),
        block(signature="one"),
        redacted,
        block("c"),
        block(signature="two"),
        block(signature="three"),
        block("unsigned"),
    ]
    for piece in pieces:
        got.add(chunk(thinking_blocks=[piece]))
    assert signed(got.thinking) == [
        block("ab", "one"),
        redacted,
        block("c", "two"),
        block("", "three"),
    ]


def test_signatures_of_calls_come_back_on_the_calls(tmp_path: Path) -> None:
    got = Gathered("e")
    function = SimpleNamespace(name="read_file", arguments="{}")
    fields = {"thought_signature": "sig"}
    got.add(
        chunk(
            tool_calls=[
                SimpleNamespace(index=0, id="x", function=function, provider_specific_fields=fields)
            ]
        )
    )
    assert got.calls[0].signature == "sig"
    item = Item(
        id="1.0",
        role="assistant",
        calls=(ViewCall("c1", "read_file", "{}"), ViewCall("c2", "list_files", "{}")),
        blocks=json.dumps({CALL_SIGNATURES: {"0": "sig"}}),
    )
    world = world_for("gemini/x", tmp_path, (ASKED, item))
    first, second = build_request(effect("gemini/x"), world).messages[1]["tool_calls"]
    assert first["provider_specific_fields"] == {"thought_signature": "sig"}
    assert "provider_specific_fields" not in second
    plain = build_request(effect("openai/x"), world).messages[1]
    assert set(plain) == {"role", "content", "tool_calls"}
    assert all(set(made) == {"id", "type", "function"} for made in plain["tool_calls"])


def test_signed_blocks_go_back_unchanged_to_a_provider_that_takes_them(tmp_path: Path) -> None:
    blocks = {"thinking_blocks": [block("t", "s")]}
    item = Item(id="1.0", role="assistant", text="x", blocks=json.dumps(blocks))
    world = world_for("anthropic/x", tmp_path, (ASKED, item))
    assert build_request(effect("anthropic/x"), world).messages == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "x", **blocks},
        {"role": "user", "content": "Go on."},
    ]


def test_blocks_that_hold_a_secret_are_left_out_and_never_altered(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        f"script: 1\nturns:\n  - reply: ok\n    thinking: 'it is {SECRET}'\n    signature: s\n"
    )
    answer, world = call(f"scripted/{path}", tmp_path)
    assert isinstance(answer, ModelReplied) and answer.blocks == ""
    assert SECRET not in repr(answer)
    assert all(SECRET.encode() not in data for _, data in world.partials)


class Double:
    """A stream of `chunks` that never waits, and that its provider ends."""

    received_finish_reason = "stop"

    def __init__(self, pieces: list[SimpleNamespace], endless: bool = False) -> None:
        self.chunks: list[SimpleNamespace] = []
        self.left, self.endless, self.closed = list(pieces), endless, False

    def __aiter__(self) -> "Double":
        return self

    async def __anext__(self) -> SimpleNamespace:
        if not self.left:
            raise StopAsyncIteration
        return self.left[0] if self.endless and len(self.left) == 1 else self.left.pop(0)

    async def aclose(self) -> None:
        self.closed = True

    async def open(self) -> "Double":
        return self


def test_a_stream_whose_chunks_are_all_at_hand_lets_others_run() -> None:
    async def go() -> tuple[bool, int, int]:
        got = Gathered("e")
        reader = Reader(Deadlines(60, 60, 60, 60), lambda one: got.add(one)[1])
        task = asyncio.create_task(reader.read(Double([chunk(content="x")] * 100).open()))
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        return task.result(), got.chars, turns

    ended, chars, turns = run(go())
    assert (ended, chars) == (True, 100) and turns >= 100


@pytest.mark.parametrize(
    ("first", "which"), [([], "first_chunk"), ([chunk(content="x")], "between_chunks")]
)
def test_empty_chunks_do_not_keep_a_stream_alive(first: list[SimpleNamespace], which: str) -> None:
    async def go() -> bool:
        got = Gathered("e")
        reader = Reader(Deadlines(60, 0.05, 0.05, 60), lambda one: got.add(one)[1])
        stream = Double([*first, chunk(content="")], endless=True)
        with pytest.raises(Late) as caught:
            await reader.read(stream.open())
        assert (caught.value.which, caught.value.seconds) == (which, 0.05)
        return stream.closed

    assert run(go())


def test_a_stream_that_talks_for_ever_meets_the_total_deadline() -> None:
    async def go() -> bool:
        got = Gathered("e")
        reader = Reader(Deadlines(60, 60, 60, 0.05), lambda one: got.add(one)[1])
        stream = Double([chunk(content="x")], endless=True)
        with pytest.raises(Late, match="total"):
            await reader.read(stream.open())
        return stream.closed

    assert run(go())


def test_a_reply_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_stream, "MAX_CHARS", 10)
    got = Gathered("e")
    got.add(chunk(content="12345"))
    with pytest.raises(TooLarge, match="longer than 10 characters"):
        got.add(chunk(reasoning_content="678901"))


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("plain", "plain"),
        ("ü😀", "ü😀"),
        ("\ud83d\ude00", "😀"),
        ("a\ud83d", "a\ufffd"),
        ("\ude00b", "\ufffdb"),
    ],
)
def test_mended_text_is_valid_unicode(broken: str, whole: str) -> None:
    assert mend(broken) == whole
    mend(broken).encode()

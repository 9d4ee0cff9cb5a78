"""Whole loops against a model server that fails as real ones were seen to fail (F3, F4, F5, F6)."""

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cli.kit import LOOP, Place

import loopspec
from loopspec.events import AttemptFailed, ModelReplied, ToolAnswered
from loopspec.testing import (
    Call,
    CutAt,
    EmptyText,
    ModelServer,
    NoFinish,
    Reset,
    Say,
    Stall,
    Status,
)
from loopspec.testing.serving.breaking import borders
from loopspec.testing.serving.faults import Fault
from loopspec.testing.serving.replies import PROTOCOLS

USES = {
    "chat": ("/chat/completions", "openai/xyz", "/v1"),
    "messages": ("/messages", "anthropic/xyz", ""),
    "responses": ("/responses", "openai/responses/gpt-5", "/v1"),
}
CALLS = Say("I look.", calls=(Call("read", {"path": "a.txt", "note": "the whole of it"}),))
DONE = Say("It says so.")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    (made.work / "a.txt").write_text("so\n")
    return made


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "test")


def run(place: Place, server: ModelServer, use: str, end: str, **more: str) -> list[Any]:
    """The events of a run of the small loop with this model."""
    retry = more.pop("retry", "{attempts: 3, base: 1ms, cap: 1ms}")
    extra = "".join(f", {key}: {value}" for key, value in more.items())
    base = f"{server.base}{end}"
    model = f"{{main: {{use: {use}, params: {{api_base: '{base}'}}, retry: {retry}{extra}}}}}"
    loop = LOOP.replace(LOOP.split("models: ")[1].split("\n")[0], model)
    spec = place.file("loop.yaml", loop)
    session = loopspec.load(spec).session("What does it say?", store=place.store, workdir=place.work)
    session.finish_sync()
    return [entry.event for entry in place.entries(session.id)]


def of(events: list[Any], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def inside_arguments(path: str, say: Say, name: str) -> int:
    """A byte in the middle of the argument's text of a call."""
    body = b"".join(PROTOCOLS[path][0](say, name))
    return body.index(b"note") + 3


def dying(path: str, name: str, where: str) -> list[Fault]:
    frames = PROTOCOLS[path][0](CALLS, name)
    match where:
        case "inside tool arguments":
            return [CutAt(inside_arguments(path, CALLS, name))]
        case "inside text":
            return [CutAt(b"".join(frames).index(b"I look") + 4)]
        case "before the first byte":
            return [CutAt(0)]
        case "after the end without a finish reason":
            return [NoFinish()]
        case "with a reset":
            return [CutAt(borders(frames)[3], clean=False)]
        case _:
            return [Reset()]


@pytest.mark.parametrize("protocol", list(USES))
@pytest.mark.parametrize(
    "where",
    [
        *("inside tool arguments", "inside text", "before the first byte"),
        *("after the end without a finish reason", "with a reset", "at the connection"),
    ],
)
def test_f3_a_stream_that_dies_is_asked_again_and_nothing_half_runs(
    place: Place, protocol: str, where: str
) -> None:
    path, use, end = USES[protocol]
    # A connection that is refused has used up no reply.
    replies = (CALLS, DONE) if where == "at the connection" else (CALLS, CALLS, DONE)
    with ModelServer(*replies, faults={0: dying(path, use.rsplit("/", 1)[-1], where)}) as server:
        given = place.work / "a.txt"
        events = run(place, server, use, end)
        asked = len(server.requests)
    [failed] = of(events, AttemptFailed)
    assert failed.reason in ("truncated", "connection"), failed
    assert [e.text for e in of(events, ModelReplied)] == ["I look.", "It says so."]
    [answered] = of(events, ToolAnswered)
    assert given.read_text() == "so\n"
    assert answered.status in ("ok", "error") and asked == 3


@pytest.mark.parametrize("protocol", list(USES))
@pytest.mark.parametrize("pings", [False, True], ids=["silent", "kept alive by pings"])
def test_f4_a_stream_that_falls_silent_is_given_up_and_asked_again(
    place: Place, protocol: str, pings: bool
) -> None:
    path, use, end = USES[protocol]
    frames = PROTOCOLS[path][0](DONE, use.rsplit("/", 1)[-1])
    inside = next(n for n, frame in enumerate(frames) if b"It says" in frame)
    faults = {0: Stall(borders(frames)[inside], pings=pings)}
    with ModelServer(DONE, faults=faults) as server:
        events = run(place, server, use, end, deadlines="{between_chunks: 700ms, first_chunk: 20s}")
    [failed] = of(events, AttemptFailed)
    assert (failed.reason, failed.retryable) == ("stalled", True)
    assert [e.text for e in of(events, ModelReplied)] == ["It says so."]


@pytest.mark.slow
def test_f5_retry_after_one_second_thirty_times_is_waited_for_each_time(place: Place) -> None:
    came: list[float] = []

    def limited(number: int, _: Any) -> list[Fault]:
        came.append(time.monotonic())
        return [Status(429, "Slow down", retry_after=1)] if number < 30 else []

    with ModelServer(DONE, faults=limited) as server:
        retry = "{attempts: 40, base: 1ms, cap: 1ms}"
        events = run(place, server, "openai/xyz", "/v1", retry=retry, breaker="{failures: 0}")
    failed = of(events, AttemptFailed)
    assert [(e.reason, e.retry_after) for e in failed] == [("rate_limited", 1_000_000)] * 30
    assert [e.text for e in of(events, ModelReplied)] == ["It says so."]
    gaps = [b - a for a, b in pairwise(came)]
    assert len(gaps) == 30 and min(gaps) >= 1.0


@pytest.mark.parametrize("protocol", list(USES))
def test_f6_an_empty_text_block_is_never_sent_back(place: Place, protocol: str) -> None:
    _, use, end = USES[protocol]
    silent = Say("", calls=(Call("read", {"path": "a.txt"}),))
    with ModelServer(silent, DONE, faults={0: EmptyText()}) as server:
        events = run(place, server, use, end)
        again = server.requests[1].body
    assert [e.text for e in of(events, ModelReplied)] == ["", "It says so."]
    messages = again.get("messages") or again.get("input")
    assert not empty_texts(messages), json.dumps(messages, indent=1)


def empty_texts(value: Any) -> list[Any]:
    """Every text of a request that is empty: as content, or as a block of it."""
    found: list[Any] = []
    if isinstance(value, dict):
        if value.get("content") == "" or value.get("text") == "" or value.get("content") == []:
            found.append(value)
        for inner in value.values():
            found += empty_texts(inner)
    elif isinstance(value, list):
        for inner in value:
            found += empty_texts(inner)
    return found

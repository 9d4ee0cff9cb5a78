"""The faulty model server: it serves what it was told to, byte for byte, and breaks it as ordered."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from cli.kit import TIMEOUT
from hypothesis import given
from hypothesis import strategies as st

from loopspec.errors import BadSpec, UsageError
from loopspec.testing import (
    Call,
    Corrupt,
    CutAt,
    Drop,
    Duplicate,
    EmptyText,
    ErrorInside,
    LongLine,
    ModelServer,
    NoFinish,
    Reset,
    Say,
    SlowHead,
    Split,
    Stall,
    Status,
    Swap,
    UnknownFields,
)
from loopspec.testing.serving.breaking import borders, broken, frames_of
from loopspec.testing.serving.faults import Body, Fault, Wait
from loopspec.testing.serving.recorded import read
from loopspec.testing.serving.replies import PROTOCOLS, chat, messages, responses

RECORDINGS = Path(__file__).parents[1] / "recordings"
SAY = Say("Grüße.", "Hm.", "SIG", (Call("read", {"path": "ü"}),), piece=3)
FRAMES = [b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n"]
WHOLE = b"".join(FRAMES)


def sent(body: Body) -> bytes:
    return b"".join(act for act in body.acts if isinstance(act, bytes))


def post(server: ModelServer, path: str = "/v1/chat/completions", **more: object) -> httpx.Response:
    body = {"model": "m", "stream": True, "messages": [], **more}
    return httpx.post(f"{server.base}{path}", json=body, timeout=TIMEOUT)


@pytest.mark.parametrize("path", list(PROTOCOLS))
def test_a_reply_is_served_as_a_stream_and_in_one_piece(path: str) -> None:
    stream, whole = PROTOCOLS[path]
    with ModelServer(SAY) as server:
        assert post(server, f"/v1{path}").content == b"".join(stream(SAY, "m"))
        assert post(server, f"/v1{path}", stream=False).json() == whole(SAY, "m")
        assert [(r.method, r.path) for r in server.requests] == [("POST", f"/v1{path}")] * 2
        assert httpx.get(f"{server.base}/v1/models").json()["data"][0]["id"] == "test"


def test_replies_come_in_order_and_the_last_one_again_and_keys_are_not_kept() -> None:
    with ModelServer("One.", "Two.") as server:
        texts = []
        for _ in range(3):
            head = {"authorization": "Bearer sk-secret", "x-api-key": "sk-secret"}
            body = {"model": "m"}
            url = f"{server.base}/chat/completions"
            found = httpx.post(url, json=body, headers=head, timeout=TIMEOUT).json()
            texts.append(found["choices"][0]["message"]["content"])
    assert texts == ["One.", "Two.", "Two."]
    assert "sk-secret" not in repr(server.requests)
    assert server.requests[0].headers["authorization"] == "[hidden]"


@pytest.mark.parametrize("name", ["chat", "messages", "responses"])
def test_a_recording_is_served_byte_for_byte(name: str) -> None:
    path = RECORDINGS / f"{name}.yaml"
    with ModelServer.recorded(path) as server:
        for exchange in read(path):
            got = post(server, exchange.path)
            assert (got.content, got.status_code) == (exchange.body, 200)
            assert got.headers["content-type"] == "text/event-stream; charset=utf-8"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Duplicate(1), [0, 1, 1, 2]),
        (Drop(0), [1, 2]),
        (Swap(0, 2), [2, 1, 0]),
    ],
)
def test_frames_twice_left_out_and_in_each_others_place(fault: Fault, expected: list[int]) -> None:
    made = broken(FRAMES, [fault], "/chat/completions")
    assert made == Body((b"".join(FRAMES[n] for n in expected),))


def test_bytes_cut_changed_split_and_held_back() -> None:
    def made(*faults: Fault) -> Body:
        return broken(FRAMES, faults, "/chat/completions")

    assert made(CutAt(10)) == Body((WHOLE[:10],))
    assert made(CutAt(10, clean=False)) == Body((WHOLE[:10],), clean=False)
    assert made(Corrupt(6)) == Body((WHOLE[:6] + b"\xb1" + WHOLE[7:],))
    assert made(Corrupt(6, 0)) == Body((WHOLE[:6] + b"\0" + WHOLE[7:],))
    assert made(Split(at=(1, 9), every=0)) == Body((WHOLE[:1], WHOLE[1:9], WHOLE[9:]))
    assert made(Split(every=10)) == Body((WHOLE[:10], WHOLE[10:20], WHOLE[20:]))
    assert made(Stall(9, 1.0)) == Body((WHOLE[:9], Wait(1.0), WHOLE[9:]))
    assert made(Stall(27, pings=True)) == Body((WHOLE, Wait(None, True)))
    assert made(LongLine(1, 5)) == Body((FRAMES[0] + b"data: xxxxx\n\n" + WHOLE[9:],))
    assert borders(FRAMES) == [9, 18, 27]


@given(st.binary(min_size=1, max_size=60), st.data())
def test_a_body_that_is_only_split_is_the_same(body: bytes, data: st.DataObject) -> None:
    at = tuple(data.draw(st.lists(st.integers(0, 70), max_size=5)))
    every = data.draw(st.integers(0, 9))
    made = broken([body], [Split(at, every)], "/messages")
    assert sent(made) == body and b"" not in made.acts
    assert b"".join(frames_of(body)) == body


@pytest.mark.parametrize(("path", "make"), [("/chat/completions", chat), ("/messages", messages)])
def test_an_empty_text_unknown_fields_and_a_missing_end(path: str, make: object) -> None:
    frames = make(SAY)  # type: ignore[operator]
    empty = sent(broken(frames, [EmptyText()], path))
    assert len(frames_of(empty)) > len(frames)
    unknown = sent(broken(frames, [UnknownFields()], path))
    assert unknown.count(b"x_unknown") >= len(frames) - 1
    ended = sent(broken(frames, [NoFinish()], path))
    assert not any(word in ended for word in (b"[DONE]", b'"stop_reason": "tool_use"', b"message_stop"))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/chat/completions", {"error": {"type": "x", "message": "Busy", "code": 529}}),
        ("/messages", {"type": "error", "error": {"type": "x", "message": "Busy"}}),
        (
            "/responses",
            {"type": "error", "sequence_number": 2, "message": "Busy", "code": "x"},
        ),
    ],
)
def test_an_error_inside_a_stream_ends_it(path: str, said: dict[str, object]) -> None:
    frames = responses(SAY) if path == "/responses" else chat(SAY)
    *before, last = frames_of(sent(broken(frames, [ErrorInside(2, "x", message="Busy")], path)))
    assert before == frames[:2]
    assert json.loads(last.split(b"data: ")[1]) == said


def test_a_status_a_reset_and_what_waits_until_it_is_let_go() -> None:
    faults = {0: Status(429, "Slow down", retry_after=1.5), 1: Reset(), 2: SlowHead(), 3: Stall(20)}
    with ModelServer(SAY, faults=faults) as server:
        refused = post(server)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1.5")
        assert refused.json()["error"]["message"] == "Slow down"
        with pytest.raises(httpx.HTTPError):
            post(server)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.base}/v1/messages", json={}, timeout=httpx.Timeout(TIMEOUT, read=0.2))
        assert server.waiting.wait(TIMEOUT)
        server.release()
        assert post(server).content == b"".join(chat(SAY, "m"))


def test_what_the_server_cannot_do_is_an_error_of_the_test_that_ordered_it() -> None:
    with (
        pytest.raises(UsageError, match="a frame that is not there: the reply has"),
        ModelServer("Hi", faults={0: Drop(99)}) as server,
    ):
        assert post(server).status_code == 500
    with pytest.raises(UsageError, match="no protocol is spoken at /v1/nothing"), ModelServer() as server:
        assert post(server, "/v1/nothing").status_code == 500


def test_files_that_hold_no_replies_are_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("interactions: [{request: {}}]")
    with pytest.raises(BadSpec, match=r"interactions\[0\].*no recorded exchange"):
        ModelServer.recorded(bad)
    bad.write_text("a: 1")
    with pytest.raises(BadSpec, match="it is no recording"):
        ModelServer.recorded(bad)
    bad.write_text("script: 1\nturns: [{hang: true}]")
    with pytest.raises(UsageError, match="holds replies only"):
        ModelServer.scripted(bad)


def test_the_command_serves_a_script_until_it_is_ended(tmp_path: Path) -> None:
    script = tmp_path / "script.yaml"
    script.write_text("script: 1\nturns: [{reply: It is seven.}]")
    command = [sys.executable, "-m", "loopspec.testing.serve"]
    process = subprocess.Popen([*command, str(script)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        base = process.stdout.readline().strip()
        found = httpx.post(f"{base}/chat/completions", json={"model": "m"}, timeout=TIMEOUT).json()
        assert found["choices"][0]["message"]["content"] == "It is seven."
    finally:
        process.terminate()
        process.communicate(timeout=TIMEOUT)
    ran = subprocess.run([*command, "none.yaml"], capture_output=True, text=True, timeout=TIMEOUT)
    assert (ran.returncode, ran.stdout) == (52, "") and "none.yaml" in ran.stderr
    assert "Traceback" not in ran.stderr

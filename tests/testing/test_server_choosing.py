"""The faulty model server: which reply a request gets, and places told by text."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli.kit import TIMEOUT

from loopspec.errors import UsageError
from loopspec.testing import Call, ModelServer, Say, same_talk, unreachable
from loopspec.testing.serving.breaking import broken, frames_of
from loopspec.testing.serving.faults import (
    Body,
    Corrupt,
    CutAt,
    EmptyText,
    Split,
    Stall,
    Status,
    UnknownFields,
    Wait,
    first,
)
from loopspec.testing.serving.recorded import Exchange
from loopspec.testing.serving.replies import responses

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
PATH = "/chat/completions"
FRAMES = [b"data: 1\n\n", b"data: gr\xc3\xbcn\n\n", b"data: 3\n\n"]
WHOLE = b"".join(FRAMES)


def exchange(path: str, said: str, asked: str = "") -> Exchange:
    request = {"model": "recorded", "messages": [{"role": "user", "content": asked}]}
    return Exchange("POST", path, request, 200, {"content-type": "text/event-stream"}, said.encode())


def ask(server: ModelServer, path: str, asked: str = "") -> str:
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": asked}]}
    return httpx.post(f"{server.base}{path}", json=body, timeout=TIMEOUT).text


def test_recorded_replies_come_in_the_order_of_their_path() -> None:
    talk = [exchange(CHAT, "c1"), exchange(MESSAGES, "m1"), exchange(CHAT, "c2")]
    with ModelServer(*talk) as server:
        said = [ask(server, path) for path in (MESSAGES, CHAT, CHAT, CHAT, "/other/v9/messages")]
    assert said == ["m1", "c1", "c2", "c2", "m1"]


def test_recorded_replies_can_be_matched_by_what_was_asked() -> None:
    talk = [exchange(CHAT, "one", "1"), exchange(CHAT, "two", "2"), exchange(CHAT, "two again", "2")]
    with ModelServer(*talk, match=same_talk) as server:
        said = [ask(server, CHAT, asked) for asked in ("2", "1", "2", "2", "1")]
    assert said == ["two", "one", "two again", "two again", "one"]


def test_a_request_that_nothing_fits_is_an_error_of_the_test() -> None:
    server = ModelServer(exchange(CHAT, "one", "1"), match=same_talk)
    with pytest.raises(UsageError, match=f"no recorded exchange fits POST {CHAT}"), server:
        assert "no recorded exchange fits" in ask(server, CHAT, "7")
    with (
        pytest.raises(UsageError, match="fits POST /v1/responses"),
        ModelServer(exchange(CHAT, "x")) as s,
    ):
        ask(s, RESPONSES)


def test_the_first_requests_fail_and_the_next_does_not() -> None:
    with ModelServer(exchange(CHAT, "here"), faults=first(3, Status(529))) as server:
        codes = [
            httpx.post(f"{server.base}{CHAT}", json={"stream": True}, timeout=TIMEOUT).status_code
            for _ in range(4)
        ]
    assert codes == [529, 529, 529, 200]


def test_nobody_listens_at_an_unreachable_address() -> None:
    with unreachable() as base, pytest.raises(httpx.ConnectError):
        httpx.post(f"{base}{CHAT}", timeout=TIMEOUT)


def test_a_wait_is_seen_and_let_go_in_one_event_loop() -> None:
    async def talk() -> httpx.Response:
        async with ModelServer("Hi", faults={0: Stall(0)}) as server, httpx.AsyncClient() as client:
            asking = asyncio.create_task(client.post(f"{server.base}{CHAT}", json={}, timeout=TIMEOUT))
            await asyncio.wait_for(server.until_waiting(), TIMEOUT)
            assert not asking.done()
            server.release()
            return await asking

    assert asyncio.run(talk()).json()["choices"][0]["message"]["content"] == "Hi"


def test_a_place_may_be_told_by_the_text_it_comes_after() -> None:
    at = WHOLE.index(b"gr") + 2
    assert broken(FRAMES, [CutAt("data: gr")], PATH) == Body((WHOLE[:at],))
    assert broken(FRAMES, [Corrupt("data: ", 0x41)], PATH) == Body((b"data: A" + WHOLE[7:],))
    assert broken(FRAMES, [Stall("gr", 1.0)], PATH) == Body((WHOLE[:at], Wait(1.0), WHOLE[at:]))
    with pytest.raises(UsageError, match=r"a fault comes after 'blue'"):
        broken(FRAMES, [CutAt("blue")], PATH)
    for fault in (CutAt(99), Corrupt(len(WHOLE)), Stall(-1), Corrupt("3\n\n")):
        with pytest.raises(UsageError, match=r"a fault comes at byte \S+, and the reply has"):
            broken(FRAMES, [fault], PATH)


def test_pings_wait_for_the_end_of_the_frame() -> None:
    end = len(FRAMES[0] + FRAMES[1])
    made = broken(FRAMES, [Stall("gr", pings=True)], PATH)
    assert made == Body((WHOLE[:end], Wait(None, True), WHOLE[end:]))


def test_a_body_is_split_inside_each_of_its_characters() -> None:
    inside = WHOLE.index(b"\xc3") + 1
    assert broken(FRAMES, [Split(characters=True)], PATH) == Body((WHOLE[:inside], WHOLE[inside:]))


def test_a_fault_of_a_stream_needs_one() -> None:
    with pytest.raises(UsageError, match="is a fault of a stream, and the reply is none"):
        broken([b"{}"], [EmptyText()], PATH, streams=False)
    assert broken([b"{}"], [CutAt(1)], PATH, streams=False) == Body((b"{",))


@pytest.mark.parametrize("fault", [EmptyText(), UnknownFields()])
@pytest.mark.parametrize("say", [Say("Hi", "Hm"), Say(calls=(Call("read", {"path": "a"}),))])
def test_a_response_stays_in_order_whatever_harmless_thing_is_put_into_it(say: Say, fault: Any) -> None:
    body = broken(responses(say), [fault], "/responses").acts[0]
    assert isinstance(body, bytes)
    datas = [json.loads(frame.split(b"data: ")[1]) for frame in frames_of(body)]
    assert [data["sequence_number"] for data in datas] == list(range(len(datas)))
    items = [d["output_index"] for d in datas if d["type"] == "response.output_item.added"]
    assert items == list(range(len(datas[-1]["response"]["output"])))
    ended = [d["item"] for d in datas if d["type"] == "response.output_item.done"]
    assert ended == datas[-1]["response"]["output"]


def test_recordings_of_ours_name_no_provider() -> None:
    folder = Path(__file__).parents[1] / "recordings"
    found = [path.read_text() for path in sorted(folder.glob("*.yaml"))]
    assert len(found) == 3
    assert all("models.invalid" in text for text in found)

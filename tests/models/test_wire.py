"""The bytes of a stream, checked: any split gives the same reply, damage is told by its place."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_helpers import DONE, sse
from wire_kit import (
    ARGS,
    CUTS,
    STREAMS,
    TEXT,
    Numbered,
    block_delta,
    block_start,
    block_stop,
    chat_call,
    event,
    heard,
    message_end,
    message_start,
    read,
    text_block,
    tool_block,
)

from loopspec.performers.wire import sse as wire_sse
from loopspec.performers.wire.checker import Checker
from loopspec.performers.wire.faults import Damage, Told
from loopspec.performers.wire.sse import Event, Events

KINDS = ["chat", "messages", "responses"]
WHOLE = {kind: heard(read(kind, made())[0]) for kind, made in STREAMS.items()}


# ---------------------------------------------------------------- events


def events(*pieces: bytes) -> list[Event]:
    made = Events()
    out = [event for piece in pieces for event in made.feed(piece)]
    made.end()
    return out


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_at_lf_cr_or_crlf_and_nowhere_else(end: str) -> None:
    text = (
        f"\ufeff: hello{end}event: a{end}data:  x\u2028y\x85z{end}data:{end}id: 1{end}retry: 5{end}{end}"
    )
    body = f"{text}data: last{end}{end}".encode()
    expected = [Event(1, "a", " x\u2028y\x85z\n"), Event(2, "", "last")]
    assert events(body) == expected
    assert events(*(body[i : i + 1] for i in range(len(body)))) == expected


def test_signs_of_life_are_no_events_and_neither_is_one_without_its_blank_line() -> None:
    assert events(b"event: ping\n\nretry: 5\n\ndata: x\n\ndata: y") == [Event(1, "", "x")]
    assert events(b"data: x\n\ndata: \xe1\x88") == [Event(1, "", "x")]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"data: a\n\nd\x00ta: x\n\n", "event 2: a NUL in a line"),
        (b"<html>\n", "event 1: a line that begins with '<html>'"),
        (b"event: a\n\n", "event 1: an event without data"),
        (b"id: 7xdata: {}\n\n", "event 1: an event without data"),
        (b": alive\x00data: {}\n\n", "event 1: a NUL in a line"),
        (b'{"error": 1}\n', "event 1: a line that begins with '{\"error\"'"),
        (b"data: a\n\ndata: x\xe1\n\n", "event 2: byte 0xe1 is not UTF-8"),
        (b"data: a\n\ndata: {}\n\x00", "event 2: a NUL in a line"),
    ],
)
def test_what_is_no_event_is_damage(body: bytes, fault: str) -> None:
    with pytest.raises(Damage) as caught:
        events(body)
    assert str(caught.value) == fault


def test_an_absurdly_long_line_is_refused_before_it_fills_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire_sse, "MAX_LINE", 1000)
    made, sent = Events(), 0
    with pytest.raises(Damage, match="more than 1000 characters"):
        for _ in range(100):
            sent += 90
            list(made.feed(b"x" * 90))
    assert sent == 1080
    with pytest.raises(Damage, match="event 1: a line or an event of more than 1000"):
        events(b"data: 12345678901234567890\n" * 100)


# ---------------------------------------------------------------- whole streams


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_stream_is_heard_whole(kind: str) -> None:
    got, checker, fault = read(kind, STREAMS[kind]())
    assert (fault, checker.whole, checker.over) == (None, True, True)
    thought = "Hm, well." if kind == "messages" else ""
    assert heard(got) == (TEXT, thought, [("read_file", ARGS)], "tool_calls")
    assert got.calls[0].done is (kind != "chat")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS), st.data())
def test_F23_any_split_of_a_stream_gives_the_same_reply(kind: str, data: st.DataObject) -> None:
    body = b"".join(STREAMS[kind]())
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=30)))
    parts = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    got, checker, fault = read(kind, parts)
    assert (fault, checker.whole, heard(got)) == (None, True, WHOLE[kind])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(KINDS), st.data())
def test_F3_a_stream_cut_anywhere_is_whole_or_says_so(kind: str, data: st.DataObject) -> None:
    body = b"".join(STREAMS[kind]())
    got, checker, fault = read(kind, [body[: data.draw(st.integers(0, len(body)))]])
    text, thought, calls, finish = heard(got)
    assert fault is None
    if checker.whole:
        assert heard(got) == WHOLE[kind]
    else:
        assert WHOLE[kind][0].startswith(text) and WHOLE[kind][1].startswith(thought)
        assert all(ARGS.startswith(args) for _, args in calls)
        assert finish == ""
    assert not any(call.done and "".join(call.args) != ARGS for call in got.calls)


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(KINDS), st.sampled_from(["high bit", "zero"]), st.data())
def test_a_corrupted_byte_never_makes_another_reply(kind: str, how: str, data: st.DataObject) -> None:
    body = bytearray(b"".join(STREAMS[kind]()))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] = body[at] ^ 0x80 if how == "high bit" else 0
    got, checker, fault = read(kind, [bytes(body)])
    if fault is None and checker.whole:
        assert heard(got)[0] == WHOLE[kind][0] and heard(got)[2] == WHOLE[kind][2]
    else:
        assert WHOLE[kind][0].startswith(got.text)


@pytest.mark.parametrize("kind", ["messages", "responses"])
def test_a_doubled_a_lost_or_a_moved_event_is_damage_where_the_protocol_lets_it_show(kind: str) -> None:
    parts = STREAMS[kind]()
    shows = 0
    for n in range(len(parts) - 1):
        moved = [*parts[:n], parts[n + 1], parts[n], *parts[n + 2 :]]
        for changed in ([*parts[: n + 1], *parts[n:]], [*parts[:n], *parts[n + 1 :]], moved):
            got, checker, fault = read(kind, changed)
            if fault is None and checker.whole and heard(got) != WHOLE[kind]:
                # Anthropic numbers blocks, not pieces: within a block this cannot be seen.
                assert kind == "messages" and b"content_block_delta" in parts[n]
            shows += isinstance(fault, Damage)
    assert shows > len(parts)


# ---------------------------------------------------------------- chat


def damage(kind: str, *parts: bytes) -> str:
    _, _, fault = read(kind, parts)
    assert isinstance(fault, Damage), fault
    return str(fault)


OPEN = chat_call("", name="read_file", key="c")


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        ([b"data: {broken\n\n"], "event 1: its data are no JSON"),
        ([b"data: [1]\n\n"], "event 1: its data are no JSON object"),
        ([event({"id": "x"})], "event 1: a chunk without `choices`"),
        ([event({"choices": [3]})], "event 1: a choice that is no object"),
        ([event({"choices": [{"index": 0}]})], "a choice with neither `delta` nor `finish_reason`"),
        ([event({"choices": [{"delta": "x"}]})], "a delta that is no object"),
        ([sse({"content": 3})], "`content` is neither text nor a list"),
        ([OPEN, sse({"tool_cblls": []})], "event 2: a delta without a known field while a call is open"),
        ([chat_call('{"a"')], "a piece of call 0, which was not opened"),
        ([OPEN, chat_call("{", 1)], "a piece of call 1, which was not opened"),
        ([OPEN, sse({"tool_calls": [{"index": -1}]})], "without a proper index"),
        (
            [OPEN, sse({"tool_calls": [{"index": 0, "function": {"argumentz": "{"}}]})],
            "a piece of a call without id, name or arguments",
        ),
        ([sse({"content": "x"}, "tool_calls")], "the reply ends with calls, and none has come"),
        ([sse({}, "stop"), sse({"content": "x"})], "content after the finish reason"),
        ([sse({}, "error")], "an error it does not name"),
    ],
)
def test_damage_of_a_chat_stream(parts: list[bytes], fault: str) -> None:
    assert fault in damage("chat", *parts)


def test_dialects_of_chat_streams_are_understood() -> None:
    listed = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]
    got, checker, fault = read(
        "chat",
        [
            b": OPENROUTER PROCESSING\n\n",
            event({"choices": [], "prompt_filter_results": []}),
            sse({"content": listed, "unheard_of": 1}),
            sse({"reasoning": "well"}),
            sse({"content": "Yes"}, surprise={"a": 1}),
            sse({}, "eos", x_groq={"usage": {"prompt_tokens": 7, "completion_tokens": 3}}),
        ],
    )
    assert (fault, checker.whole) == (None, True)
    assert heard(got) == ("Yes", "Hmwell", [], "stop")


# ---------------------------------------------------------------- messages

BEGUN = [message_start(), block_start(0, type="text", text="")]


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        (
            [event({"type": "ping"}, name="pong")],
            "event 1: an event called 'pong' that says it is 'ping'",
        ),
        ([event({"a": 1}, name="ping")], "no text `type`"),
        ([block_stop(0)], "content_block_stop before message_start"),
        ([message_start(), message_start()], "event 2: message_start twice"),
        ([message_start(), block_start(1, type="text", text="")], "block 1 begins where block 0 was due"),
        ([*BEGUN, block_start(1, type="text", text="")], "block 1 begins where block 0 was due"),
        ([*BEGUN, block_delta(1, type="text_delta", text="x")], "a piece of block 1, which is not open"),
        ([*BEGUN, block_delta(0, type="thinking_delta", thinking="x")], "in a block of type text"),
        ([*BEGUN, block_delta(0, type="input_json_delta", partial_json="x")], "in a block of type text"),
        ([*BEGUN, block_delta(0, type="new_delta", x=1)], "an unknown piece 'new_delta'"),
        ([*BEGUN, block_delta(0, type="text_delta", tekst="x")], "no text `text`"),
        ([*BEGUN, event({"type": "new_event"})], "an unknown event 'new_event' inside a block"),
        ([*BEGUN, *message_end("end_turn")], "message_delta inside a block"),
        ([message_start(), block_stop(0)], "block 0 ends, and is not open"),
        ([message_start(), *message_end("tool_use")], "the reply stops for a call, and none has come"),
        ([message_start(), event({"type": "message_stop"})], "message_stop without a stop reason"),
    ],
)
def test_damage_of_a_messages_stream(parts: list[bytes], fault: str) -> None:
    assert fault in damage("messages", *parts)


def test_what_is_new_between_blocks_is_passed_over() -> None:
    parts = [
        message_start(),
        event({"type": "new_event"}),
        *text_block(0, "Hi"),
        *message_end("end_turn"),
    ]
    got, checker, fault = read("messages", parts)
    assert (fault, checker.whole, got.text, got.finish) == (None, True, "Hi", "stop")


def test_what_the_providers_own_tools_did_is_no_call() -> None:
    parts = [
        message_start(),
        block_start(0, type="server_tool_use", id="srvtoolu_1", name="web_search", input={}),
        block_delta(0, type="input_json_delta", partial_json='{"query": "x"}'),
        block_stop(0),
        block_start(1, type="web_search_tool_result", tool_use_id="srvtoolu_1", content=[]),
        block_stop(1),
        *text_block(2, "Found."),
        *message_end("end_turn"),
    ]
    got, _, fault = read("messages", parts)
    assert (fault, got.calls, got.text) == (None, [], "Found.")
    assert [b["type"] for b in got.items["anthropic_blocks"]] == [
        "server_tool_use",
        "web_search_tool_result",
        "text",
    ]
    assert got.items["anthropic_blocks"][0]["input"] == {"query": "x"}


def test_F6_an_empty_text_block_is_not_kept() -> None:
    parts = [message_start(), *text_block(0), *tool_block(1, "{}"), *message_end("tool_use")]
    got, _, fault = read("messages", parts)
    assert (fault, got.text, got.items) == (None, "", {})


# ---------------------------------------------------------------- responses


def spoilt(n: int, **change: object) -> list[bytes]:
    """The whole stream with fields of its event `n` replaced."""
    parts = STREAMS["responses"]()
    data = json.loads(parts[n].decode().partition("data: ")[2])
    return [*parts[:n], event({**data, **change}), *parts[n + 1 :]]


def at(kind: str, nth: int = 0) -> int:
    places = [n for n, part in enumerate(STREAMS["responses"]()) if f'"{kind}"' in part.decode()]
    return places[nth]


ITEM = {"id": "fc_2", "type": "function_call", "call_id": "call_2", "name": "read_file"}


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        (STREAMS["responses"]()[1:], "response.output_item.added before response.created"),
        (spoilt(2, sequence_number=3), "event 3: sequence number 3 where 2 was due"),
        (spoilt(at("response.output_text.delta"), item_id="msg_9"), "with another item's id"),
        (spoilt(at("response.output_text.delta"), output_index=9), "of item 9, which was not added"),
        (spoilt(at("response.output_text.delta"), delta=None), "delta without text"),
        (spoilt(at("response.output_text.delta"), delta="x"), "done is not the sum of its pieces"),
        (spoilt(at("response.output_text.done"), text="x"), "done is not the sum of its pieces"),
        (spoilt(at("response.function_call_arguments.delta"), delta="{"), "is not the sum of its pieces"),
        (
            spoilt(at("response.output_item.done", 2), item={**ITEM, "arguments": "{}"}),
            "the arguments of call 2 are not the sum of their pieces",
        ),
        (
            spoilt(
                at("response.output_item.done", 2), item={**ITEM, "name": "write_file", "arguments": ARGS}
            ),
            "call 2 ends as another one",
        ),
        (
            spoilt(at("response.completed"), response={"output": [{**ITEM, "arguments": "{}"}]}),
            "the calls of the completed response are not those that came",
        ),
    ],
)
def test_damage_of_a_responses_stream(parts: list[bytes], fault: str) -> None:
    assert fault in damage("responses", *parts)


def test_a_completed_response_with_an_unfinished_item_is_damage() -> None:
    made = Numbered().begin()
    made.add("response.output_item.added", output_index=0, item={**ITEM, "arguments": ""})
    assert "the response is completed, and item 0 is not" in damage("responses", *made.end())


def test_arguments_that_come_with_the_finished_item_only_are_taken() -> None:
    made = Numbered().begin()
    made.add("response.output_item.added", output_index=0, item={**ITEM, "arguments": ""})
    made.add("response.output_item.done", output_index=0, item={**ITEM, "arguments": "".join(CUTS)})
    got, checker, fault = read("responses", made.end())
    assert (fault, checker.whole, heard(got)[2]) == (None, True, [("read_file", ARGS)])


# ---------------------------------------------------------------- errors the provider tells


@pytest.mark.parametrize(
    ("kind", "data", "status", "words"),
    [
        ("chat", {"error": {"message": "busy", "type": "overloaded_error"}}, 529, "busy"),
        ("chat", {"error": {"message": "slow", "code": 429}}, 429, "slow"),
        ("chat", {"error": {"message": "slow", "code": "429"}}, 429, "slow"),
        ("chat", {"error": "gone wrong"}, 0, "gone wrong"),
        (
            "chat",
            {
                "error": {
                    "message": "long",
                    "type": "invalid_request_error",
                    "code": "context_length_exceeded",
                }
            },
            413,
            "long",
        ),
        ("messages", {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, 529, "x"),
        ("messages", {"type": "error", "error": {"type": "api_error", "message": "x"}}, 500, "x"),
        ("responses", {"type": "error", "code": "server_error", "message": "x"}, 500, "x"),
        (
            "responses",
            {
                "type": "response.failed",
                "response": {"error": {"code": "rate_limit_exceeded", "message": "x"}},
            },
            429,
            "x",
        ),
        ("responses", {"type": "response.failed", "response": {}}, 0, "the provider says that"),
    ],
)
def test_an_error_inside_a_stream_has_its_status(
    kind: str, data: dict[str, object], status: int, words: str
) -> None:
    parts = STREAMS[kind]()[:3]
    _, _, fault = read(kind, [*parts, event(data)])
    assert isinstance(fault, Told)
    assert fault.status_code == status and words in str(fault)


def test_without_a_known_protocol_the_form_is_checked_all_the_same() -> None:
    checker = Checker(None, {})
    assert list(checker.feed(event({"candidates": []}))) == []
    assert (checker.whole, checker.over) == (False, False)
    with pytest.raises(Damage, match="event 2: its data are no JSON"):
        list(checker.feed(b"data: {\n\n"))
    assert list(Checker(None, {}).feed(DONE)) == []

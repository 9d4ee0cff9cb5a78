"""A reply that broke off goes on where it stopped: what is asked, what is shown, what is answered."""

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from model_helpers import (
    DONE,
    RecordingWorld,
    ask,
    call,
    effect,
    parts,
    run,
    sse,
    world_for,
)
from wire_kit import message_end, message_start, text_block, thinking_block, tool_block

from loopspec.effects import CallModel
from loopspec.events import (
    AttemptFailed,
    Kept,
    ModelReplied,
    StreamContinued,
    StreamDiscarded,
    TextDelta,
)
from loopspec.hooks import Live
from loopspec.performers import model_litellm
from loopspec.performers.model import ModelPerformer
from loopspec.performers.model_prefill import Joint, takes_prefill

CLAUDE = "anthropic/claude-sonnet-4-5"
FIRST, SECOND = "s:1:0", "s:5:0"


def following(use: str, continues: int) -> CallModel:
    return CallModel(id=SECOND, state="ask", model="main", use=use, after=FIRST, continues=continues)


def play(
    directory: Path, script: str, *, goes_on: bool, prefill: bool = True
) -> tuple[list[Kept], RecordingWorld]:
    """Two attempts by one performer, as the core would ask for them."""
    path = directory / "s.yaml"
    path.write_text(f"script: 1\nprefill: {str(prefill).lower()}\nturns:\n{script}")
    use = f"scripted/{path}"
    world = world_for(use, directory)

    async def go() -> list[Kept]:
        performer = ModelPerformer()
        first = await performer.perform(effect(use), world)
        assert isinstance(first, AttemptFailed)
        world.broken[4] = first.partial
        second = await performer.perform(following(use, 4 if goes_on else -1), world)
        return [first, second]

    return run(go()), world


TWICE = """
  - {reply: "Once upon", truncate: true}
  - {reply: "Once upon a time.", chunk: 6}
"""


def text(events: list[Live], of: str) -> str:
    return "".join(e.text for e in events if isinstance(e, TextDelta) and e.effect == of)


def test_a_reply_goes_on_without_loss_or_repeat(tmp_path: Path) -> None:
    [first, second], world = play(tmp_path, TWICE, goes_on=True)
    assert isinstance(first, AttemptFailed)
    assert (first.reason, first.partial, first.resumable) == ("truncated", "Once upon", True)
    assert isinstance(second, ModelReplied) and second.text == "Once upon a time."
    shown = world.watched
    at = shown.index(StreamContinued(SECOND, FIRST))
    assert (text(shown[:at], FIRST), text(shown[at:], SECOND)) == ("Once upon", " a time.")
    assert not any(isinstance(e, StreamDiscarded) for e in shown)


def test_a_reply_that_could_go_on_and_does_not_is_void_when_the_next_attempt_begins(
    tmp_path: Path,
) -> None:
    [first, second], world = play(tmp_path, TWICE, goes_on=False)
    assert isinstance(first, AttemptFailed) and first.resumable
    assert isinstance(second, ModelReplied) and second.text == "Once upon a time."
    at = world.watched.index(StreamDiscarded(FIRST, "truncated"))
    assert text(world.watched[:at], FIRST) == "Once upon"
    assert text(world.watched[at:], SECOND) == "Once upon a time."


def test_a_reply_that_cannot_go_on_is_void_at_once_and_only_once(tmp_path: Path) -> None:
    [first, _], world = play(tmp_path, TWICE, goes_on=False, prefill=False)
    assert isinstance(first, AttemptFailed) and not first.resumable
    assert [e for e in world.watched if isinstance(e, StreamDiscarded)] == [
        StreamDiscarded(FIRST, "truncated")
    ]


def test_a_reply_may_break_off_again_and_keeps_the_whole_text(tmp_path: Path) -> None:
    script = """
  - {reply: "Once upon", truncate: true}
  - {reply: "Once upon a ti", truncate: true}
  - {reply: "Once upon a time."}
"""
    [_, second], _ = play(tmp_path, script, goes_on=True)
    assert isinstance(second, AttemptFailed)
    assert (second.partial, second.resumable) == ("Once upon a ti", True)


def test_nothing_that_broke_with_a_call_or_thinking_can_go_on(tmp_path: Path) -> None:
    for extra in ("calls: [{tool: read_file}]", "thinking: hm"):
        [first, _], _ = play(tmp_path, TWICE.replace("truncate", f"{extra}, truncate", 1), goes_on=False)
        assert isinstance(first, AttemptFailed) and first.partial == "Once upon"
        assert not first.resumable


def test_an_entry_that_is_no_failed_attempt_is_not_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("script: 1\nprefill: true\nturns:\n  - reply: x\n")
    use = f"scripted/{path}"
    answer = run(ModelPerformer().perform(following(use, 3), world_for(use, tmp_path)))
    assert isinstance(answer, AttemptFailed) and answer.reason == "bad_request"
    assert "entry 3 is no attempt that failed" in answer.detail


# ---------------------------------------------------------------- over HTTP


def goes_on(
    before: str, body: list[bytes], directory: Path, use: str = CLAUDE, **params: Any
) -> tuple[Kept, RecordingWorld, dict[str, Any]]:
    from model_helpers import Provider

    async def go() -> tuple[Kept, RecordingWorld, dict[str, Any]]:
        async with Provider(parts(*body)) as provider:
            text = json.dumps({"api_base": provider.base, **params})
            world = world_for(use, directory, params=text)
            world.broken[4] = before
            answer = await ModelPerformer().perform(following(use, 4), world)
            return answer, world, provider.requests[0]

    return run(go())


def test_the_beginning_is_the_last_message_of_the_request_without_its_white_space(tmp_path: Path) -> None:
    body = [message_start(), *text_block(0, "\n", "\nwent on."), *message_end("end_turn")]
    answer, world, sent = goes_on("It \n\n", body, tmp_path)
    last = sent["messages"][-1]
    assert last["role"] == "assistant"
    assert last["content"] in ("It", [{"type": "text", "text": "It"}])
    assert isinstance(answer, ModelReplied) and answer.text == "It \n\nwent on."
    assert [e.text for e in world.watched if isinstance(e, TextDelta)] == ["went on."]


def test_white_space_that_comes_again_is_not_said_twice(tmp_path: Path) -> None:
    body = [message_start(), *text_block(0, "\n", "\nIt went on."), *message_end("end_turn")]
    answer, world, _ = goes_on("So.\n\n", body, tmp_path)
    assert isinstance(answer, ModelReplied) and answer.text == "So.\n\nIt went on."
    assert [e.text for e in world.watched if isinstance(e, TextDelta)] == ["It went on."]


def test_a_refusal_of_the_beginning_keeps_it(tmp_path: Path) -> None:
    async def go() -> Kept:
        from model_helpers import Connection, Provider

        async def refuse(client: Connection) -> None:
            await client.refuse(400, "prefilling assistant messages is not supported")

        async with Provider(refuse) as provider:
            world = world_for(CLAUDE, tmp_path, params=json.dumps({"api_base": provider.base}))
            world.broken[4] = "Once"
            return await ModelPerformer().perform(following(CLAUDE, 4), world)

    answer = run(go())
    assert isinstance(answer, AttemptFailed)
    assert (answer.reason, answer.retryable, answer.partial) == ("bad_request", False, "Once")
    assert not answer.resumable


def test_litellms_table_says_who_takes_a_beginning() -> None:
    lib = model_litellm.load()
    row = {name: bool(lib.model_cost[name].get("supports_assistant_prefill")) for name in ("gpt-4o",)}
    assert row == {"gpt-4o": False}
    assert takes_prefill(CLAUDE, {}) and not takes_prefill("openai/gpt-4o", {})
    assert not takes_prefill("anthropic/nobody-knows", {})
    for word in ("thinking", "reasoning_effort"):
        assert not takes_prefill(CLAUDE, {word: {"type": "enabled"}})


def test_a_broken_reply_of_a_model_that_takes_its_beginning_is_resumable(tmp_path: Path) -> None:
    begun = [message_start(), *text_block(0, "Hel", "lo")[:-1]]
    answer, world, _ = ask(parts(*begun), tmp_path, use=CLAUDE)
    assert isinstance(answer, AttemptFailed)
    assert (answer.reason, answer.partial, answer.resumable) == ("truncated", "Hello", True)
    assert not any(isinstance(e, StreamDiscarded) for e in world.watched)
    for body in (
        [message_start(), *thinking_block(0, "Hm"), *text_block(1, "Hi")],
        [message_start(), *text_block(0, "Hi"), *tool_block(1, "{")[:-1]],
    ):
        answer, world, _ = ask(parts(*body), tmp_path, use=CLAUDE)
        assert isinstance(answer, AttemptFailed) and not answer.resumable
        assert world.watched[-1] == StreamDiscarded(FIRST, "truncated")


def test_a_service_that_repeats_the_beginning_is_not_quoted(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("MISTRAL_API_KEY", "k")
    body = [sse({"content": "Once "}), sse({"content": "upon a time."}), sse({}, "stop"), DONE]
    answer, world, sent = goes_on("Once upon", body, tmp_path, use="mistral/mistral-large-latest")
    assert sent["messages"][-1] == {"role": "assistant", "content": "Once upon", "prefix": True}
    assert isinstance(answer, ModelReplied) and answer.text == "Once upon a time."
    assert [e.text for e in world.watched if isinstance(e, TextDelta)] == [" a time."]


# ---------------------------------------------------------------- joining


@settings(max_examples=200)
@given(
    st.text("ab \n", max_size=12),
    st.text("ab \n", max_size=12),
    st.lists(st.integers(0, 12), max_size=4),
)
def test_any_split_of_what_follows_joins_alike(before: str, after: str, cuts: list[int]) -> None:
    edges = sorted({0, len(after), *(c for c in cuts if c < len(after))})
    split = [after[a:b] for a, b in itertools.pairwise(edges)]
    for use in ("anthropic/x", "mistral/x"):
        one, many = Joint(before, use), Joint(before, use)
        whole = one.take(after) + one.rest()
        assert "".join(many.take(part) for part in split) + many.rest() == whole
        assert after.endswith(whole)


def test_an_interrupt_keeps_the_text_it_goes_on_from(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("script: 1\nprefill: true\nturns:\n  - {reply: 'Once upon a time', stall_after: 4}\n")
    use = f"scripted/{path}"
    world = world_for(use, tmp_path)
    world.broken[4] = "Once upon"

    async def go() -> Kept:
        task = asyncio.create_task(ModelPerformer().perform(following(use, 4), world))
        while not text(world.watched, SECOND):
            world.seen.clear()
            await world.seen.wait()
        task.cancel()
        return await task

    answer = run(go())
    assert getattr(answer, "partial", "") == "Once upon a t"


def test_a_first_attempt_shows_neither(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("script: 1\nturns:\n  - reply: hi\n")
    _, world = call(f"scripted/{path}", tmp_path)
    assert [type(e) for e in world.watched] == [TextDelta]

"""The offline provider: it plays its file through litellm, turn by turn."""

import asyncio
from pathlib import Path

import pytest
from model_helpers import call, effect, run, world_for

from loopspec.context.transcript import Item, ViewCall, estimate, provider_messages
from loopspec.errors import LoopspecError
from loopspec.events import (
    AttemptFailed,
    CallDelta,
    EffectCancelled,
    ModelOverflowed,
    ModelReplied,
    ProposedCall,
    TextDelta,
    ThinkingDelta,
    TokenUsage,
)
from loopspec.performers import scripted
from loopspec.performers.model import ModelPerformer, priced, window_of

ID = "s:1:0"


def script(directory: Path, body: str, name: str = "script.yaml") -> str:
    """Write a script whose turns are `body`; gives back its model name."""
    path = directory / name
    path.write_text(body if body.startswith("script:") else f"script: 1\nturns:\n{body}")
    return f"scripted/{path}"


def after(*replies: str, partial: bool = False, ask: str = "Hello") -> tuple[Item, ...]:
    """A conversation with these replies of the assistant behind it."""
    out = [Item(id="0.0", role="user", text="Start")]
    for n, text in enumerate(replies, 1):
        out.append(Item(id=f"{n}.0", role="assistant", text=text, partial=partial))
        out.append(Item(id=f"{n}.1", role="user", text=ask))
    return tuple(out)


def test_a_whole_entry_is_played_through_litellm(tmp_path: Path) -> None:
    use = script(
        tmp_path,
        """
  - reply: "Hello, you"
    thinking: "Hm."
    signature: signed
    calls: [{tool: read_file, args: {path: calc.py, n: 1}}, {tool: list_files}]
    chunk: 6
    usage: {input: 100, output: 20, cost_usd: "0.000000001"}
""",
    )
    answer, world = call(use, tmp_path)
    assert isinstance(answer, ModelReplied)
    calls = [ProposedCall("read_file", '{"n":1,"path":"calc.py"}'), ProposedCall("list_files")]
    assert answer == ModelReplied(
        ID,
        text="Hello, you",
        calls=calls,
        blocks='{"thinking_blocks":[{"signature":"signed","thinking":"Hm.","type":"thinking"}]}',
        finish="tool_calls",
        model=use,
        usage=TokenUsage(100, 20, 0, 1),
        request=answer.request,
        tokens=estimate("Hello, you") + sum(estimate(c.args) for c in calls),
        estimated=answer.estimated,
    )
    assert answer.estimated > estimate("Hello")
    assert world.watched == [
        ThinkingDelta(ID, "Hm."),
        TextDelta(ID, "Hello,"),
        TextDelta(ID, " you"),
        CallDelta(ID, 0, "read_file", '{"path'),
        CallDelta(ID, 0, "", '": "ca'),
        CallDelta(ID, 0, "", 'lc.py"'),
        CallDelta(ID, 0, "", ', "n":'),
        CallDelta(ID, 0, "", " 1}"),
        CallDelta(ID, 1, "list_files", "{}"),
    ]


def test_without_usage_the_tokens_are_estimated_and_the_cost_is_nothing(tmp_path: Path) -> None:
    use = script(tmp_path, "  - reply: Hello\n")
    answer, _ = call(use, tmp_path)
    assert isinstance(answer, ModelReplied)
    assert answer.usage.cost == 0
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens == estimate("Hello")


def test_the_turn_is_the_number_of_replies_in_the_request(tmp_path: Path) -> None:
    use = script(tmp_path, "  - reply: one\n  - reply: two\n  - reply: three\n")
    said = []
    for before in (after("a", "b"), after(), after("a"), after("a")):
        answer, _ = call(use, tmp_path, before)
        assert isinstance(answer, ModelReplied)
        said.append(answer.text)
    assert said == ["three", "one", "two", "two"]


def test_a_turn_whose_reply_was_interrupted_is_played_again(tmp_path: Path) -> None:
    use = script(tmp_path, "  - reply: one\n  - reply: two\n")
    answer, _ = call(use, tmp_path, after("on", partial=True))
    assert isinstance(answer, ModelReplied) and answer.text == "one"
    assert provider_messages(after("on", partial=True), "")[1]["content"].endswith(scripted.INTERRUPTED)


def test_after_the_last_turn_comes_an_error_or_the_first_again(tmp_path: Path) -> None:
    use = script(tmp_path, "  - reply: one\n")
    answer, _ = call(use, tmp_path, after("one"))
    assert isinstance(answer, AttemptFailed)
    assert (answer.reason, answer.retryable) == ("bad_request", False)
    assert answer.detail == f"the script {tmp_path / 'script.yaml'} has no more replies (turn 2)"
    use = script(tmp_path, "script: 1\nloop: true\nturns: [{reply: one}, {reply: two}]\n", "loop.yaml")
    answer, _ = call(use, tmp_path, after("a", "b", "c"))
    assert isinstance(answer, ModelReplied) and answer.text == "two"


def test_faults_serve_their_attempts_and_are_passed_over_then(tmp_path: Path) -> None:
    use = script(
        tmp_path,
        """
  - error: {status: 429, message: slow down, retry_after: 1.5}
    times: 2
  - truncate: true
    reply: "Hel"
  - reply: "Hello"
  - error: {status: 503, message: overloaded}
  - reply: "again"
""",
    )
    told = []
    for before in (after(), after(), after(), after(), after(), after("Hello"), after("Hello")):
        answer, _ = call(use, tmp_path, before)
        if isinstance(answer, AttemptFailed):
            told.append((answer.reason, answer.retry_after, answer.partial))
        else:
            assert isinstance(answer, ModelReplied)
            told.append(("ok", 0, answer.text))
    assert told == [
        ("rate_limited", 1_500_000, ""),
        ("rate_limited", 1_500_000, ""),
        ("truncated", 0, "Hel"),
        ("ok", 0, "Hello"),
        ("ok", 0, "Hello"),
        ("overloaded", 0, ""),
        ("ok", 0, "again"),
    ]


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (401, "no", "auth"),
        (404, "no", "unknown_model"),
        (500, "no", "provider"),
        (529, "no", "overloaded"),
        (400, "prompt is too long", None),
    ],
)
def test_a_status_means_what_it_means_online(
    status: int, message: str, expected: str | None, tmp_path: Path
) -> None:
    use = script(tmp_path, f'  - error: {{status: {status}, message: "{message}"}}\n')
    answer, _ = call(use, tmp_path)
    if expected is None:
        assert answer == ModelOverflowed(ID, message)
    else:
        assert isinstance(answer, AttemptFailed)
        assert (answer.reason, answer.detail) == (expected, message)


def test_when_is_tried_first_and_once_is_once(tmp_path: Path) -> None:
    use = script(
        tmp_path,
        """
  - reply: by turn
  - when: "(?i)weather"
    once: true
    reply: rain
  - when: "(?i)weather"
    reply: still rain
  - when: "calc"
    reply: a file
""",
    )
    asked = (Item(id="0.0", role="user", text="The Weather?"),)
    found = (
        Item(id="0.0", role="user", text="weather"),
        Item(id="1.0", role="assistant", calls=(ViewCall("c", "list_files", "{}"),)),
        Item(id="2.0", role="result", call="c", tool="list_files", text="calc.py"),
    )
    said = []
    for items in (after(), asked, asked, asked, found):
        answer, _ = call(use, tmp_path, items)
        assert isinstance(answer, ModelReplied)
        said.append(answer.text)
    assert said == ["by turn", "rain", "still rain", "still rain", "a file"]


@pytest.mark.parametrize(
    ("fault", "deadline", "reason", "partial"),
    [
        ("hang: true", "first_chunk", "timeout", ""),
        ("hang: true", "total", "timeout", ""),
        ('stall_after: 3\n    reply: "Hello"', "between_chunks", "stalled", "Hel"),
        ("stall_after: 0\n    reply: Hello", "first_chunk", "timeout", ""),
    ],
)
def test_a_hang_meets_its_deadline_and_the_retry_the_reply(
    fault: str, deadline: str, reason: str, partial: str, tmp_path: Path
) -> None:
    use = script(tmp_path, f"  - {fault}\n  - reply: back\n")
    answer, _ = call(use, tmp_path, **{deadline: 100_000})
    assert isinstance(answer, AttemptFailed)
    assert (answer.reason, answer.partial) == (reason, partial)
    again, _ = call(use, tmp_path)
    assert isinstance(again, ModelReplied) and again.text == "back"


def test_broken_arguments_become_a_problem(tmp_path: Path) -> None:
    use = script(tmp_path, '  - raw_args: "{broken"\n    calls: [{tool: read_file}]\n')
    answer, _ = call(use, tmp_path)
    assert isinstance(answer, ModelReplied)
    assert answer.calls == [ProposedCall("read_file", "{}", "arguments are not a JSON object")]


def test_a_cancel_in_the_middle_keeps_what_was_said(tmp_path: Path) -> None:
    use = script(tmp_path, "  - reply: 'abcdef'\n    chunk: 1\n    delay: 0.01\n")

    async def go() -> object:
        world = world_for(use, tmp_path)
        task = asyncio.create_task(ModelPerformer().perform(effect(use), world))
        await world.seen.wait()
        task.cancel()
        answer = await task
        assert isinstance(answer, EffectCancelled)
        assert "abcdef".startswith(answer.partial) and 0 < len(answer.partial) < 6
        return answer.started

    assert run(go()) is True


def test_the_window_is_the_scripts(tmp_path: Path) -> None:
    use = script(tmp_path, "script: 1\nwindow: 32000\nturns: [{reply: x}]\n")
    assert (window_of(use), priced(use)) == (32000, True)
    assert window_of(script(tmp_path, "  - reply: x\n", "other.yaml")) == 0


def test_a_relative_file_is_found_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path, "  - reply: near\n")
    monkeypatch.chdir(tmp_path)
    answer, _ = call("scripted/script.yaml", tmp_path)
    assert isinstance(answer, ModelReplied) and answer.text == "near"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert scripted.load("scripted/~/script.yaml").content.turns[0].reply == "near"


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    use = script(tmp_path, "  - reply: old\n")
    assert scripted.load(use).content.turns[0].reply == "old"
    script(tmp_path, "  - reply: newer\n")
    assert scripted.load(use).content.turns[0].reply == "newer"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("script: 2\nturns: [{reply: x}]\n", "script must be 1, the only version there is"),
        ("script: 1\nturns: []\n", "turns must hold at least one entry"),
        ("script: 1\nturns: {}\n", "turns must be a list"),
        ("script: 1\nturns: [x]\n", "turns[0] must be a map"),
        ("script: 1\nwindow: -1\nturns: [{reply: x}]\n", "window must be 0 or more"),
        (
            "script: 1\nloops: true\nturns: []\n",
            "loops is unknown here; known: script, window, loop, prefill, turns",
        ),
        ("  - reply: 1\n", "turns[0].reply must be text"),
        ("  - delay: 0.1\n", "turns[0] needs a reply, thinking, calls or a fault"),
        ("  - reply: x\n    chunk: 0\n", "turns[0].chunk must be 1 or more"),
        ("  - reply: x\n    delay: -1\n", "turns[0].delay must be 0 or more"),
        ("  - reply: x\n    times: 2\n", "turns[0].times counts faults; a reply has no use for it"),
        ("  - hang: true\n    truncate: true\n", "turns[0] has more than one fault: hang, truncate"),
        ("  - calls: [{args: {}}]\n", "turns[0].calls[0].tool must name a tool"),
        ("  - raw_args: x\n    reply: x\n", "turns[0].raw_args needs `calls` beside it"),
        ("  - error: {status: 200}\n", "turns[0].error.status must be an HTTP status from 400 to 599"),
        ("  - error: {status: true}\n", "turns[0].error.status must be a whole number"),
        (
            "  - reply: x\n    usage: {cost_usd: cheap}\n",
            'turns[0].usage.cost_usd must be an amount such as "0.001"',
        ),
    ],
)
def test_a_wrong_script_is_told_by_file_and_key(body: str, fault: str, tmp_path: Path) -> None:
    use = script(tmp_path, body)
    with pytest.raises(LoopspecError) as caught:
        window_of(use)
    assert str(caught.value) == f"{tmp_path / 'script.yaml'}: {fault}"
    answer, _ = call(use, tmp_path)
    assert isinstance(answer, AttemptFailed)
    assert (answer.reason, answer.retryable) == ("bad_request", False)
    assert fault in answer.detail or len(answer.detail) == 300


def test_a_wrong_pattern_is_told(tmp_path: Path) -> None:
    with pytest.raises(LoopspecError, match=r"turns\[0\].when is not a regular expression"):
        scripted.load(script(tmp_path, "  - when: '('\n    reply: x\n"))


def test_a_script_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(LoopspecError, match="there is no such script"):
        scripted.load(f"scripted/{tmp_path / 'none.yaml'}")
    with pytest.raises(LoopspecError, match="loopspec ships no script 'none'"):
        scripted.load("scripted/demo:none")
    with pytest.raises(LoopspecError, match="loopspec ships no script"):
        scripted.load("scripted/demo:../secrets")

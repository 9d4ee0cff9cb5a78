"""What the adapter makes of each fault of the model server, in three protocols, over real HTTP."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from model_helpers import effect, world_for

from loopspec.events import AttemptFailed, Kept, ModelReplied
from loopspec.performers.model import ModelPerformer
from loopspec.testing import (
    Call,
    Drop,
    Duplicate,
    EmptyText,
    ErrorInside,
    LongLine,
    ModelServer,
    Say,
    SlowHead,
    Split,
    Stall,
    Status,
    Swap,
    UnknownFields,
    unreachable,
)
from loopspec.testing.serving.faults import Fault
from loopspec.testing.serving.replies import PROTOCOLS

USES = {
    "/chat/completions": ("openai/gpt-4o", "/v1"),
    "/responses": ("openai/responses/gpt-5", "/v1"),
    "/messages": ("anthropic/claude-sonnet-4-0", ""),
}
ARGS = ({"path": "größe/🧮.py", "all": True}, {"path": "b", "note": "zwei – „drei“"})
SAY = Say("Ich schaue „nach“ → 🧮.", "Hm, größer?", "SIG==", tuple(Call("read_file", a) for a in ARGS))
CALLS = [("read_file", args) for args in ARGS]
# A closed connection counts by what had come before it.
SHORT = {"truncated", "connection", "corrupt"}


def attempts(
    path: str, directory: Path, *many: Sequence[Fault], base: str = "", say: Say = SAY, **decl: int
) -> list[Kept]:
    """One attempt for each list of faults, a few at once, at one server each."""
    use, end = USES[path]

    async def one(faults: Sequence[Fault], gate: asyncio.Semaphore) -> Kept:
        async with gate, ModelServer(say, always=faults) as server:
            params = json.dumps({"api_base": (base or server.base) + end})
            return await ModelPerformer().perform(
                effect(use), world_for(use, directory, params=params, **decl)
            )

    async def all_of_them() -> list[Kept]:
        gate = asyncio.Semaphore(8)
        return await asyncio.gather(*(one(faults, gate) for faults in many))

    return asyncio.run(all_of_them())


def calls(answer: ModelReplied) -> list[tuple[str, object]]:
    return [(c.tool, json.loads(c.args)) for c in answer.calls if not c.problem]


def plain(answer: Kept) -> ModelReplied:
    """A reply without what tells requests apart."""
    assert isinstance(answer, ModelReplied), answer
    return msgspec.structs.replace(answer, request="")


@pytest.mark.parametrize("path", list(USES))
def test_f23_and_f6_what_is_no_fault_of_the_reply_makes_no_difference(path: str, tmp_path: Path) -> None:
    harmless: list[list[Fault]] = [
        [],
        [Split(characters=True)],
        [Split(every=1)],
        [EmptyText()],
        [EmptyText(), Split(every=7)],
        [UnknownFields()],
        [Stall("Hm,", 0.05, pings=True, every=0.01)] if path != "/responses" else [Stall(0, 0.05)],
    ]
    whole, *others = map(plain, attempts(path, tmp_path, *harmless))
    assert (whole.text, calls(whole)) == (SAY.text, CALLS)
    if path == "/responses":
        # Reasoning goes back only before the first item after it. An empty message in front is such an
        # item: then it is kept from the provider, and nothing else differs.
        emptied = [n for n, faults in enumerate(harmless[1:]) if EmptyText() in faults]
        assert [n for n, o in enumerate(others) if o.blocks != whole.blocks] == emptied
        others = [msgspec.structs.replace(o, blocks=whole.blocks) for o in others]
    assert others == [whole] * len(others)


@pytest.mark.parametrize("path", list(USES))
@pytest.mark.parametrize("kind", [Drop, Duplicate, Swap], ids=["lost", "twice", "in another order"])
def test_f3_an_event_lost_twice_or_moved_never_makes_another_call(
    path: str, kind: type[Drop] | type[Duplicate] | type[Swap], tmp_path: Path
) -> None:
    frames = PROTOCOLS[path][0](SAY, "m")
    many = len(frames) - 1 if kind is Swap else len(frames)
    faults: list[Fault] = [Swap(n, n + 1) if kind is Swap else kind(n) for n in range(many)]  # type: ignore[call-arg]
    answers = attempts(path, tmp_path, *([fault] for fault in faults))
    replied = {n: a for n, a in enumerate(answers) if isinstance(a, ModelReplied)}
    if path == "/chat/completions":
        # It tells arguments once and numbers nothing. A piece that is lost, doubled or moved leaves text
        # that is no JSON mostly, a call that does not run; where it is JSON again nobody can tell.
        wrong = {n: calls(a) for n, a in replied.items() if any(c not in CALLS for c in calls(a))}
        inside = {n for n in range(many) if b'"arguments": "' in frames[n] and b'"name"' not in frames[n]}
        assert set(wrong) <= inside, wrong
        return
    if path == "/responses":
        assert {n: a for n, a in replied.items() if calls(a) != CALLS or a.text != SAY.text} == {}
        return
    # Anthropic's blocks are paired, their pieces are not numbered.
    wrong = {n: calls(a) for n, a in replied.items() if any(c not in CALLS for c in calls(a))}
    assert set(wrong) <= {n for n in range(many) if b"input_json_delta" in frames[n]}, wrong


@pytest.mark.parametrize("path", list(USES))
@pytest.mark.parametrize(
    ("kind", "status", "reason"),
    [("overloaded_error", 529, "overloaded"), ("rate_limit_error", 429, "rate_limited")],
)
def test_an_error_inside_a_stream_is_told_as_what_it_is(
    path: str, kind: str, status: int, reason: str, tmp_path: Path
) -> None:
    frames = len(PROTOCOLS[path][0](SAY, "m"))
    name = {"overloaded_error": "server_is_overloaded", "rate_limit_error": "rate_limit_exceeded"}[kind]
    told = name if path == "/responses" else kind
    places = [frames // 3, 2 * frames // 3]
    answers = attempts(path, tmp_path, *([ErrorInside(n, told, status)] for n in places))
    assert [getattr(a, "reason", a) for a in answers] == [reason] * 2
    assert all(isinstance(a, AttemptFailed) and a.retryable for a in answers)


@pytest.mark.parametrize("path", list(USES))
def test_refusals_before_a_stream_have_their_reason_and_their_retry_after(
    path: str, tmp_path: Path
) -> None:
    faults = [[Status(429, retry_after=7)], [Status(529, retry_after=2)], [Status(500)], [Status(401)]]
    answers = attempts(path, tmp_path, *faults)
    got = [(a.reason, a.retry_after, a.retryable) for a in answers if isinstance(a, AttemptFailed)]
    assert got == [
        ("rate_limited", 7_000_000, True),
        ("overloaded", 2_000_000, True),
        got[2],
        ("auth", 0, False),
    ]
    assert got[2][1:] == (0, True)


@pytest.mark.parametrize("path", list(USES))
def test_an_absurdly_long_line_ends_the_attempt(path: str, tmp_path: Path) -> None:
    [answer] = attempts(path, tmp_path, [LongLine(2, 9 * 1024 * 1024)])
    assert isinstance(answer, AttemptFailed) and answer.reason == "corrupt", answer
    assert "a line or an event of more than" in answer.detail


def test_f4_a_server_that_sends_no_head_is_given_up(tmp_path: Path) -> None:
    [answer] = attempts("/messages", tmp_path, [SlowHead()], first_chunk=300_000, connect=300_000)
    assert isinstance(answer, AttemptFailed) and answer.retryable
    assert answer.reason in ("timeout", "stalled")


@pytest.mark.parametrize("path", list(USES))
def test_a_refused_connection_is_told_as_one(path: str, tmp_path: Path) -> None:
    with unreachable() as base:
        [answer] = attempts(path, tmp_path, [], base=base)
    assert isinstance(answer, AttemptFailed)
    assert (answer.reason, answer.retryable, answer.usage.cost) == ("connection", True, 0)

"""Recorded streams served again, whole and broken, and an independent reading to judge the replies by.

The reading here shares no code with loopspec's: it takes the recording apart by the providers' published
formats, so that one mistake cannot hide in both.
"""

import asyncio
import json
import os
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from model_helpers import effect, world_for

from loopspec.events import AttemptFailed, Kept, ModelReplied
from loopspec.performers.model import ModelPerformer
from loopspec.testing.server import ModelServer
from loopspec.testing.serving.faults import Corrupt, CutAt, Fault
from loopspec.testing.serving.recorded import Exchange, read

OURS = Path(__file__).parents[1] / "recordings"
SHARED = Path(
    os.environ.get("LOOPSPEC_STREAMS") or Path(__file__).parents[3] / "shared" / "data" / "streams"
)
USES = {
    "/chat/completions": "openai/gpt-4o",
    "/responses": "openai/responses/gpt-5",
    "/messages": "anthropic/claude-sonnet-4-0",
}
AT_ONCE = 16


@dataclass(frozen=True)
class Stream:
    """A recorded stream: where it comes from, and the exchange."""

    name: str
    exchange: Exchange

    @property
    def protocol(self) -> str:
        """The end of the path it was asked at."""
        path = self.exchange.path.rstrip("/")
        return next((end for end in USES if path.endswith(end)), "/responses")


@dataclass
class Read:
    """What a recording, or its beginning, says: its text, the calls and the signed thinking (Anthropic's)
    that were finished, its end, and the tokens of output a whole one tells (-1: not told)."""

    text: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    whole: bool = False
    thoughts: list[dict[str, Any]] = field(default_factory=list)
    tokens: int = -1


def streams(folder: Path) -> list[Stream]:
    """Every event stream in the recordings of a folder, none picked by hand.

    One that was fetched by its id is served at the path that replies are asked at.
    """
    out = []
    for path in sorted(folder.glob("**/*.yaml")):
        for n, exchange in enumerate(read(path)):
            if exchange.streams:
                stream = Stream(f"{path.stem}[{n}]", exchange)
                asked = replace(exchange, method="POST", path=f"/v1{stream.protocol}")
                out.append(replace(stream, exchange=asked))
    return out


# ------------------------------------------------------------ an independent reading


def frames(body: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each event's end in bytes and its object; `[DONE]` and comments have none."""
    at = 0
    for part in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        at += len(part) + 2
        data = [line[5:] for line in part.split(b"\n") if line.startswith(b"data:")]
        if at <= len(body) and data and data[0].strip().startswith(b"{"):
            yield at, json.loads(b"\n".join(data))


def reading(stream: Stream, upto: int | None = None) -> Read:
    """What the first `upto` bytes say, by whole events."""
    body = stream.exchange.body
    given = [data for end, data in frames(body) if upto is None or end <= upto]
    match stream.protocol:
        case "/chat/completions":
            return _chat(given)
        case "/messages":
            return _messages(given)
        case _:
            return _responses(given)


def _chat(given: list[dict[str, Any]]) -> Read:
    found = Read()
    calls: dict[int, list[str]] = {}
    for data in given:
        found.tokens = (data.get("usage") or {}).get("completion_tokens", found.tokens)
        for choice in data["choices"]:
            delta = choice["delta"]
            found.text += delta.get("content") or ""
            for call in delta.get("tool_calls") or []:
                made = calls.setdefault(call["index"], ["", ""])
                made[0] += call["function"].get("name") or ""
                made[1] += call["function"].get("arguments") or ""
            found.whole = found.whole or bool(choice.get("finish_reason"))
    done = list(calls.values()) if found.whole else list(calls.values())[:-1]
    found.calls = [(name, json.loads(args or "{}")) for name, args in done]
    return found


def _messages(given: list[dict[str, Any]]) -> Read:
    found = Read()
    tools: dict[int, list[str]] = {}
    thoughts: dict[int, dict[str, Any]] = {}
    for data in given:
        match data["type"]:
            case "content_block_start" if "thinking" in data["content_block"]["type"]:
                thoughts[data["index"]] = dict(data["content_block"])
            case "content_block_start" if data["content_block"]["type"] == "tool_use":
                tools[data["index"]] = [data["content_block"]["name"], ""]
            case "content_block_start" if data["content_block"]["type"] == "text":
                found.text += data["content_block"]["text"]
            case "content_block_delta":
                delta = data["delta"]
                if delta["type"] == "text_delta":
                    found.text += delta["text"]
                elif delta["type"] in ("thinking_delta", "signature_delta"):
                    name = delta["type"].removesuffix("_delta")
                    thoughts[data["index"]][name] = thoughts[data["index"]].get(name, "") + delta[name]
                elif delta["type"] == "input_json_delta" and data["index"] in tools:
                    tools[data["index"]][1] += delta["partial_json"]
            case "content_block_stop" if data["index"] in thoughts:
                found.thoughts.append(thoughts.pop(data["index"]))
            case "content_block_stop" if data["index"] in tools:
                name, args = tools.pop(data["index"])
                found.calls.append((name, json.loads(args or "{}")))
            case "message_delta":  # `message_stop` adds nothing to it
                found.whole = bool(data["delta"].get("stop_reason"))
                found.tokens = data["usage"]["output_tokens"]
    return found


def _responses(given: list[dict[str, Any]]) -> Read:
    found = Read()
    for data in given:
        match data["type"]:
            case "response.output_text.delta":
                found.text += data["delta"]
            case "response.output_item.done" if data["item"]["type"] == "function_call":
                found.calls.append((data["item"]["name"], json.loads(data["item"]["arguments"] or "{}")))
            case "response.completed" | "response.incomplete":
                found.whole = True
                found.tokens = data["response"]["usage"]["output_tokens"]
    return found


# ------------------------------------------------------------ attempts


async def attempt(stream: Stream, faults: Sequence[Fault], directory: Path) -> Kept:
    """One attempt of the adapter at a recording that is served with these faults."""
    use = USES[stream.protocol]
    async with ModelServer(stream.exchange, always=faults) as server:
        base = server.base if stream.protocol == "/messages" else f"{server.base}/v1"
        world = world_for(use, directory, params=json.dumps({"api_base": base}))
        return await ModelPerformer().perform(effect(use), world)


def attempts(given: Sequence[tuple[Stream, Sequence[Fault]]], directory: Path) -> list[Kept]:
    """Many attempts in one event loop, some at once; in the order they were given."""

    async def all_of_them() -> list[Kept]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(stream: Stream, faults: Sequence[Fault]) -> Kept:
            async with gate:
                return await attempt(stream, faults, directory)

        return await asyncio.gather(*(one(*item) for item in given))

    return asyncio.run(all_of_them())


def proposals(answer: ModelReplied) -> list[tuple[str, Any]]:
    """The calls of a reply that could run."""
    return [(c.tool, json.loads(c.args)) for c in answer.calls if not c.problem]


def thoughts(value: Any) -> list[dict[str, Any]]:
    """The signed blocks of thinking that a reply keeps for the provider, in order."""
    if isinstance(value, list):
        return [found for inner in value for found in thoughts(inner)]
    if not isinstance(value, dict):
        return []
    if value.get("type") in ("thinking", "redacted_thinking"):
        return [value]
    return [found for inner in value.values() for found in thoughts(inner)]


# ------------------------------------------------------------ judging


def judge_whole(stream: Stream, answer: Kept) -> str:
    """What is wrong with the reply to a whole recording, empty if nothing is.

    A recording of nothing but the provider's own work holds neither text nor calls: no reply to a loop.
    """
    said = reading(stream)
    if not said.text.strip() and not said.calls:
        empty = isinstance(answer, AttemptFailed) and answer.reason in ("empty", "refused")
        return "" if empty else f"nothing was said, and that gave {type(answer).__name__}"
    if not isinstance(answer, ModelReplied):
        return f"no reply: {answer}"
    if answer.text != said.text:
        return f"the text is {answer.text[:80]!r}, not {said.text[:80]!r}"
    if proposals(answer) != said.calls:
        return f"the calls are {answer.calls}, not {said.calls}"
    kept = thoughts(json.loads(answer.blocks or "{}"))
    if stream.protocol == "/messages" and kept != said.thoughts:
        return f"the thinking kept is {kept}, not {said.thoughts}"
    if said.tokens >= 0 and answer.usage.output_tokens != said.tokens:
        return f"{answer.usage.output_tokens} tokens of output were counted, {said.tokens} were told"
    return ""


def judge_cut(stream: Stream, byte: int, answer: Kept) -> tuple[str, str]:
    """How an attempt at a recording that was cut ended, and what is wrong with it."""
    before, all_of_it = reading(stream, byte), reading(stream)
    if isinstance(answer, ModelReplied):
        same = answer.text == all_of_it.text and proposals(answer) == all_of_it.calls
        if before.whole and same:
            return "complete", ""
        return "complete", f"cut at {byte} it was taken for whole: {answer.text[-40:]!r}"
    if not isinstance(answer, AttemptFailed):
        return "other", f"cut at {byte}: {answer}"
    if before.whole and (all_of_it.text.strip() or all_of_it.calls):
        return answer.reason, f"everything had come at {byte}, and it failed: {answer.reason}"
    kept = [(k["tool"], json.loads(k["args"])) for k in json.loads(answer.kept or "[]") if "tool" in k]
    if not answer.partial.startswith(before.text) or not all_of_it.text.startswith(answer.partial):
        return answer.reason, f"cut at {byte} the text kept is {answer.partial[-60:]!r}"
    if kept[: len(before.calls)] != before.calls or any(c not in all_of_it.calls for c in kept):
        return answer.reason, f"cut at {byte} the calls kept are {kept}, not {before.calls}"
    thought = thoughts(json.loads(answer.kept or "[]"))
    if thought != before.thoughts:
        return answer.reason, f"cut at {byte} the thinking kept is {thought}, not {before.thoughts}"
    return answer.reason, ""


def judge_corrupt(stream: Stream, damage: Corrupt, answer: Kept) -> tuple[str, str]:
    """How an attempt at a damaged recording ended, and what is wrong: a call that was not made.

    Where nobody could have told (`unseeable`), it is counted apart.
    """
    if not isinstance(answer, ModelReplied):
        return getattr(answer, "reason", type(answer).__name__), ""
    calls = proposals(answer)
    said = reading(stream)
    wrong = [call for call in calls if call not in said.calls]
    if wrong and unseeable(stream, damage):
        return UNSEEN, ""
    if wrong:
        return "wrong call", f"{damage}, and a call nobody made: {wrong}"
    same = answer.text == said.text and calls == said.calls
    return ("complete" if same else "complete, other text"), ""


MODES = ("high bit", "zero", "other")
LETTER = "a letter for a letter, in calls"
UNSEEN = "another call that nobody could tell"
_ONCE_TOLD = {"arguments", "partial_json", "name"}
_PIECE = re.compile(rb'"delta":\s*"((?:[^"\\]|\\.)+)"')
_ARGUMENTS = re.compile(rb'"(?:arguments|partial_json)":\s*"((?:[^"\\]|\\.)+)"')


def corrupted(stream: Stream, byte: int, mode: str, dice: random.Random) -> Corrupt:
    """A byte changed: its high bit flipped, zeroed, any other byte, or one letter for another."""
    was = stream.exchange.body[byte]
    match mode:
        case "other":
            return Corrupt(byte, dice.choice([b for b in range(256) if b != was]))
        case "high bit" | "zero":
            return Corrupt(byte, None if mode == "high bit" else 0)
        case _:
            return Corrupt(byte, dice.choice([b for b in b"abcdefghijklmnopqrstuvwxyz" if b != was]))


def letters(stream: Stream) -> list[int]:
    """Every letter within the argument texts of a stream."""
    body = stream.exchange.body
    spans = [match.span(1) for match in _ARGUMENTS.finditer(body)]
    for line in re.finditer(rb"data: .*function_call_arguments\.delta.*", body):
        if piece := _PIECE.search(body, *line.span()):
            spans.append(piece.span(1))
    inside = [n for a, b in spans for n in range(a, b)]
    return [n for n in inside if chr(body[n]).isascii() and chr(body[n]).isalpha()]


def unseeable(stream: Stream, damage: Corrupt) -> bool:
    """Whether nobody could tell this damage: the event is as well formed as before, and all that is
    different is the value of one string of a call, in a protocol that tells it once."""
    if stream.protocol == "/responses":  # tells each argument text four times
        return False
    byte, body = int(damage.at), stream.exchange.body
    start = body.rfind(b"\n\n", 0, byte) + 2 if b"\n\n" in body[:byte] else 0
    event = body[start : body.find(b"\n\n", byte)]
    now = body[byte] ^ 0x80 if damage.to is None else damage.to
    broken = event[: byte - start] + bytes([now]) + event[byte - start + 1 :]
    try:
        was, made = (json.loads(e[e.index(b"data:") + 5 :]) for e in (event, broken))
    except ValueError:
        return False
    differ = list(_differing(was, made, ""))
    return len(differ) == 1 and differ[0] in _ONCE_TOLD


def _differing(was: Any, made: Any, name: str) -> Iterator[str]:
    """The names of the values that differ; of a key that differs, its own and the old one."""
    if isinstance(was, dict) and isinstance(made, dict):
        for key in dict.fromkeys([*was, *made]):
            if key in was and key in made:
                yield from _differing(was[key], made[key], key)
            else:
                yield f"key {key}"
    elif isinstance(was, list) and isinstance(made, list) and len(was) == len(made):
        for one, other in zip(was, made, strict=True):
            yield from _differing(one, other, name)
    elif was != made:
        yield name if isinstance(was, str) and isinstance(made, str) else f"type of {name}"


def borders(stream: Stream) -> list[int]:
    """Every byte at which an event ends, the last excepted."""
    body = stream.exchange.body
    return [n + 2 for n in range(len(body) - 2) if body[n : n + 2] == b"\n\n"]


def count_cuts(stream: Stream, bytes_: Sequence[int], directory: Path) -> tuple[Counter[str], list[str]]:
    """How cuts at these bytes end, and everything that is wrong."""
    answers = attempts([(stream, [CutAt(byte)]) for byte in bytes_], directory)
    judged = [judge_cut(stream, byte, a) for byte, a in zip(bytes_, answers, strict=True)]
    return Counter(how for how, _ in judged), [f"{stream.name}: {why}" for _, why in judged if why]


def count_corrupt(
    stream: Stream, bytes_: Sequence[int], mode: str, seed: int, directory: Path
) -> tuple[Counter[str], list[str]]:
    """How damage at these bytes ends, and everything that is wrong."""
    dice = random.Random(seed)
    faults = [corrupted(stream, byte, mode, dice) for byte in bytes_]
    answers = attempts([(stream, [fault]) for fault in faults], directory)
    judged = [judge_corrupt(stream, damage, a) for damage, a in zip(faults, answers, strict=True)]
    return Counter(how for how, _ in judged), [f"{stream.name}: {why}" for _, why in judged if why]

"""Conformance of model providers: facts, the order of a stream's pieces, closing it early."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from loopspec.errors import LoopspecError
from loopspec.hooks import ModelAsk, ModelFacts, ModelProvider, Piece, ProviderFailed
from loopspec.registry_checks import PluginError, check_methods
from loopspec.testing.conformance_base import PATIENCE, Account, ends_when_cancelled

HELLO: Final = ({"role": "user", "content": "Hello"},)
FINISHES: Final = ("stop", "tool_calls", "length", "content_filter")


def provider(
    tested: ModelProvider,
    name: str,
    *,
    messages: Sequence[Mapping[str, Any]] = HELLO,
    tools: Sequence[Mapping[str, Any]] = (),
    unknown: str = "",
) -> Account:
    """Try a provider with a model it knows, which must answer `messages`.

    `unknown` is the name of a model it does not know: `facts` must refuse it. The model is asked three
    times.
    """
    account = Account(f"provider {type(tested).__name__}")
    try:
        check_methods("mine", "model", name, tested)
    except PluginError as err:
        account.note("it has the methods of a provider", err.fault)
        return account
    account.note("it has the methods of a provider")
    account.note("it tells facts about its model", _facts(tested, name))
    if unknown:
        account.note("it refuses a model it does not know", _refuses(tested, unknown))
    ask = ModelAsk(name, messages, tools)
    asyncio.run(_streams(tested, ask, account))
    return account


def _facts(tested: ModelProvider, name: str) -> str:
    """What is wrong with the facts."""
    given: Any = tested.facts(name)
    if not isinstance(given, ModelFacts):
        return f"it gave {type(given).__name__}, wanted ModelFacts"
    if not isinstance(given.window, int) or given.window < 0:
        return f"the window {given.window!r}"
    return ""


def _refuses(tested: ModelProvider, name: str) -> str:
    """What is wrong with how an unknown model is refused."""
    try:
        tested.facts(name)
    except LoopspecError as err:
        return "" if err.fault.strip() else "its LoopspecError says nothing"
    except Exception as err:
        return f"{type(err).__name__}: {err}, wanted a LoopspecError"
    return "it did not"


async def _streams(tested: ModelProvider, ask: ModelAsk, account: Account) -> None:
    """Read two streams at once to their end, and leave a third one early."""
    try:
        async with asyncio.timeout(6 * PATIENCE):
            first, second = await asyncio.gather(_read(tested, ask), _read(tested, ask))
    except (ProviderFailed, TimeoutError) as err:
        account.note("it answers", f"{type(err).__name__}: {err}")
        return
    account.note("it answers")
    for promise, fault in _judged(first).items():
        account.note(promise, fault)
    same = "" if bool(first) == bool(second) else "one of them had nothing"
    account.note("two may ask at once", same)
    begun = asyncio.Event()

    async def leave() -> None:
        stream: Any = tested.stream(ask)
        try:
            async for _ in stream:
                begun.set()
                await asyncio.Event().wait()
        finally:
            await stream.aclose()

    account.note(
        "a stream that is left ends and leaves nothing running", await ends_when_cancelled(leave, begun)
    )


async def _read(tested: ModelProvider, ask: ModelAsk) -> list[Any]:
    """All pieces of a stream."""
    return [piece async for piece in tested.stream(ask)]


def _judged(pieces: list[Any]) -> dict[str, str]:
    """The promises about a whole stream, each with what is wrong."""
    others = sorted({type(p).__name__ for p in pieces if not isinstance(p, Piece)})
    out = {"its pieces are Pieces": ", ".join(others)}
    if others:
        return out
    finishes = [p.finish for p in pieces if p.finish]
    last = pieces[-1].finish if pieces else ""
    once = bool(last) and finishes == [last]
    out["it says at the end, and once, why it ends"] = "" if once else repr(finishes)
    if last:
        known = ", ".join(FINISHES)
        out["its reason is a known one"] = "" if last in FINISHES else f"{last!r}, known are {known}"
    told = [p.usage for p in pieces if p.usage is not None]
    out["it tells what was consumed, once"] = "" if len(told) == 1 else f"{len(told)} times"
    bad = [u for u in told if min(u.input_tokens, u.output_tokens, u.cached_tokens, u.cost or 0) < 0]
    out["nothing consumed is below zero"] = repr(bad) if bad else ""
    said = any(p.text or p.call for p in pieces)
    out["it says something"] = "" if said else "neither text nor a call"
    out["its calls are whole"] = _calls(pieces)
    return out


def _calls(pieces: list[Piece]) -> str:
    """What is wrong with the proposed calls."""
    tools: dict[int, str] = {}
    texts: dict[int, str] = {}
    for piece in pieces:
        if piece.call is None:
            continue
        index, tool, text = piece.call
        if index not in tools and index != len(tools):
            return f"the call {index} follows {len(tools)} others"
        if index not in tools and not tool:
            return f"the first piece of call {index} names no tool"
        tools.setdefault(index, tool)
        texts[index] = texts.get(index, "") + text
    for index, text in texts.items():
        try:
            value = json.loads(text or "{}")
        except ValueError:
            return f"the arguments of call {index} are no JSON"
        if not isinstance(value, dict):
            return f"the arguments of call {index} are no object"
    return ""

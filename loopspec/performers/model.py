"""Model performer: one attempt of one model call, through litellm or a plugin's provider.

Rules of this file:
1. One effect is one attempt. Nothing is retried, resumed or swapped here: a failed attempt is a
   fact, and `step` chooses the next rung.
2. Nothing is executed and nothing altered. Arguments that are not a JSON object, or that hold a
   secret, become a call with a `problem` and no arguments.
3. Texts are redacted before they leave this file, and blocks that hold a secret are left out (an
   altered signed block is worse than none). Deltas are redacted by `World.watch`, which holds back
   what may be the beginning of a secret: one that the stream cuts in two is not shown either.
4. When cancelled: stop, close the stream, and answer with what had come.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias, cast

from loopspec.codec import canonical_json
from loopspec.context.transcript import estimate
from loopspec.effects import CallModel, Effect
from loopspec.errors import LoopspecError
from loopspec.events import (
    AttemptFailed,
    EffectCancelled,
    EffectFailed,
    ModelOverflowed,
    ModelReplied,
    ProposedCall,
    TextDelta,
    TokenUsage,
)
from loopspec.hooks import World
from loopspec.performers import model_direct, model_litellm, providers
from loopspec.performers.model_errors import Fault, Overflow, classify, one_line
from loopspec.performers.model_litellm import missing_key, priced, window_of
from loopspec.performers.model_request import (
    CALL_SIGNATURES,
    Request,
    arguments,
    build_request,
    check_params,
)
from loopspec.performers.model_stream import (
    Deadlines,
    Delta,
    Gathered,
    OpenCall,
    Reader,
    TooLarge,
    signed,
)
from loopspec.performers.open_text import OpenText
from loopspec.performers.reply_cache import CachedReply, ReplyCache

__all__ = ["ModelPerformer", "check_params", "missing_key", "priced", "window_of"]

Outcome: TypeAlias = ModelReplied | AttemptFailed | ModelOverflowed | EffectCancelled
_MICRO: Final = 1_000_000
_SECRET: Final = "arguments contain a secret; use its name instead"
_NOT_OBJECT: Final = "arguments are not a JSON object"


class ModelPerformer:
    """Does `CallModel`: asks a model once and answers with what came of it."""

    async def perform(self, effect: Effect, world: World) -> Outcome | EffectFailed:
        """One attempt of a model call. Never raises; a cancel gives `EffectCancelled`."""
        if not isinstance(effect, CallModel):
            return EffectFailed(effect.id, "the model performer only calls models")
        return await attempt_once(effect, world, lambda: build_request(effect, world))


async def attempt_once(effect: CallModel, world: World, request: Callable[[], Request]) -> Outcome:
    """Send what `request` makes, once. Never raises; a cancel gives `EffectCancelled`."""
    attempt = _Attempt(effect, world, request)
    try:
        return await attempt.run()
    except asyncio.CancelledError:
        return attempt.cancelled()
    except LoopspecError as error:
        return attempt.failed(Fault("bad_request", one_line(str(error))))
    except TooLarge as error:
        return attempt.failed(Fault("corrupt", str(error)))
    except Exception as error:
        # Providers' libraries raise whatever they like; the classes that matter are told apart.
        return attempt.failed(classify(error))
    finally:
        attempt.close()


class _Attempt:
    """One attempt, from the request to its one answer."""

    def __init__(self, effect: CallModel, world: World, request: Callable[[], Request]) -> None:
        self._effect = effect
        self._world = world
        self._make = request
        self._got = Gathered(effect.id)
        self._reader: Reader | None = None
        self._request: Request | None = None
        self._open = OpenText(effect.id, world, self._partial)

    def close(self) -> None:
        """Nothing more will come."""
        self._open.close()

    async def run(self) -> ModelReplied | AttemptFailed | ModelOverflowed:
        """Make the attempt; raises what goes wrong on the way."""
        effect, world = self._effect, self._world
        decl = world.machine.models[effect.model]
        request = self._request = self._make()
        cache = ReplyCache(world.directory / "cache" / "replies") if decl.cache > 0 else None
        if cache and (known := await cache.get(request.digest)):
            return self._from_cache(known)
        ours = providers.find(effect.use)
        if ours:
            ours.facts()  # a script that cannot be played says so now
        lib = None if ours else await asyncio.to_thread(model_litellm.load)
        if name := missing_key(effect.use, request.params):
            return self.failed(_no_key(name, effect))
        self._reader = Reader(Deadlines.of(decl), self._take)
        start: Awaitable[Any]
        if ours:
            start = model_direct.begin(ours, request.messages, request.tools, request.params)
        else:
            start = cast(Any, lib).acompletion(**arguments(request, decl))
        ended = await self._reader.read(start)
        answer = self._answer(ended)
        if cache and isinstance(answer, ModelReplied) and _worth_keeping(answer):
            reply = CachedReply(answer.text, answer.calls, answer.blocks)
            await cache.put(request.digest, reply, decl.cache / _MICRO)
        return answer

    def cancelled(self) -> EffectCancelled:
        """The answer to a cancel: what had come."""
        partial = self._partial()
        return EffectCancelled(
            self._effect.id,
            started=self._reader is not None,
            partial=partial,
            usage=self._spent(),
            tokens=estimate(partial) if partial else 0,
        )

    def failed(self, why: Fault | Overflow) -> AttemptFailed | ModelOverflowed:
        """The answer when the attempt came to nothing."""
        detail = self._world.redact(why.detail)
        if isinstance(why, Overflow):
            return ModelOverflowed(self._effect.id, detail)
        return AttemptFailed(
            self._effect.id,
            why.reason,
            detail,
            retryable=why.retryable,
            retry_after=why.retry_after,
            jitter=self._world.draw(),
            partial=self._partial(),
            usage=self._spent(),
        )

    def _take(self, chunk: Any) -> bool:
        """Show and count one chunk; whether it held content."""
        deltas, content = self._got.add(chunk)
        for delta in deltas:
            self._show(delta)
            if isinstance(delta, TextDelta):
                self._open.grown(len(delta.text.encode()))
        return content

    def _show(self, delta: Delta) -> None:
        """Show one delta to whoever watches."""
        self._world.watch(delta)

    def _partial(self) -> str:
        """The text so far, fit to be kept."""
        return self._world.redact(self._got.text)

    def _answer(self, ended: bool) -> ModelReplied | AttemptFailed | ModelOverflowed:
        """The answer to a stream that has been read to its end."""
        got = self._got
        if not ended:
            return self.failed(Fault("truncated", "the stream ended without a finish reason"))
        read = [_proposed(call, self._world) for call in got.calls]
        if got.finish == "length" and any(call.problem == _NOT_OBJECT for call in read):
            return self.failed(Fault("truncated", "the length limit fell inside a tool call"))
        text = self._partial()
        if not text.strip() and not read:
            if got.finish == "content_filter":
                return self.failed(Fault("refused", "the provider's content filter kept the reply"))
            return self.failed(Fault("empty", "the reply held neither text nor a call"))
        return ModelReplied(
            self._effect.id,
            text=text,
            calls=read,
            blocks=self._blocks(),
            finish=got.finish,
            model=self._effect.use,
            usage=self._spent(),
            request=self._request.digest if self._request else "",
            tokens=_size(text, read),
        )

    def _from_cache(self, known: CachedReply) -> ModelReplied:
        """The answer a cached reply gives: at once, and for nothing."""
        if known.text:
            self._show(TextDelta(self._effect.id, known.text))
        return ModelReplied(
            self._effect.id,
            text=known.text,
            calls=known.calls,
            blocks=known.blocks,
            finish="cached",
            model=self._effect.use,
            usage=TokenUsage(cost=0),
            request=self._request.digest if self._request else "",
            tokens=_size(known.text, known.calls),
        )

    def _blocks(self) -> str:
        """What must go back to the provider verbatim, as JSON text; empty without any."""
        out: dict[str, Any] = {}
        if thinking := signed(self._got.thinking):
            out["thinking_blocks"] = thinking
        if self._got.signatures:
            out["provider_specific_fields"] = {"thought_signatures": self._got.signatures}
        marks = {str(n): c.signature for n, c in enumerate(self._got.calls) if c.signature}
        if marks:
            out[CALL_SIGNATURES] = marks
        text = canonical_json(out) if out else ""
        return text if self._world.redact(text) == text else ""

    def _spent(self) -> TokenUsage:
        """What the attempt consumed: as reported, else estimated, nothing when nothing came."""
        told = self._reader.usage if self._reader else None
        if self._request is None or (told is None and not self._got.chars):
            return TokenUsage(cost=0)
        if told is None:
            said = self._got.text + "".join("".join(c.args) for c in self._got.calls)
            told = model_litellm.usage_of(self._effect.use, self._request.tokens(), estimate(said))
        details = getattr(told, "prompt_tokens_details", None)
        return TokenUsage(
            input_tokens=int(told.prompt_tokens or 0),
            output_tokens=int(told.completion_tokens or 0),
            cached_tokens=int(getattr(details, "cached_tokens", None) or 0),
            cost=model_litellm.cost_of(self._effect.use, told),
        )


def _proposed(call: OpenCall, world: World) -> ProposedCall:
    """A received call, checked (rule 2). Blank arguments are how some providers write none."""
    text = "".join(call.args)
    try:
        value = json.loads(text) if text.strip() else {}
        args = canonical_json(value)
        args.encode()
    except (ValueError, RecursionError):
        return ProposedCall(call.tool, "{}", _NOT_OBJECT)
    if not isinstance(value, dict):
        return ProposedCall(call.tool, "{}", _NOT_OBJECT)
    if not call.tool:
        return ProposedCall("", "{}", "the call names no tool")
    if world.redact(args) != args:
        return ProposedCall(call.tool, "{}", _SECRET)
    return ProposedCall(call.tool, args)


def _size(text: str, calls: list[ProposedCall]) -> int:
    """The tokens a reply adds to the view, counted as the view counts them."""
    return estimate(text) + sum(estimate(call.args) for call in calls)


def _worth_keeping(reply: ModelReplied) -> bool:
    """Whether a reply may be replayed: whole, and without a broken call."""
    return reply.finish in ("stop", "tool_calls") and not any(c.problem for c in reply.calls)


def _no_key(name: str, effect: CallModel) -> Fault:
    """The fault of a missing key, with both ways out."""
    remedy = f"set {name}, or run offline with --model {effect.model}=scripted/FILE"
    return Fault("no_key", f"{effect.use} needs the environment variable {name}: {remedy}")

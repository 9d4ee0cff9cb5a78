"""Model performer: one attempt of one model call, through litellm or a plugin's provider.

Rules of this file:
1. One effect is one attempt. Nothing is retried or swapped here: a failed attempt is a fact, and `step`
   chooses the next rung. It ends in exactly one way, with what had come (see `model_endings`).
2. Nothing is executed and nothing altered (see `model_reply`).
3. Texts are redacted before they leave this file. Deltas are redacted by `World.watch`, which holds
   back what may be the beginning of a secret: one that the stream cuts in two is not shown either.
4. When cancelled: stop, close the stream, and answer with what had come.
5. What was shown stands, goes on, or is called void: a reply that cannot go on when it breaks, one
   that could go on and does not when the next attempt begins.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, TypeAlias, cast

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
    StreamContinued,
    StreamDiscarded,
    TextDelta,
    TokenUsage,
)
from loopspec.hooks import World
from loopspec.machine.tiering import RULES
from loopspec.performers import model_direct, model_litellm, providers
from loopspec.performers.model_errors import Fault, Overflow, classify, one_line
from loopspec.performers.model_litellm import missing_key, priced, window_of
from loopspec.performers.model_prefill import Joint, takes_prefill
from loopspec.performers.model_reply import ENDED, STOPPED, blocks_of, cut, kept_of, proposed, size
from loopspec.performers.model_request import (
    Request,
    arguments,
    build_request,
    check_params,
    remade,
)
from loopspec.performers.model_stream import Deadlines, Delta, Gathered, Reader, TooLarge
from loopspec.performers.open_text import OpenText
from loopspec.performers.reply_cache import CachedReply, ReplyCache
from loopspec.performers.reply_faults import faults_of
from loopspec.performers.wire.chunks import Told
from loopspec.performers.wire.faults import Damage
from loopspec.performers.wire.protocol import number as count
from loopspec.performers.wire.tap import CURRENT, Tap, Wire

__all__ = ["ModelPerformer", "check_params", "missing_key", "priced", "window_of"]

Outcome: TypeAlias = ModelReplied | AttemptFailed | ModelOverflowed | EffectCancelled
_MICRO: Final = 1_000_000
_REFUSED: Final = "the model refused to answer"


class ModelPerformer:
    """Does `CallModel`: asks a model once and answers with what came of it."""

    def __init__(self) -> None:
        """Nothing has been shown."""
        self._shown: dict[str, str] = {}  # replies that broke off and may go on, and why they broke

    async def perform(self, effect: Effect, world: World) -> Outcome | EffectFailed:
        """One attempt of a model call. Never raises; a cancel gives `EffectCancelled`."""
        if not isinstance(effect, CallModel):
            return EffectFailed(effect.id, "the model performer only calls models")
        why = self._shown.pop(effect.after, None)
        if effect.continues >= 0:
            world.watch(StreamContinued(effect.id, effect.after))
        elif why is not None:
            world.watch(StreamDiscarded(effect.after, why))
        answer = await attempt_once(effect, world, lambda: build_request(effect, world))
        if isinstance(answer, AttemptFailed) and answer.resumable:
            self._shown[effect.id] = answer.reason
        elif isinstance(answer, ModelReplied) and answer.faults:
            self._shown[effect.id] = answer.faults[0]
        return answer


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
        return attempt.failed(attempt.why(error))
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
        self._tap: Tap | None = None
        self._showed = False
        self._open = OpenText(effect.id, world, self._partial)

    def close(self) -> None:
        """Nothing more will come."""
        self._open.close()

    async def run(self) -> ModelReplied | AttemptFailed | ModelOverflowed:
        """Make the attempt; raises what goes wrong on the way."""
        effect, world = self._effect, self._world
        decl = world.machine.models[effect.model]
        if effect.continues >= 0:
            before = world.partial_of(effect.continues)
            self._got = Gathered(effect.id, before, Joint(before, effect.use))
            self._showed = bool(before)
        ours = providers.find(effect.use)
        keeps = decl.cache > 0 and effect.continues < 0
        if not ours and not keeps:  # what is sent may depend on what litellm knows of the model
            await asyncio.to_thread(model_litellm.load)
        request = self._request = self._make()
        cache = ReplyCache(world.directory / "cache" / "replies") if keeps else None
        if cache and (known := await cache.get(request.digest)):
            return self._from_cache(known)
        if ours:
            ours.facts()  # a script that cannot be played says so now
        lib = None if ours else await asyncio.to_thread(model_litellm.load)
        if name := missing_key(effect.use, request.params):
            return self.failed(_no_key(name, effect))
        self._reader = Reader(Deadlines.of(decl), self._take)
        if ours:
            start: Awaitable[Any] = model_direct.begin(
                ours, request.messages, request.tools, request.params
            )
            ended = await self._reader.read(start)
        else:
            ended = await self._tapped(cast(Any, lib).acompletion(**arguments(request, decl)))
        for delta in self._got.rest():
            self._show(delta)
        answer = self._answer(ended)
        if cache and isinstance(answer, ModelReplied) and _worth_keeping(answer):
            reply = CachedReply(answer.text, answer.calls, answer.blocks)
            await cache.put(request.digest, reply, decl.cache / _MICRO)
        return answer

    async def _tapped(self, start: Awaitable[Any]) -> bool:
        """Read a reply whose bytes are checked; whether it is whole."""
        assert self._request is not None and self._reader is not None
        tap = self._tap = Tap(relayed=remade(self._request))
        token = CURRENT.set(tap)
        try:
            ended = await self._reader.read(_wired(start, tap))
        finally:
            CURRENT.reset(token)
            await tap.close()
        if tap.fault is not None:  # the library may have passed over it
            raise tap.fault
        return tap.checker.whole if tap.checker is not None and tap.known else ended

    def why(self, error: BaseException) -> Fault | Overflow:
        """What an exception means; a fault of the bytes counts before what the library made of it."""
        if self._tap is not None and self._tap.fault is not None:
            error = self._tap.fault
        if isinstance(error, Damage):
            return Fault("corrupt", one_line(str(error)))
        status = self._tap.status if self._tap is not None else 0
        if status < 400 or self._tap is None:
            return classify(error)
        return classify(error, status, self._tap.headers)

    def cancelled(self) -> EffectCancelled:
        """The answer to a cancel: what had come."""
        partial = self._partial()
        return EffectCancelled(
            self._effect.id,
            started=self._reader is not None,
            partial=partial,
            usage=self._spent(whole=False),
            tokens=estimate(partial) if partial else 0,
        )

    def failed(self, why: Fault | Overflow) -> AttemptFailed | ModelOverflowed:
        """The answer when the attempt came to nothing."""
        detail, redact = self._world.redact(why.detail), self._world.redact
        if isinstance(why, Overflow):
            self._void("overflow")
            return ModelOverflowed(self._effect.id, detail)
        partial = self._partial()
        goes_on = why.retryable and bool(partial.strip()) and self._goes_on()
        if not goes_on:
            self._void(why.reason)
        return AttemptFailed(
            self._effect.id,
            why.reason,
            detail,
            retryable=why.retryable,
            retry_after=why.retry_after,
            jitter=self._world.draw(),
            partial=partial,
            usage=self._spent(whole=False),
            resumable=goes_on,
            kept=kept_of(self._got, redact),
            use=self._effect.use,
        )

    def _goes_on(self) -> bool:
        """Whether the model could go on from the text that has come: it may hold nothing but text."""
        got, request = self._got, self._request
        if request is None or got.calls or got.thinking or got.thought:
            return False
        return takes_prefill(self._effect.use, request.params)

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
        self._showed = True
        self._world.watch(delta)

    def _void(self, reason: str) -> None:
        """What was shown of this reply, and of those it went on from, is void."""
        if self._showed:
            self._world.watch(StreamDiscarded(self._effect.id, reason))

    def _partial(self) -> str:
        """The text so far, fit to be kept."""
        return self._world.redact(self._got.text)

    def _answer(self, ended: bool) -> ModelReplied | AttemptFailed | ModelOverflowed:
        """The answer to a stream that has been read to its end."""
        got = self._got
        if not ended:
            return self.failed(Fault("truncated", "the stream ended without a finish reason"))
        read = [proposed(call, self._world.redact) for call in got.calls]
        if got.finish in STOPPED:
            return self.failed(Fault("truncated", f"the service broke the reply off: {got.finish}"))
        if got.finish not in ENDED and any(map(cut, got.calls, read)):
            why = "the length limit" if got.finish == "length" else f"the end ({one_line(got.finish)})"
            return self.failed(Fault("truncated", f"{why} fell inside a tool call"))
        text = self._partial()
        if got.finish == "refusal" or (got.refusal and not text.strip() and not read):
            return self.failed(Fault("refused", one_line(got.refusal) or _REFUSED))
        if not text.strip() and not read:
            if got.finish == "content_filter":
                return self.failed(Fault("refused", "the provider's content filter kept the reply"))
            return self.failed(Fault("empty", "the reply held neither text nor a call"))
        return ModelReplied(
            self._effect.id,
            text=text,
            calls=read,
            blocks=blocks_of(got, self._effect.use, self._world.redact),
            finish=got.finish,
            model=self._effect.use,
            usage=self._spent(whole=True),
            request=self._request.digest if self._request else "",
            tokens=size(text, read),
            estimated=self._request.tokens() if self._request else 0,
            faults=self._faults(text, read),
            confidence=got.certainty.ppm,
        )

    def _faults(self, text: str, calls: list[ProposedCall]) -> tuple[str, ...]:
        """What another tier may be asked for."""
        tools = self._request.tools if self._request else []
        found = faults_of(
            self._world.machine.models[self._effect.model],
            text=text,
            calls=calls,
            finish=self._got.finish,
            refusal=self._got.refusal,
            offered={str(tool["function"]["name"]) for tool in tools},
            confidence=self._got.certainty.ppm,
        )
        if self._effect.use.startswith(RULES):  # the words of the spec's author need fit no schema
            found = tuple(fault for fault in found if fault != "schema")
        return found

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
            tokens=size(known.text, known.calls),
        )

    def _spent(self, *, whole: bool) -> TokenUsage:
        """What the attempt consumed: as reported, else estimated, nothing when nothing came.

        Of a reply that broke off the count of the input may have come, and a first one of the output.
        """
        told, request = self._reader.usage if self._reader else None, self._request
        free = self._effect.use.startswith(RULES)  # no model has answered
        if free or request is None or (told is None and not self._got.chars):
            return TokenUsage(cost=0)
        if told is None or not whole:
            said = estimate(self._said())
            if told is None:
                told = Told(request.tokens(), said)
            elif isinstance(told, Told) and told.completion_tokens < said:
                told = replace(told, completion_tokens=said)
        details = getattr(told, "prompt_tokens_details", None)
        return TokenUsage(
            input_tokens=count(told.prompt_tokens),
            output_tokens=count(told.completion_tokens),
            cached_tokens=count(getattr(details, "cached_tokens", None)),
            cost=model_litellm.cost_of(self._effect.use, told),
        )

    def _said(self) -> str:
        """Everything this attempt brought, to be counted."""
        got = self._got
        return got.thought + got.fresh + "".join("".join(call.args) for call in got.calls)


async def _wired(start: Awaitable[Any], tap: Tap) -> Any:
    """The stream to read: our own where the protocol is known, else the library's."""
    library = await start
    return Wire(tap, library) if tap.ours else library


def _worth_keeping(reply: ModelReplied) -> bool:
    """Whether a reply may be replayed: whole, without a fault and without a broken call."""
    broken = reply.faults or any(c.problem for c in reply.calls)
    return reply.finish in ("stop", "tool_calls") and not broken


def _no_key(name: str, effect: CallModel) -> Fault:
    """The fault of a missing key, with both ways out."""
    remedy = f"set {name}, or run offline with --model {effect.model}=scripted/FILE"
    return Fault("no_key", f"{effect.use} needs the environment variable {name}: {remedy}")

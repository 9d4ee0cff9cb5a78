"""The scripted models as a provider (see `loopspec.hooks.ModelProvider`): our own, by the public door."""

from collections.abc import AsyncGenerator

from loopspec.events import TokenUsage
from loopspec.hooks import ModelAsk, ModelFacts, Piece, ProviderFailed
from loopspec.performers import scripted
from loopspec.performers.script_file import ScriptedUsage


class ScriptedProvider:
    """Plays the script a model's name names."""

    def facts(self, name: str) -> ModelFacts:
        """What the script says of itself; it costs what it says. Raises `LoopspecError` for a bad one."""
        content = scripted.load(scripted.PREFIX + name).content
        return ModelFacts(window=content.window, priced=True, prefill=content.prefill)

    async def stream(self, ask: ModelAsk) -> AsyncGenerator[Piece, None]:
        """The reply in pieces."""
        pieces = scripted.load(scripted.PREFIX + ask.name).play(ask.messages)
        try:
            async for piece in pieces:
                told = piece.usage
                yield Piece(
                    text=piece.text,
                    thinking=piece.thinking,
                    signature=piece.signature,
                    call=piece.call,
                    usage=_usage(told) if told is not None else None,
                    finish=piece.finish,
                )
        except scripted.ScriptedFault as fault:
            raise ProviderFailed(fault.status, fault.message, fault.retry_after) from None
        finally:
            await pieces.aclose()


def _usage(told: ScriptedUsage) -> TokenUsage:
    """What a script says a reply has cost."""
    return TokenUsage(told.input_tokens, told.output_tokens, cost=told.cost)

"""Rules provider: a tier that answers from patterns in the spec, without a model and without a network.

Rules of this file:
1. The same conversation gives the same reply. The rules are tried in order against the last message of a
   person; the first that matches answers.
2. A rule may propose a call, which goes through the gate as every call does. When the results have come,
   its `reply` says what came of it; without one the next tier does.
3. What no rule answers is no answer at all: `no_match`, and the next tier is asked.
4. Patterns take linear time (see `machine.patterns`), texts are rendered in the sandbox of all texts.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

from loopspec.codec import canonical_json
from loopspec.hooks import ModelAsk, ModelFacts, Piece, ProviderFailed
from loopspec.machine import patterns
from loopspec.machine.texts import TextError, render

RULES: Final = "rules"
"""The parameter that holds the rules."""


class NoMatch(ProviderFailed):
    """No rule answers this conversation."""

    def __init__(self, why: str) -> None:
        """`why` is told to people."""
        super().__init__(422, why)


class RulesProvider:
    """Answers by rules: the tiers of a spec that have `rules`."""

    def facts(self, name: str) -> ModelFacts:
        """It costs nothing and has no window."""
        return ModelFacts(priced=True)

    async def stream(self, ask: ModelAsk) -> AsyncGenerator[Piece, None]:
        """The reply of the first rule that matches; raises `ProviderFailed`."""
        for piece in answer(ask.params.get(RULES) or (), ask.messages):
            yield piece


def answer(
    rules: Sequence[Mapping[str, Any]], messages: Sequence[Mapping[str, Any]]
) -> tuple[Piece, ...]:
    """What the rules answer to a conversation; raises `NoMatch`, or `ProviderFailed` for a text that
    cannot be rendered."""
    said, results = heard(messages)
    for number, rule in enumerate(rules):
        groups = patterns.read(rule["match"]).search(said)
        if groups is None:
            continue
        try:
            return _reply(rule, groups, results)
        except TextError as err:
            raise ProviderFailed(400, f"rule {number + 1}: {err}") from None
    raise NoMatch("no rule matches what was said")


def heard(messages: Sequence[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """The last message of a person, and the results of the calls proposed for it."""
    last = max((n for n, m in enumerate(messages) if m.get("role") == "user"), default=-1)
    if last < 0:
        raise NoMatch("nobody has said anything yet")
    content = messages[last].get("content")
    after = messages[last + 1 :]
    results = [str(m.get("content") or "") for m in after if m.get("role") == "tool"]
    if after and (len(after) != len(results) + 1 or not results):
        raise NoMatch("a model has answered already")
    return content if isinstance(content, str) else "", results


def _reply(rule: Mapping[str, Any], groups: Mapping[str, str], results: list[str]) -> tuple[Piece, ...]:
    """The pieces of one rule's reply; raises `TextError`, or `NoMatch` where it has nothing to say."""
    data = {"groups": dict(groups), "result": "\n".join(results)}
    sure = int(rule.get("confidence", -1))
    call, spoken = rule.get("call"), rule.get("reply")
    if call and not results:
        args = canonical_json(_rendered(call.get("args") or {}, data))
        return (
            Piece(call=(0, str(call["tool"]), args), confidence=sure),
            Piece(finish="tool_calls"),
        )
    if spoken is None or (results and not call):
        raise NoMatch("the rule that matches has no reply")
    return Piece(text=render(spoken, data), confidence=sure), Piece(finish="stop")


def _rendered(value: Any, data: Mapping[str, Any]) -> Any:
    """Arguments with their texts rendered; raises `TextError`."""
    if isinstance(value, str):
        return render(value, data)
    if isinstance(value, dict):
        return {key: _rendered(part, data) for key, part in value.items()}
    if isinstance(value, list):
        return [_rendered(part, data) for part in value]
    return value


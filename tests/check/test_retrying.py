"""Keys of `retry` and `breaker` without an effect, and routes of the notices."""

import pytest
from spec.kit import checked

from loopspec.machine.model import ModelDecl
from loopspec.spec.parse import Compiled

SMALL = """\
loopspec: 1
name: small
version: 1.0.0
models: {main: {use: x/one, %s}}
budgets: {turns: 5}
initial: ask
states:
  ask:
    kind: model
    on: {model.replied: end, model.failed: end, model.overflowed: end, context.pressed: end,
      budget.exhausted: end, user.interrupted: end%s}
  %s
  end: {type: final}
"""


def of(model: str = "", routes: str = "", states: str = "more: {type: final}") -> list[str]:
    """What is said of a small spec, its unreached state aside."""
    text = SMALL % (model or "window: 9k", routes, states)
    return [f"{d.code} {d.fault}" for d in checked(text).diagnostics if "`more`" not in d.fault]


def decl(model: str) -> ModelDecl:
    """The model as it is compiled."""
    made: Compiled = checked(SMALL % (model, "", "more: {on: {user.message: end}}"))
    assert made.draft is not None
    return made.draft.machine.models["main"]


def test_the_keys_become_the_declaration() -> None:
    made = decl(
        "retry: {attempts: 7, base: 2s, cap: 30s, longest: 0s, budget: 1h}, breaker: {failures: 0}"
    )
    assert (made.attempts, made.base, made.cap) == (7, 2_000_000, 30_000_000)
    assert (made.longest, made.budget, made.breaker) == (0, 3_600_000_000, 0)
    assert decl("breaker: {failures: 9, cooldown: 90s}").cooldown == 90_000_000


WAITS = "retry: {attempts: 3, base: 2s, cap: 30s, longest: 2m, budget: 5m}"


def test_what_has_an_effect_is_not_told() -> None:
    assert of(WAITS) == of(f"fallbacks: [x/two], breaker: {{failures: 2, cooldown: 1m}}, {WAITS}") == []
    assert of("fallbacks: [x/two], breaker: {failures: 0}") == []


DEAD = {
    "retry: {attempts: 1, base: 2s}": ["`base` has no effect: with one attempt nothing is waited for"],
    "retry: {attempts: 1, cap: 2s, longest: 1m, budget: 1m}": [
        f"`{key}` has no effect: with one attempt nothing is waited for"
        for key in ("cap", "longest", "budget")
    ],
    "retry: {base: 30s, cap: 10s}": [
        "`base` has no effect: every wait is cut to `cap`, which is under `base`"
    ],
    "retry: {longest: 20m}": [
        "`longest` has no effect: such a wait is longer than all waits may take (`budget`)"
    ],
    "breaker: {cooldown: 1m}": [
        "`breaker` has no effect: without `fallbacks` there is no other model to ask instead"
    ],
    "fallbacks: [x/two], breaker: {failures: 0, cooldown: 1m}": [
        "`cooldown` has no effect: `failures: 0` switches the breaker off"
    ],
}


@pytest.mark.parametrize("model", DEAD)
def test_what_has_no_effect_is_told(model: str) -> None:
    assert of(model) == [f"LS709 {fault}" for fault in DEAD[model]]


# ------------------------------------------------------------ notices


@pytest.mark.parametrize("name", ["model.rate_limited", "model.overloaded"])
def test_a_notice_may_be_routed_needs_no_route_and_no_last_word(name: str) -> None:
    assert of(routes=f", {name}: end") == []
    assert of(routes=f", {name}: [{{guard: event.wait > 60000000, target: end}}]") == []
    assert of(routes=f', {name}: {{say: "{{{{ event.use }}}} is busy", actions: []}}') == []
    wrong = of(routes=f", {name}: {{guard: event.pause > 1, target: end}}")
    assert [found[:5] for found in wrong] == ["LS401"]


def every(routes: str, states: str) -> list[str]:
    """Every diagnostic of a small spec with these routes and states."""
    return [f"{d.code} {d.fault}" for d in checked(SMALL % ("window: 9k", routes, states)).diagnostics]


def test_a_notice_comes_only_where_a_model_is_asked() -> None:
    states = "more: {kind: input, on: {user.message: ask, model.overloaded: end}}"
    found = every(", model.rate_limited: more", states)
    assert found == ["LS712 `model.overloaded` never comes here: `more` cannot end with it"]


def test_round_by_notices_alone_nothing_is_spent() -> None:
    found = every(", model.rate_limited: more", "more: {always: [{target: ask}]}")
    through = "leads round through `ask`, `more` without spending a declared budget"
    assert found == [f"LS708 `model.rate_limited` {through}"]


def test_a_pattern_does_not_take_a_notice_before() -> None:
    states = "more: {kind: input, on: {user.message: ask}}"
    assert every(', "model.*": end, model.rate_limited: more', states) == []
    assert every(', "*": end, model.rate_limited: more', states) == []

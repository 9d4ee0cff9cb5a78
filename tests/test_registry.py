"""What a plugin brings is looked at before any session starts."""

import json
from types import ModuleType
from typing import Any

import pytest

from loopspec.effects import Effect
from loopspec.events import EffectFailed, Kept
from loopspec.hooks import World, hook
from loopspec.machine.model import Kind
from loopspec.registry import PluginError, build

ANY = json.dumps({"type": "object"})


def kind(**changes: Any) -> Kind:
    """A kind that is right, but for what is changed."""
    right: dict[str, Any] = {
        "name": "poll",
        "shape": "one",
        "effect": "perform",
        "performer": "poll",
        "endings": {"poll.done": ANY},
    }
    return Kind(**(right | changes))


class Polls:
    """A performer, as far as loading one looks at it."""

    async def perform(self, effect: Effect, world: World) -> Kept:
        return EffectFailed(effect.id, "not in this test")


def brought(*kinds: Kind) -> ModuleType:
    """A plugin with these kinds and one performer."""

    @hook
    def loopspec_kinds() -> list[Kind]:
        return list(kinds)

    @hook
    def loopspec_performers() -> dict[str, Any]:
        return {"poll": Polls}

    made = ModuleType("mine")
    vars(made).update(loopspec_kinds=loopspec_kinds, loopspec_performers=loopspec_performers)
    return made


def fields(*names: str) -> dict[str, str]:
    """An ending with fields of these names."""
    return {"poll.done": json.dumps({"properties": {name: {"type": "string"} for name in names}})}


def test_a_kind_that_is_right_is_taken() -> None:
    made = kind(endings=fields("count", "last_seen"))
    assert build([("mine", "1", brought(made))]).kinds == {"poll": made}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"schema": "{"}, "the schema of kind `poll` is no JSON"),
        ({"schema": "[]"}, "the schema of kind `poll` does not describe an object"),
        ({"schema": '{"type": "string"}'}, "the schema of kind `poll` does not describe an object"),
        ({"endings": {"poll.done": "nonsense"}}, "the schema of the ending `poll.done` is no JSON"),
        ({"endings": fields("in")}, "has the field `in`, which guards could not read"),
        ({"endings": fields("my-field")}, "has the field `my-field`, which guards could not read"),
        ({"endings": fields("")}, "has the field ``, which guards could not read"),
        ({"endings": fields("a_b", "aB")}, "has the fields `a_b` and `aB`, too much alike"),
        ({"performer": "other"}, "names the performer `other`, which no plugin brings"),
        ({"effect": "fly"}, "emits `fly`"),
        ({"shape": "none"}, "the shape `none` does not fit the effect `perform`"),
    ],
)
def test_a_kind_that_is_wrong_is_refused_and_named(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(PluginError) as raised:
        build([("mine", "1", brought(kind(**changes)))])
    assert raised.value.place == "plugin mine"
    assert fault in raised.value.fault


def test_two_plugins_cannot_bring_the_same_kind() -> None:
    one, two = brought(kind()), brought(kind())
    with pytest.raises(PluginError, match="already brought by plugin first"):
        build([("first", "1", one), ("second", "1", two)])

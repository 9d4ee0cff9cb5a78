"""Crew: which performer does which effect."""

from loopspec.effects import Effect, SurveyHost, TakeBoundary
from loopspec.errors import LoopspecError
from loopspec.hooks import Performer
from loopspec.machine.model import Machine
from loopspec.registry import Registry
from loopspec.registry_checks import check_methods

BOUNDARIES = "workspace"
HOST = "host"


class Crew:
    """The performers of one session, made when they are first needed."""

    def __init__(self, registry: Registry, machine: Machine) -> None:
        """`registry` brings the factories."""
        self._registry = registry
        self._machine = machine
        self._made: dict[str, Performer] = {}

    def name(self, effect: Effect) -> str:
        """The name of the performer of an effect: its state's kind says it; taking a boundary and looking
        at the host are asked for by states of another kind."""
        if isinstance(effect, TakeBoundary):
            return BOUNDARIES
        if isinstance(effect, SurveyHost):
            return HOST
        kind = self._machine.kind_of(effect.state)
        return kind.performer if kind is not None else ""

    def of(self, effect: Effect) -> Performer:
        """The performer of an effect; raises `LoopspecError` when its plugin is gone."""
        name = self.name(effect)
        found = self._made.get(name)
        if found is None:
            factory = self._registry.performers.get(name)
            if factory is None:
                raise LoopspecError(f"no installed plugin brings the performer `{name}`")
            found = factory()
            check_methods(self._registry.origins.get(f"performer {name}", "?"), "performer", name, found)
            self._made[name] = found
        return found


def in_words(effect: Effect) -> str:
    """An effect in a few words, for people."""
    name = str(effect.__struct_config__.tag).replace("_", " ")
    target = getattr(effect, "tool", "") or getattr(effect, "use", "") or getattr(effect, "kind", "")
    return f"{name} {target}".strip()

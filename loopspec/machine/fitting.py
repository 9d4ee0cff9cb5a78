"""Fitting: whether what goes before every conversation fits a window, and in which of a state's profiles.

Before the first message stand the system prompt and the schemas of the tools; after it must be room for a
message and its reply (the reserve). Where all of that is larger than the window, no compaction helps: a
smaller profile of the state is used (`smaller:`), or the model is not asked.

Rules of this file:
1. The profile is chosen for the window of the very model that is asked, anew for each attempt; the first
   that fits is taken, and a window nobody knows fits everything.
2. What does not fit is told with every number and the sum.
"""

import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from loopspec.machine.draft import Draft
from loopspec.machine.model import ContextRules, Machine, Profile, State
from loopspec.machine.prompts import Prompt, prompt_of
from loopspec.machine.texts import TextError
from loopspec.tokens import scaled

WINDOW: Final = "window"
"""Why a model failed that was not asked, because its window is too small."""
SHARE: Final = 8
MOST_RESERVED: Final = 1024
"""Without `context.reserve` an eighth of the window is reserved, and no more than this."""

Made: TypeAlias = Callable[[str, Draft], Prompt]


class PromptFault(Exception):
    """A prompt could not be rendered."""

    def __init__(self, name: str, fault: str) -> None:
        """`name` is the declared prompt's."""
        super().__init__(fault)
        self.name = name


class Need(NamedTuple):
    """What one profile takes, in tokens as the provider is likely to count them."""

    profile: Profile
    made: Prompt | None
    prompt: int
    tools: int
    many: int

    @property
    def total(self) -> int:
        """The prompt and the tools."""
        return self.prompt + self.tools


class Fit(NamedTuple):
    """The profile that fits. `name` is empty for the whole one; `tokens` is by estimate."""

    name: str
    made: Prompt | None
    tokens: int


class Misfit(NamedTuple):
    """No profile fits the window of `use`."""

    use: str
    window: int
    reserve: int
    needs: tuple[Need, ...]

    def __str__(self) -> str:
        """The arithmetic, in a line."""
        parts = "; ".join(self._sum(need) for need in self.needs)
        return f"the window of {self.use} has {self.window:,} tokens, and {parts}"

    def _sum(self, need: Need) -> str:
        """One profile's numbers."""
        profile = need.profile
        what = f"profile {profile.name} takes" if profile.name else "the request takes"
        named = f"prompt `{profile.prompt}`" if profile.prompt else "no prompt"
        many = "1 tool" if need.many == 1 else f"{need.many} tools"
        parts = f"{named} {need.prompt:,} + {many} {need.tools:,} + reserve {self.reserve:,}"
        return f"{what} {parts} = {need.total + self.reserve:,}"


def fit(
    draft: Draft, state: State, use: str, window: int, made: Made = prompt_of
) -> Fit | Misfit:
    """The profile in which `use` is asked from `state`; raises `PromptFault`.

    `made` renders a prompt, and raises `TextError`.
    """
    needs: list[Need] = []
    reserve = reserved(draft.machine.context, window)
    for need in _needs(draft, state, made):
        if not window or need.total + reserve <= window:
            tokens = (need.made.tokens if need.made else 0) + _tools(draft.machine, need.profile)[1]
            return Fit(need.profile.name, need.made, tokens)
        needs.append(need)
    return Misfit(use, window, reserve, tuple(needs))


def reserved(rules: ContextRules, window: int) -> int:
    """Tokens that must be left for a message and its reply."""
    return rules.reserve or min(window // SHARE, MOST_RESERVED)


def profiles_of(state: State) -> tuple[Profile, ...]:
    """The state's profiles, the whole one (without a name) first."""
    return (Profile("", state.prompt, listed(state.config)), *state.smaller)


def profile_of(state: State, name: str) -> Profile:
    """The profile of a name; the whole one, if there is none of it."""
    found = profiles_of(state)
    return next((profile for profile in found if profile.name == name), found[0])


def tool_schemas(machine: Machine, profile: Profile) -> list[dict[str, Any]]:
    """The tools that a profile offers, as OpenAI function tools: all of the machine's, unless it lists
    some."""
    only = profile.tools
    return [machine.tool_schema(name) for name in machine.tools if only is None or name in only]


@lru_cache(maxsize=256)
def listed(config: str) -> tuple[str, ...] | None:
    """The tools a state's configuration (JSON text) lists, None when it lists none."""
    found = json.loads(config).get("tools")
    return tuple(found) if isinstance(found, list) else None


def _needs(draft: Draft, state: State, made: Made) -> Iterator[Need]:
    """What each profile takes; a smaller one is looked at only when the one before does not fit."""
    machine, scale = draft.machine, draft.usage.scale
    for profile in profiles_of(state):
        prompt = None
        if profile.prompt:
            try:
                prompt = made(machine.prompts[profile.prompt], draft)
            except TextError as err:
                raise PromptFault(profile.prompt, str(err)) from None
        many, tools = _tools(machine, profile)
        said = scaled(prompt.tokens if prompt else 0, scale)
        yield Need(profile, prompt, said, scaled(tools, scale), many)


def _tools(machine: Machine, profile: Profile) -> tuple[int, int]:
    """How many tools a profile offers, and the tokens of their schemas by estimate."""
    sizes = machine.tool_tokens
    offered = sizes if profile.tools is None else [name for name in profile.tools if name in sizes]
    return len(offered), sum(sizes[name] for name in offered)

"""Providers: the models plugins bring, by the prefix of their name. Our offline one is among them.

Rules of this file:
1. A provider is made once per process, when its first model is looked at.
2. What it says about a model is believed, and asked again whenever it is needed: files change.
"""

from functools import cache
from typing import NamedTuple

from loopspec.hooks import ModelFacts, ModelProvider
from loopspec.registry import installed
from loopspec.registry_checks import check_methods


class Found(NamedTuple):
    """A provider, and what the model is called there."""

    provider: ModelProvider
    name: str

    def facts(self) -> ModelFacts:
        """What is known about the model; raises `LoopspecError` if it cannot be used."""
        return self.provider.facts(self.name)


def find(use: str) -> Found | None:
    """The provider of a model named `prefix/name`, None for one of litellm's own."""
    prefix, slash, name = use.partition("/")
    if not slash or prefix not in installed().models:
        return None
    return Found(made(prefix), name)


@cache
def made(prefix: str) -> ModelProvider:
    """The provider of a prefix; raises `LoopspecError` when its plugin breaks its contract."""
    registry = installed()
    provider = registry.models[prefix]()
    check_methods(registry.origins[f"model {prefix}"], "model", prefix, provider)
    return provider


def prefixes() -> list[str]:
    """Every prefix a plugin brings."""
    return list(installed().models)

"""Providers: the models plugins bring, by the prefix of their name. Our offline one is among them.

Rules of this file:
1. A provider is made once per process, when its first model is looked at.
2. What it says about a model is believed, and asked again whenever it is needed: files change.
"""

from functools import cache
from typing import NamedTuple

from loopspec.errors import LoopspecError
from loopspec.hooks import ModelFacts, ModelProvider
from loopspec.registry import installed
from loopspec.registry_checks import PluginError, check_methods


class Found(NamedTuple):
    """A provider, and what the model is called there."""

    provider: ModelProvider
    prefix: str
    name: str

    def facts(self) -> ModelFacts:
        """What is known about the model; raises `LoopspecError` if it cannot be used."""
        try:
            return self.provider.facts(self.name)
        except LoopspecError:
            raise
        except Exception as err:  # a plugin's own code
            raise _broken(self.prefix, err) from err


def find(use: str) -> Found | None:
    """The provider of a model named `prefix/name`, None for one of litellm's own."""
    prefix, slash, name = use.partition("/")
    if not slash or prefix not in installed().models:
        return None
    return Found(made(prefix), prefix, name)


@cache
def made(prefix: str) -> ModelProvider:
    """The provider of a prefix; raises `LoopspecError` when its plugin breaks its contract."""
    registry = installed()
    try:
        provider = registry.models[prefix]()
    except Exception as err:  # a plugin's own code
        raise _broken(prefix, err) from err
    check_methods(registry.origins[f"model {prefix}"], "model", prefix, provider)
    return provider


def _broken(prefix: str, err: Exception) -> PluginError:
    """A provider whose own code failed, named."""
    origin = installed().origins.get(f"model {prefix}", "")
    fault = f"the provider of `{prefix}/` failed: {type(err).__name__}: {err}"
    return PluginError(fault, place=f"plugin {origin}", remedy="repair or uninstall it")

"""Windows: how many tokens a model takes, asked or looked up, without loading litellm where that helps.

Rules of this file:
1. A provider that can ask its server is asked (`hooks.AsksWindow`); it knows better than any table.
2. A fallback's window is read from the table beside litellm, not by importing it: a small machine whose
   fallback is in a cloud need not pay 160 MB before that cloud is asked.
"""

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec

from loopspec.performers import model_litellm, providers

TABLE: Final = "model_prices_and_context_window_backup.json"
"""litellm's list of models, in its package; it is what its own tables are made from."""


class _Row(msgspec.Struct):
    """The parts of a row that are read here. Some rows have words where a number is meant."""

    litellm_provider: Any = None
    max_input_tokens: Any = None
    max_tokens: Any = None


def asks(use: str) -> bool:
    """Whether the model's provider can ask a server for the window."""
    found = providers.find(use)
    return found is not None and callable(getattr(found.provider, "window", None))


def window_asked(use: str, params: Mapping[str, Any]) -> int:
    """The window that the provider's server tells, 0 if it does not; raises `LoopspecError`.

    Blocks for seconds at most.
    """
    found = providers.find(use)
    if found is None:
        return 0
    ask: Any = found.provider
    window = ask.window(found.name, params)
    return window if isinstance(window, int) and window > 0 else 0


def window_listed(use: str) -> int:
    """The window of a model by its provider's facts or litellm's table, 0 for unknown."""
    if providers.find(use) is not None:
        return model_litellm.window_of(use)
    provider, slash, bare = use.partition("/")
    row = _table().get(use)
    if row is None and slash:
        row = _table().get(bare)
        # The bare name may be another provider's model with another window.
        if row is not None and str(row.litellm_provider).removesuffix("_chat") != provider:
            row = None
    numbers = (row.max_input_tokens, row.max_tokens) if row is not None else ()
    return next((n for n in numbers if isinstance(n, int) and n > 0), 0)


@cache
def _table() -> dict[str, _Row]:
    """litellm's table; empty where it is not installed, or not as expected."""
    found = find_spec("litellm")
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        path = Path(folder) / TABLE
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, _Row])
        except (OSError, msgspec.DecodeError):
            continue
    return {}

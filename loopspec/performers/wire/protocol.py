"""What the checkers of the three protocols share."""

from collections.abc import Iterator
from typing import Any, Final

from loopspec.performers.wire.chunks import Chunk
from loopspec.performers.wire.faults import Damage

MAX_TOKENS: Final = 1_000_000_000


class Protocol:
    """A checker of one stream; it makes chunks of its events.

    `reads`: the chunks are the whole reply (else it only looks whether the stream is whole). `whole`:
    everything the reply needs has come. `over`: the protocol's last event has come. `finish` is why the
    provider ended the reply, in the words of OpenAI's chat.
    """

    reads = True

    def __init__(self) -> None:
        """Nothing has come."""
        self.whole = False
        self.over = False
        self.finish = ""

    def take(self, name: str, data: dict[str, Any]) -> Iterator[Chunk]:
        """What the event called `name` brings; raises `Damage`."""
        raise NotImplementedError


def piece(given: Any, key: str) -> str:
    """A text field of an object, empty when it is absent or null; raises `Damage` for anything else."""
    value = given.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Damage(f"`{key}` is no text")
    return value


def need(given: Any, key: str) -> str:
    """A text field that must be there."""
    if not isinstance(given, dict) or not isinstance(given.get(key), str):
        raise Damage(f"no text `{key}`")
    return str(given[key])


def whole_number(given: Any, key: str) -> int:
    """A number field that must be there, not below zero."""
    value = given.get(key) if isinstance(given, dict) else None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Damage(f"no whole number `{key}`")
    return value


def mapping(given: Any, key: str) -> dict[str, Any]:
    """An object that must be there."""
    value = given.get(key) if isinstance(given, dict) else None
    if not isinstance(value, dict):
        raise Damage(f"no object `{key}`")
    return value


def count(given: Any, key: str) -> int:
    """A number of tokens, 0 for anything that is none: usage is nothing to break a reply for."""
    return number(given.get(key)) if isinstance(given, dict) else 0


def number(value: Any) -> int:
    """A number of tokens, 0 for anything that is none (no request and no reply takes `MAX_TOKENS`)."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 < value <= MAX_TOKENS else 0

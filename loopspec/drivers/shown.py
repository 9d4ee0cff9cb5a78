"""Shown: live pieces on their way to whoever watches, without secrets.

Rules of this file:
1. A piece is shown at once, but for an end that may be the beginning of a secret (see `streamed`).
2. What is held back of a stream is shown before the answer of its effect. Streams of one effect may take
   turns: each keeps what it holds back, so that no turn cuts a secret in two.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from loopspec.events import CallDelta, Live, TextDelta, ThinkingDelta, ToolOutput
from loopspec.governance.redact import Redactor
from loopspec.governance.streamed import Streamed

Piece: TypeAlias = TextDelta | ThinkingDelta | CallDelta | ToolOutput
PIECES: Final = (TextDelta, ThinkingDelta, CallDelta, ToolOutput)


class Shown:
    """Redacts live events; one for a session."""

    def __init__(self, redactor: Redactor, watch: Callable[[Live], None]) -> None:
        """`watch` receives the events; it must not raise."""
        self._redactor = redactor
        self._watch = watch
        self._streams: dict[str, dict[tuple[type, int], tuple[Streamed, Piece]]] = {}

    def __call__(self, event: Live) -> None:
        """Show an event, redacted."""
        if not isinstance(event, PIECES):
            self._watch(_clean(event, self._redactor))
            return
        key = (type(event), event.index if isinstance(event, CallDelta) else 0)
        streams = self._streams.setdefault(event.effect, {})
        if key not in streams:
            streams[key] = (Streamed(self._redactor), event)
        for other, (stream, first) in streams.items():
            if other != key and (text := stream.pause()):
                self._more(first, text)
        text = streams[key][0].push(event.text)
        if text or not event.text or (isinstance(event, CallDelta) and event.tool):
            self._watch(msgspec.structs.replace(event, text=text))

    def settled(self, effect: str) -> None:
        """Nothing more comes of an effect's streams: show what was held back."""
        self._finish(self._streams.pop(effect, {}))

    def _finish(self, streams: dict[tuple[type, int], tuple[Streamed, Piece]]) -> None:
        """End streams."""
        for stream, first in streams.values():
            if text := stream.rest():
                self._more(first, text)

    def _more(self, first: Piece, text: str) -> None:
        """Show what was held back of the stream that began with `first`."""
        made = msgspec.structs.replace(first, text=text)
        self._watch(msgspec.structs.replace(made, tool="") if isinstance(made, CallDelta) else made)


def _clean(event: Live, redactor: Redactor) -> Live:
    """An event that is whole, redacted at once."""
    words = {"what", "text"} & set(event.__struct_fields__)
    return msgspec.structs.replace(event, **{w: redactor.text(getattr(event, w)) for w in words})

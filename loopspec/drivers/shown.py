"""Shown: live pieces on their way to whoever watches, without secrets.

Rules of this file:
1. A piece is shown at once, but for an end that may be the beginning of a secret (see `streamed`).
2. What is held back of a stream is shown before the answer of its effect. Streams of one effect may take
   turns: each keeps what it holds back, so that no turn cuts a secret in two.
3. A reply that goes on where another broke off is one text: a secret that the break cuts in two does not
   show either (but for its beginning, which stood alone when the first one ended).
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from loopspec.events import (
    CallDelta,
    Live,
    StreamContinued,
    StreamDiscarded,
    TextDelta,
    ThinkingDelta,
    ToolOutput,
)
from loopspec.governance.redact import Redactor
from loopspec.governance.streamed import Streamed

Piece: TypeAlias = TextDelta | ThinkingDelta | CallDelta | ToolOutput
PIECES: Final = (TextDelta, ThinkingDelta, CallDelta, ToolOutput)
ENDS: Final = 16
"""Ends of texts that are remembered, in case a reply goes on from one."""


class Shown:
    """Redacts live events; one for a session."""

    def __init__(self, redactor: Redactor, watch: Callable[[Live], None]) -> None:
        """`watch` receives the events; it must not raise."""
        self._redactor = redactor
        self._watch = watch
        self._streams: dict[str, dict[tuple[type, int], tuple[Streamed, Piece]]] = {}
        self._ends: dict[str, str] = {}  # what was held back of a text when its effect settled
        self._told: dict[str, str] = {}  # and is part of a text that goes on from it

    def __call__(self, event: Live) -> None:
        """Show an event, redacted."""
        if not isinstance(event, PIECES):
            if isinstance(event, StreamDiscarded):
                self._streams.pop(event.effect, None)  # nothing more of it is shown
            elif isinstance(event, StreamContinued):
                self._go_on(event)
            self._watch(_clean(event, self._redactor))
            return
        if isinstance(event, CallDelta) and event.tool:
            event = msgspec.structs.replace(event, tool=self._redactor.text(event.tool))
        key = (type(event), event.index if isinstance(event, CallDelta) else 0)
        streams = self._streams.setdefault(event.effect, {})
        if key not in streams:
            streams[key] = (Streamed(self._redactor), event)
        for other, (stream, first) in streams.items():
            if other != key and (text := self._new(first.effect, stream.pause(), self._end(first))):
                self._more(first, text)
        text = streams[key][0].push(event.text)
        text = self._new(event.effect, text, self._end(event))
        if text or not event.text or (isinstance(event, CallDelta) and event.tool):
            self._watch(msgspec.structs.replace(event, text=text))

    def settled(self, effect: str) -> None:
        """Nothing more comes of an effect's streams: show what was held back."""
        self._finish(self._streams.pop(effect, {}))

    def _finish(self, streams: dict[tuple[type, int], tuple[Streamed, Piece]]) -> None:
        """End streams."""
        for stream, first in streams.values():
            text = stream.rest()
            if isinstance(first, TextDelta):
                text = self._new(first.effect, text, self._end(first))
                self._ends[first.effect] = text
                if len(self._ends) > ENDS:
                    self._ends.pop(next(iter(self._ends)))
            if text:
                self._more(first, text)

    def _go_on(self, event: StreamContinued) -> None:
        """A text goes on from another one, whose end may be the beginning of a secret."""
        told = self._ends.pop(event.after, "")
        if told:
            stream, first = Streamed(self._redactor), TextDelta(event.effect, "")
            stream.push(told)
            self._streams.setdefault(event.effect, {})[TextDelta, 0] = (stream, first)
            self._told[event.effect] = told

    def _end(self, piece: Piece) -> str:
        """The end of the text that this piece's text goes on from, once."""
        return self._told.pop(piece.effect, "") if isinstance(piece, TextDelta) else ""

    def _new(self, effect: str, text: str, told: str) -> str:
        """What of `text` was not shown at the end of the text it goes on from."""
        if text and told.startswith(text):
            self._told[effect] = told[len(text) :]
            return ""
        if not text and told:
            self._told[effect] = told
        return text.removeprefix(told)

    def _more(self, first: Piece, text: str) -> None:
        """Show what was held back of the stream that began with `first`."""
        made = msgspec.structs.replace(first, text=text)
        self._watch(msgspec.structs.replace(made, tool="") if isinstance(made, CallDelta) else made)


def _clean(event: Live, redactor: Redactor) -> Live:
    """An event that is whole, redacted at once."""
    words = {"what", "text"} & set(event.__struct_fields__)
    return msgspec.structs.replace(event, **{w: redactor.text(getattr(event, w)) for w in words})

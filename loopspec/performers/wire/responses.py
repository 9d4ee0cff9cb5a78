"""OpenAI's Responses stream, checked, and what each event brings.

Rules of this file:
1. Sequence numbers have no gap, so that a lost, doubled or moved event shows; each event names an item
   that was added, in its place.
2. What is told twice must agree: the pieces of a text with its `done`, both with the finished item, the
   calls with those of the finished response.
3. Only `function_call` is a call of ours; what the provider's own tools did proposes nothing.
4. The reply is whole with `response.completed` or `response.incomplete`, and only with them.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from loopspec.performers.wire.chunks import Cached, CallPiece, Chunk, Delta, Function, Told, chunk
from loopspec.performers.wire.faults import Damage
from loopspec.performers.wire.protocol import Protocol, count, mapping, need, whole_number

REASONING: Final = "reasoning_items"
_BEGIN: Final = frozenset({"response.created", "response.queued", "response.in_progress"})
_TEXT: Final = "response.output_text"
_ARGS: Final = "response.function_call_arguments"
_REFUSAL: Final = "response.refusal"
_THOUGHT: Final = frozenset({"response.reasoning_summary_text", "response.reasoning_text"})
# Under which name `*.done` tells the whole of what its deltas brought.
_WHOLE: Final = ("text", "arguments", "refusal", "input", "code", "transcript")
_Part = tuple[str, int, int]  # event without its ending, output index, index in the item


class Responses(Protocol):
    """One stream of `/responses`."""

    def __init__(self) -> None:
        """Begin."""
        super().__init__()
        self._begun = False
        self._number = -1
        self._items: dict[int, dict[str, Any]] = {}  # as they were added, by output index
        self._ended: set[int] = set()
        self._parts: dict[_Part, list[str]] = {}
        self._done: dict[_Part, str] = {}
        self._calls: dict[int, int] = {}  # output index to the number of the call
        self._thoughts: list[dict[str, Any]] = []  # that stand directly before what comes next
        self._answered = False

    def take(self, name: str, data: dict[str, Any]) -> Iterator[Chunk]:
        """What one event brings."""
        kind = need(data, "type")
        if name and name != kind:
            raise Damage(f"an event called {name!r} that says it is {kind!r}")
        self._in_order(kind, data)
        match kind:
            case "response.output_item.added":
                yield from self._added(data)
            case "response.output_item.done":
                yield from self._ended_item(data)
            case "response.completed" | "response.incomplete":
                yield self._end(kind, mapping(data, "response"))
            case _:
                yield from self._piece(kind, data)

    def _in_order(self, kind: str, data: Mapping[str, Any]) -> None:
        """Check the event's place in the stream."""
        if not self._begun:
            if kind not in _BEGIN:
                raise Damage(f"{kind[:60]} before response.created")
            self._begun = True
        if "sequence_number" not in data:
            return
        number = whole_number(data, "sequence_number")
        due = self._number + 1
        if number != due and not (self._number < 0 and number == 1):
            raise Damage(f"sequence number {number} where {due} was due")
        self._number = number

    def _added(self, data: Mapping[str, Any]) -> Iterator[Chunk]:
        """An item begins."""
        index, item = whole_number(data, "output_index"), mapping(data, "item")
        if index != len(self._items):
            raise Damage(f"item {index} begins where item {len(self._items)} was due")
        self._items[index] = item
        kind = need(item, "type")
        if kind in ("message", "function_call"):
            yield from self._thought()
        elif kind != "reasoning":
            self._thoughts.clear()
        if kind == "function_call":
            self._calls[index] = len(self._calls)
            function = Function(need(item, "name"), "")
            call = CallPiece(self._calls[index], need(item, "call_id"), function)
            yield chunk(Delta(tool_calls=(call,)))

    def _piece(self, kind: str, data: Mapping[str, Any]) -> Iterator[Chunk]:
        """A piece of an item, the end of a text, or an event that brings nothing."""
        stem, _, last = kind.rpartition(".")
        value = data.get("delta")
        if last not in ("delta", "done") or (last == "delta" and not isinstance(value, str)):
            if kind in (f"{_TEXT}.delta", f"{_ARGS}.delta", f"{_REFUSAL}.delta"):
                raise Damage(f"{kind} without text")
            return
        if "output_index" not in data:
            return
        key = self._part(stem, data)
        if last == "done":
            self._same(key, data)
            return
        if key in self._done or key[1] in self._ended:
            raise Damage(f"{kind} after its end")
        self._parts.setdefault(key, []).append(str(value))
        yield from _shown(stem, str(value), self._calls.get(key[1]))

    def _part(self, stem: str, data: Mapping[str, Any]) -> _Part:
        """Which text of which item an event is about."""
        index = whole_number(data, "output_index")
        item = self._items.get(index)
        if item is None:
            raise Damage(f"{stem} of item {index}, which was not added")
        known, given = item.get("id"), data.get("item_id")
        if known and given and known != given:
            raise Damage(f"{stem} of item {index}, with another item's id")
        if stem == _ARGS and index not in self._calls:
            raise Damage("arguments of an item that is no call")
        inner = data.get("content_index", data.get("summary_index", 0))
        return stem, index, inner if isinstance(inner, int) else 0

    def _same(self, key: _Part, data: Mapping[str, Any]) -> None:
        """The pieces of a text, and what is told of the whole."""
        said = "".join(self._parts.get(key, []))
        told = next((data[w] for w in _WHOLE if isinstance(data.get(w), str)), None)
        if told is None and key in self._parts:
            raise Damage(f"{key[0]}.done without its text")
        if told is not None and (key in self._parts or key[0] in (_TEXT, _ARGS)) and told != said:
            raise Damage(f"{key[0]}.done is not the sum of its pieces")
        self._done[key] = said

    def _ended_item(self, data: Mapping[str, Any]) -> Iterator[Chunk]:
        """An item is finished; it must be the one that was received."""
        index, item = whole_number(data, "output_index"), mapping(data, "item")
        begun = self._items.get(index)
        if begun is None or index in self._ended:
            raise Damage(f"item {index} ends, and is not open")
        kind = need(item, "type")
        if kind != begun["type"] or (begun.get("id") and item.get("id") != begun["id"]):
            raise Damage(f"item {index} ends as another one")
        self._ended.add(index)
        match kind:
            case "function_call":
                yield from self._ended_call(index, begun, item)
            case "message":
                self._ended_message(index, item)
            case "reasoning":
                self._thoughts.append(item)
            case _:
                pass

    def _thought(self) -> Iterator[Chunk]:
        """The thinking that leads to the answer. OpenAI takes it back only with the very item that
        followed it, and of what its own tools did nothing is sent back."""
        if self._thoughts and not self._answered:
            yield chunk(Delta(verbatim=tuple((REASONING, item) for item in self._thoughts)))
        self._answered = True
        self._thoughts.clear()

    def _ended_call(
        self, index: int, begun: Mapping[str, Any], item: Mapping[str, Any]
    ) -> Iterator[Chunk]:
        """A call is finished. Its arguments may have come with it only."""
        said, args = self._args(index), need(item, "arguments")
        if any(item.get(word) != begun.get(word) for word in ("name", "call_id")):
            raise Damage(f"call {index} ends as another one")
        fresh = (_ARGS, index, 0) not in self._parts and not said
        if not fresh and args != said:
            raise Damage(f"the arguments of call {index} are not the sum of their pieces")
        self._parts[_ARGS, index, 0] = [args]
        function = Function(None, args if fresh else "")
        call = CallPiece(self._calls[index], None, function, done=True)
        yield chunk(Delta(tool_calls=(call,)))

    def _args(self, index: int) -> str:
        """The arguments of a call that have come."""
        return "".join(self._parts.get((_ARGS, index, 0), []))

    def _ended_message(self, index: int, item: Mapping[str, Any]) -> None:
        """The texts of a finished message are those whose pieces came."""
        parts = item.get("content")
        for n, part in enumerate(parts if isinstance(parts, list) else []):
            stem = {"output_text": _TEXT, "refusal": _REFUSAL}.get(str(part.get("type")))
            word = "refusal" if stem == _REFUSAL else "text"
            said = "".join(self._parts.get((stem or "", index, n), []))
            if stem and need(part, word) != said:
                raise Damage(f"text {n} of item {index} is not the sum of its pieces")

    def _end(self, kind: str, response: Mapping[str, Any]) -> Chunk:
        """The response is finished."""
        for index, item in self._items.items():
            ours = item["type"] in ("message", "function_call")
            if ours and kind == "response.completed" and index not in self._ended:
                raise Damage(f"the response is completed, and item {index} is not")
        output = response.get("output")
        told = [
            (o.get("call_id"), o.get("arguments"))
            for o in (output if isinstance(output, list) else [])
            if isinstance(o, dict) and o.get("type") == "function_call"
        ]
        got = [(self._items[n].get("call_id"), self._args(n)) for n in sorted(self._calls)]
        if kind == "response.completed" and output and told != got:
            raise Damage("the calls of the completed response are not those that came")
        self.whole = self.over = True
        self.finish = self._why(kind, response)
        return chunk(Delta(), self.finish, _usage(response.get("usage")))

    def _why(self, kind: str, response: Mapping[str, Any]) -> str:
        """Why the reply ended, in the words of the chat protocol."""
        if kind == "response.completed":
            return "tool_calls" if self._calls else "stop"
        details = response.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else ""
        return "content_filter" if reason == "content_filter" else "length"


def _shown(stem: str, text: str, call: int | None) -> Iterator[Chunk]:
    """The chunk of a piece, if it is one of the reply's."""
    if stem == _TEXT:
        yield chunk(Delta(text))
    elif stem in _THOUGHT:
        yield chunk(Delta(reasoning_content=text))
    elif stem == _REFUSAL:
        yield chunk(Delta(refusal=text))
    elif stem == _ARGS and call is not None:
        yield chunk(Delta(tool_calls=(CallPiece(call, None, Function(None, text)),)))


def _usage(given: Any) -> Told | None:
    """What the response consumed."""
    if not isinstance(given, dict):
        return None
    asked, said = given.get("input_tokens_details"), given.get("output_tokens_details")
    return Told(
        count(given, "input_tokens"),
        count(given, "output_tokens"),
        prompt_tokens_details=Cached(count(asked, "cached_tokens")),
        reasoning=count(said, "reasoning_tokens"),
    )

"""Breaking: a body and the faults that were ordered become the acts of a server. Rules: see `faults`."""

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, TypeAlias

from loopspec.errors import UsageError
from loopspec.testing.serving.faults import (
    Act,
    Body,
    Corrupt,
    CutAt,
    Drop,
    Duplicate,
    EmptyText,
    ErrorInside,
    Fault,
    LongLine,
    NoFinish,
    Place,
    Split,
    Stall,
    Swap,
    UnknownFields,
    Wait,
)

Frames: TypeAlias = list[bytes]


_OF_FRAMES: Final = (Duplicate, Drop, Swap, ErrorInside, NoFinish, EmptyText, UnknownFields, LongLine)


def broken(frames: Sequence[bytes], faults: Sequence[Fault], path: str, *, streams: bool = True) -> Body:
    """The acts by which `frames` are sent under `faults`; `path` tells the protocol.

    Raises `UsageError` for a fault of a frame, a byte or a text that is not there, and for one of a frame
    in a reply that is no stream.
    """
    made: Frames = list(frames)
    for fault in faults:
        if isinstance(fault, _OF_FRAMES) and not streams:
            raise UsageError(f"{fault} is a fault of a stream, and the reply is none")
        _check(fault, len(made))
        made = _reframed(made, fault, path)
    acts: list[Act] = _pieces(b"".join(made), faults)
    clean = True
    for fault in faults:
        match fault:
            case CutAt(at=at, clean=clean):
                acts = _upto(acts, _byte(at, acts))
            case Corrupt(at=at, to=to):
                acts = _corrupted(acts, _byte(at, acts, needed=1), to)
            case Stall(at=at, seconds=seconds, pings=pings, every=every):
                byte = _byte(at, acts)
                if pings:
                    byte = next((end for end in borders(made) if end >= byte), byte)
                acts = _with(acts, byte, Wait(seconds, pings, every))
            case _:
                pass
    return Body(tuple(act for act in acts if act), clean)


def borders(frames: Sequence[bytes]) -> list[int]:
    """The bytes at which frames end: where a stream may be cut between two of them."""
    out, at = [], 0
    for frame in frames:
        at += len(frame)
        out.append(at)
    return out


def frames_of(body: bytes) -> Frames:
    """The frames of a recorded body: each with the blank line that ends it."""
    out: Frames = []
    start = 0
    marks = (b"\n\n", b"\r\n\r\n")
    while start < len(body):
        found = [(body.find(mark, start), len(mark)) for mark in marks]
        ends = [at + size for at, size in found if at >= 0]
        end = min(ends) if ends else len(body)
        out.append(body[start:end])
        start = end
    return out


# ------------------------------------------------------------ frames


def _check(fault: Fault, frames: int) -> None:
    """A fault of a frame that is not there would be none; raises `UsageError`."""
    match fault:
        case Duplicate(frame=n) | Drop(frame=n):
            named, most = [n], frames - 1
        case Swap(first=a, second=b):
            named, most = [a, b], frames - 1
        case ErrorInside(frame=n) | LongLine(frame=n):
            named, most = [n], frames
        case _:
            return
    if any(not 0 <= n <= most for n in named):
        raise UsageError(f"{fault} names a frame that is not there: the reply has {frames}")


def _reframed(frames: Frames, fault: Fault, path: str) -> Frames:
    """The frames after one fault that concerns frames."""
    match fault:
        case Duplicate(frame=n):
            return [*frames[: n + 1], *frames[n : n + 1], *frames[n + 1 :]]
        case Drop(frame=n):
            return [*frames[:n], *frames[n + 1 :]]
        case Swap(first=a, second=b):
            out = list(frames)
            out[a], out[b] = out[b], out[a]
            return out
        case ErrorInside(frame=n):
            return [*frames[:n], _error(fault, path)]
        case NoFinish():
            return [frame for frame in frames if not _ends(frame)]
        case EmptyText():
            return _with_empty(frames, path)
        case UnknownFields():
            known = [_with_unknown(frame) for frame in frames]
            return _renumbered([*known[:1], *_unknown_event(path), *known[1:]])
        case LongLine(frame=n, size=size):
            return [*frames[:n], b"data: " + b"x" * size + b"\n\n", *frames[n:]]
        case _:
            return frames


def _data(frame: bytes) -> dict[str, object] | None:
    """The object in a frame's data, None for anything else."""
    for line in frame.splitlines():
        if line.startswith(b"data:"):
            try:
                value = json.loads(line[5:])
            except ValueError:
                return None
            return value if isinstance(value, dict) else None
    return None


def _ends(frame: bytes) -> bool:
    """Whether a frame says that the reply is whole."""
    if b"[DONE]" in frame:
        return True
    data = _data(frame) or {}
    ends = ("message_delta", "message_stop", "response.completed", "response.incomplete")
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    return data.get("type") in ends or bool(choice.get("finish_reason"))


def _framed(data: dict[str, object], name: str = "") -> bytes:
    """A frame with this object."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def _error(fault: ErrorInside, path: str) -> bytes:
    """The frame of an error inside a stream."""
    inner: dict[str, object] = {"type": fault.kind, "message": fault.message}
    if path.endswith("/messages"):
        return _framed({"type": "error", "error": inner}, "error")
    if path.endswith("/responses"):
        told: dict[str, object] = {"type": "error", "sequence_number": fault.frame}
        return _framed({**told, "message": fault.message, "code": fault.kind}, "error")
    inner["code"] = fault.status
    return _framed({"error": inner})


def _with_empty(frames: Frames, path: str) -> Frames:
    """The frames with an empty text, which moves the places of the blocks after it."""
    if path.endswith("/messages"):
        out = [_moved(frame) for frame in frames]
        block: dict[str, object] = {"type": "text", "text": ""}
        start: dict[str, object] = {"type": "content_block_start", "index": 0, "content_block": block}
        stop: dict[str, object] = {"type": "content_block_stop", "index": 0}
        names = ("content_block_start", "content_block_stop")
        return [out[0], _framed(start, names[0]), _framed(stop, names[1]), *out[1:]]
    if path.endswith("/responses"):
        return _with_empty_item(frames)
    first = _data(frames[0]) or {}
    empty = [{"index": 0, "delta": {"content": ""}, "finish_reason": None}]
    return [frames[0], _framed({**first, "choices": empty}), *frames[1:]]


def _with_empty_item(frames: Frames) -> Frames:
    """The frames of a response that begins with a message without text."""
    part: dict[str, object] = {"type": "output_text", "text": "", "annotations": []}
    message: dict[str, object] = {"id": "msg_empty", "type": "message", "role": "assistant"}
    ended: dict[str, object] = {**message, "status": "completed", "content": [part]}
    begun: dict[str, object] = {**message, "status": "in_progress", "content": []}
    at: dict[str, object] = {"item_id": "msg_empty", "output_index": 0, "content_index": 0}
    told: list[tuple[str, dict[str, object]]] = [
        ("response.output_item.added", {"output_index": 0, "item": begun}),
        ("response.content_part.added", {**at, "part": part}),
        ("response.output_text.done", {**at, "text": ""}),
        ("response.content_part.done", {**at, "part": part}),
        ("response.output_item.done", {"output_index": 0, "item": ended}),
    ]
    made = [_framed({"type": kind, "sequence_number": 0, **data}, kind) for kind, data in told]
    out = [_moved(frame, "output_index") for frame in frames]
    where = next((n for n, f in enumerate(out) if "output_index" in (_data(f) or {})), len(out) - 1)
    for n, frame in enumerate(out):
        data = _data(frame) or {}
        response = data.get("response")
        if n >= where and isinstance(response, dict) and isinstance(response.get("output"), list):
            response["output"] = [ended, *response["output"]]
            out[n] = _framed(data, str(data["type"]))
    return _renumbered([*out[:where], *made, *out[where:]])


def _moved(frame: bytes, name: str = "index") -> bytes:
    """A frame of a content block, one place further on."""
    data = _data(frame)
    if data is None or not isinstance(data.get(name), int):
        return frame
    data[name] = int(str(data[name])) + 1
    return _framed(data, str(data["type"]))


def _renumbered(frames: Frames) -> Frames:
    """The frames with their sequence numbers, if they have any, counted anew."""
    out: Frames = []
    for frame in frames:
        data = _data(frame)
        if data is not None and "sequence_number" in data:
            data["sequence_number"] = len(out)
            frame = _framed(data, str(data["type"]))
        out.append(frame)
    return out


def _with_unknown(frame: bytes) -> bytes:
    """A frame with a field nobody knows."""
    data = _data(frame)
    if data is None:
        return frame
    name = next((ln[7:].decode() for ln in frame.splitlines() if ln.startswith(b"event: ")), "")
    return _framed({**data, "x_unknown": {"deep": [1, None, "ü"]}}, name)


def _unknown_event(path: str) -> Frames:
    """An event nobody knows, where the protocol names its events."""
    if path.endswith("/messages"):
        return [_framed({"type": "x_unknown"}, "x_unknown")]
    if path.endswith("/responses"):
        return [_framed({"type": "response.x_unknown", "sequence_number": 0}, "response.x_unknown")]
    return []


# ------------------------------------------------------------ bytes


def _byte(place: Place, acts: Sequence[Act], *, needed: int = 0) -> int:
    """The number of a byte; raises `UsageError` for a text that is not there, and where fewer than
    `needed` bytes follow."""
    body = b"".join(act for act in acts if isinstance(act, bytes))
    if isinstance(place, str):
        wanted = place.encode()
        found = body.find(wanted)
        if found < 0:
            raise UsageError(f"a fault comes after {place!r}, and the reply does not hold it")
        place = found + len(wanted)
    if not 0 <= place <= len(body) - needed:
        raise UsageError(f"a fault comes at byte {place}, and the reply has {len(body)}")
    return place


def _pieces(body: bytes, faults: Sequence[Fault]) -> list[Act]:
    """The body cut where the faults say."""
    cuts: set[int] = set()
    for fault in faults:
        if isinstance(fault, Split):
            cuts.update(fault.at)
            if fault.every:
                cuts.update(range(fault.every, len(body), fault.every))
            if fault.characters:
                cuts.update(n + 1 for n, byte in enumerate(body) if byte >= 0xC0)
    places = [0, *sorted(c for c in cuts if 0 < c < len(body)), len(body)]
    return [body[a:b] for a, b in pairwise(places)]


def _upto(acts: list[Act], byte: int) -> list[Act]:
    """The acts until `byte` bytes have been sent."""
    out: list[Act] = []
    left = byte
    for act in acts:
        if isinstance(act, bytes):
            out.append(act[:left])
            left -= len(act)
            if left <= 0:
                break
        else:
            out.append(act)
    return out


def _corrupted(acts: list[Act], byte: int, to: int | None) -> list[Act]:
    """The acts with one byte changed."""
    out: list[Act] = []
    at = 0
    for act in acts:
        if isinstance(act, bytes):
            if at <= byte < at + len(act):
                was = act[byte - at]
                now = was ^ 0x80 if to is None else to
                act = act[: byte - at] + bytes([now]) + act[byte - at + 1 :]
                at += len(act)
            else:
                at += len(act)
        out.append(act)
    return out


def _with(acts: list[Act], byte: int, wait: Wait) -> list[Act]:
    """The acts with a wait after `byte` bytes."""
    out: list[Act] = []
    at, placed = 0, False
    for act in acts:
        size = len(act) if isinstance(act, bytes) else 0
        if isinstance(act, bytes) and not placed and byte < at + size:
            out += [act[: byte - at], wait, act[byte - at :]]
            placed = True
        else:
            out.append(act)
        at += size
    return out if placed else [*out, wait]

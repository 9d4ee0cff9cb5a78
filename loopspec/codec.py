"""Codec: canonical bytes, digests, and patches between snapshots.

Canonical bytes are msgspec's JSON with deterministic order. They hold no floats (free JSON travels
as JSON text) and no NaN, so equal values have equal bytes on every machine.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from itertools import chain
from operator import attrgetter
from typing import Any, Final, TypeAlias, TypeVar, get_args, get_origin

import msgspec

from loopspec.effects import Cancel, Effect
from loopspec.events import EffectClaimed, Kept
from loopspec.snapshot import Patch, Pending, Slide, Snapshot

T = TypeVar("T")

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_bytes: Final = _ENCODER.encode
_Raw: Final = msgspec.Raw
_FREE: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)
_EVENT: Final[msgspec.json.Decoder[Kept]] = msgspec.json.Decoder(Kept)
_SNAPSHOT: Final = msgspec.json.Decoder(Snapshot)
_FIELDS: Final = {f.name: f.type for f in msgspec.structs.fields(Snapshot)}
_MAPS: Final = frozenset(n for n, kind in _FIELDS.items() if get_origin(kind) is dict)
_LISTS: Final = ("inbox", "boundaries")
"""Lists that grow at their end: what stays in them is not written again."""
_OFTEN: Final = (
    *("seq", "at", "awake", "configuration", "entered", "activations", "pending", "calls", "usage"),
    "compactions",
)
"""What most steps change. The other fields are compared all at once: mostly nothing is new in them."""
_SELDOM: Final = tuple(n for n in _FIELDS if n not in _OFTEN)
_often: Final = attrgetter(*_OFTEN)
_seldom: Final = attrgetter(*_SELDOM)
_DECODERS: Final = {n: msgspec.json.Decoder(kind) for n, kind in _FIELDS.items()}
_VALUE_DECODERS: Final = {n: msgspec.json.Decoder(get_args(_FIELDS[n])[1]) for n in _MAPS}
_ITEMS: Final = {n: msgspec.json.Decoder(get_args(_FIELDS[n])[0]) for n in _LISTS}
_STRUCTS: Final = {n: get_args(kind)[1] if n in _MAPS else kind for n, kind in _FIELDS.items()}
_PARTS: Final = {
    (n, f.name): msgspec.json.Decoder(f.type)
    for n, kind in _STRUCTS.items()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    for f in msgspec.structs.fields(kind)
}

_Reader: TypeAlias = tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]
_READERS: Final[dict[type[msgspec.Struct], _Reader]] = {}
"""Of each type of struct the names of its fields, and what reads them all at once."""


def encode(value: Any) -> bytes:
    """Canonical bytes of any of loopspec's own values."""
    return _ENCODER.encode(value)


def decode(data: bytes | msgspec.Raw, kind: type[T]) -> T:
    """The value of type `kind` in canonical bytes; raises `msgspec.ValidationError`."""
    return msgspec.json.decode(data, type=kind)


def decode_event(data: bytes) -> Kept:
    """The event in canonical bytes; raises `msgspec.ValidationError`."""
    return _EVENT.decode(data)


def decode_snapshot(data: bytes) -> Snapshot:
    """The snapshot in canonical bytes; raises `msgspec.ValidationError`."""
    return _SNAPSHOT.decode(data)


def digest(data: bytes) -> str:
    """SHA-256 of bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def digest_of(value: Any) -> str:
    """SHA-256 of a value's canonical bytes, in hex."""
    return digest(encode(value))


def canonical_json(value: Any) -> str:
    """Free JSON as canonical text: sorted keys, no spaces, no NaN; raises `ValueError` on NaN."""
    return _FREE.encode(value)


def args_hash(tool: str, args: str) -> str:
    """The hash an approval binds to: the tool and its canonical arguments."""
    return digest(f"{tool}\n{args}".encode())


def diff(old: Snapshot, new: Snapshot, effects: Iterable[Effect] = (), answered: str = "") -> Patch:
    """What turns `old` into `new`, but for what goes without saying (see `_carried`).

    `effects` are those of the step, `answered` is the effect that its event answers.
    """
    usual = _carried(old, new.configuration, new.at, effects, answered)
    changed: dict[str, msgspec.Raw] = {}
    part: dict[str, dict[str, msgspec.Raw]] = {}
    slide: dict[str, Slide] = {}
    maps: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
    pairs: Iterable[tuple[str, Any, Any]] = zip(_OFTEN, _often(old), _often(new), strict=True)
    before, after = _seldom(old), _seldom(new)
    if before != after:
        pairs = chain(pairs, zip(_SELDOM, before, after, strict=True))
    for name, was, now in pairs:
        if name in usual:
            was = usual[name]
        if was is now or was == now:
            continue
        if name in _MAPS:
            maps.append((name, was, now))
        elif name in _LISTS and (slid := _slid(was, now)) is not None:
            slide[name] = slid
        elif isinstance(now, msgspec.Struct):
            part[name] = _edited(was, now)
        else:
            changed[name] = _Raw(_bytes(now))
    put, edit, drop = _keys(maps)
    return Patch(changed, part, put, edit, drop, slide)


def _keys(
    maps: Iterable[tuple[str, dict[str, Any], dict[str, Any]]],
) -> tuple[
    dict[str, dict[str, msgspec.Raw]],
    dict[str, dict[str, dict[str, msgspec.Raw]]],
    dict[str, tuple[str, ...]],
]:
    """What is put into maps, edited in them and dropped from them, each by the name of the map."""
    put: dict[str, dict[str, msgspec.Raw]] = {}
    edit: dict[str, dict[str, dict[str, msgspec.Raw]]] = {}
    drop: dict[str, tuple[str, ...]] = {}
    for name, before, after in maps:
        for key, value in after.items():
            was = before.get(key)
            if was is value:
                continue
            if type(was) is not type(value):
                put.setdefault(name, {})[key] = _Raw(_bytes(value))
            elif was == value:
                continue
            elif isinstance(value, msgspec.Struct):
                edit.setdefault(name, {})[key] = _edited(was, value)
            else:
                put.setdefault(name, {})[key] = _Raw(_bytes(value))
        if gone := [key for key in before if key not in after]:
            drop[name] = tuple(sorted(gone))
    return put, edit, drop


def apply(old: Snapshot, patch: Patch, effects: Iterable[Effect] = (), answered: str = "") -> Snapshot:
    """`old` with `patch` applied; the inverse of `diff`.

    Raises `msgspec.MsgspecError`, `TypeError`, `ValueError` or `LookupError` where the two do not fit.
    """
    changes: dict[str, Any] = {n: _DECODERS[n].decode(raw) for n, raw in patch.set.items()}
    for name, fields in patch.part.items():
        parts = {f: _PARTS[name, f].decode(raw) for f, raw in fields.items()}
        changes[name] = msgspec.structs.replace(getattr(old, name), **parts)
    configuration = changes.get("configuration", old.configuration)
    maps = _carried(old, configuration, changes.get("at", old.at), effects, answered)
    for name in {*patch.put, *patch.edit, *patch.drop} - {*maps}:
        if name not in _MAPS:
            raise LookupError(f"`{name}` has no keys")
        maps[name] = dict(getattr(old, name))
    for name, keys in patch.drop.items():
        for key in keys:
            maps[name].pop(key, None)
    for name, fresh in patch.put.items():
        for key, raw in fresh.items():
            maps[name][key] = _VALUE_DECODERS[name].decode(raw)
    for name, edits in patch.edit.items():
        for key, fields in edits.items():
            parts = {f: _PARTS[name, f].decode(raw) for f, raw in fields.items()}
            maps[name][key] = msgspec.structs.replace(maps[name][key], **parts)
    for name, slide in patch.slide.items():
        kept = _kept(name, getattr(old, name), slide)
        changes[name] = (*kept, *(_ITEMS[name].decode(raw) for raw in slide.add))
    return msgspec.structs.replace(old, **changes, **maps)


def answered_by(event: Kept) -> str:
    """The effect that an event answers, empty if it answers none."""
    return "" if isinstance(event, EffectClaimed) else getattr(event, "effect", "")


def _carried(
    old: Snapshot,
    configuration: tuple[str, ...],
    at: int,
    effects: Iterable[Effect],
    answered: str,
) -> dict[str, dict[str, Any]]:
    """The maps that a step changes as a matter of course.

    An answered effect is not pending any more, and one that was emitted is (but `Cancel`: its target's
    settling answers it). Of the states that were left nothing is kept; one that is new was entered now.
    """
    maps: dict[str, dict[str, Any]] = {}
    made = {e.id: Pending(effect=e, at=at) for e in effects if not isinstance(e, Cancel)}
    if made or answered in old.pending:
        maps["pending"] = {**old.pending, **made}
        maps["pending"].pop(answered, None)
    if configuration != old.configuration:
        maps["entered"] = {path: old.entered.get(path, at) for path in configuration}
        active = old.activations.items()
        maps["activations"] = {path: act for path, act in active if path in configuration}
    return maps


def _reader(kind: type[msgspec.Struct]) -> _Reader:
    """What `_READERS` keeps of a type; of one name alone `attrgetter` would make no tuple."""
    names = kind.__struct_fields__
    return names, attrgetter(*names) if len(names) > 1 else lambda value: (getattr(value, names[0]),)


def _edited(old: Any, new: Any) -> dict[str, msgspec.Raw]:
    """The fields in which two structs of one type differ."""
    kind = type(new)
    found = _READERS.get(kind)
    if found is None:
        found = _READERS[kind] = _reader(kind)
    names, read = found
    pairs = zip(names, read(old), read(new), strict=True)
    return {n: _Raw(_bytes(now)) for n, was, now in pairs if was is not now and was != now}


def _slid(old: tuple[Any, ...], new: tuple[Any, ...]) -> Slide | None:
    """How a list came about by items leaving at its front and end and others joining at its end."""
    if not new or new[0] not in old:
        return None
    skip = old.index(new[0])
    keep = 0
    for before, after in zip(old[skip:], new, strict=False):
        if before != after:
            break
        keep += 1
    return Slide(skip=skip, keep=keep, add=tuple(_Raw(_bytes(item)) for item in new[keep:]))


def _kept(name: str, old: tuple[Any, ...], slide: Slide) -> tuple[Any, ...]:
    """What stays of a list."""
    if slide.skip < 0 or slide.keep < 0 or slide.skip + slide.keep > len(old):
        raise ValueError(f"`{name}` has {len(old)} items, not {slide.skip} and {slide.keep}")
    return old[slide.skip : slide.skip + slide.keep]

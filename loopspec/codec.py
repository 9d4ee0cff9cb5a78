"""Codec: canonical bytes, digests, and patches between snapshots.

Canonical bytes are msgspec's JSON with deterministic order. They hold no floats (free JSON travels
as JSON text) and no NaN, so equal values have equal bytes on every machine.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import cache
from operator import attrgetter
from typing import Any, Final, TypeVar, get_args, get_origin

import msgspec

from loopspec.effects import Cancel, Effect
from loopspec.events import EffectClaimed, Kept
from loopspec.snapshot import Patch, Pending, Slide, Snapshot

T = TypeVar("T")

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_FREE: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)
_EVENT: Final[msgspec.json.Decoder[Kept]] = msgspec.json.Decoder(Kept)
_SNAPSHOT: Final = msgspec.json.Decoder(Snapshot)
_FIELDS: Final = {f.name: f.type for f in msgspec.structs.fields(Snapshot)}
_NAMES: Final = tuple(_FIELDS)
_FIELDS_OF: Final = attrgetter(*_NAMES)
"""All fields of a snapshot at once."""
_MAPS: Final = frozenset(n for n, kind in _FIELDS.items() if get_origin(kind) is dict)
_LISTS: Final = ("inbox", "boundaries")
"""Lists that grow at their end: what stays in them is not written again."""
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
    for name, before, after in zip(_NAMES, _FIELDS_OF(old), _FIELDS_OF(new), strict=True):
        if name in usual:
            before = usual[name]
        if before is after or before == after:  # most are: a step puts few things in other's places
            continue
        if name in _MAPS:
            maps.append((name, before, after))
        elif name in _LISTS and (slid := _slid(before, after)) is not None:
            slide[name] = slid
        elif isinstance(after, msgspec.Struct):
            part[name] = _edited(before, after)
        else:
            changed[name] = msgspec.Raw(_ENCODER.encode(after))
    if not maps:
        return Patch(set=changed, part=part, slide=slide)
    put, edit, drop = _keys(maps)
    return Patch(set=changed, part=part, put=put, edit=edit, drop=drop, slide=slide)


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
            if was is value or (was == value and type(was) is type(value)):
                continue
            if isinstance(value, msgspec.Struct) and isinstance(was, type(value)):
                edit.setdefault(name, {})[key] = _edited(was, value)
            else:
                put.setdefault(name, {})[key] = _raw(value)
        if gone := before.keys() - after.keys():
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


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(encode(value))


@cache
def _reader(kind: type[msgspec.Struct]) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """The names of a struct's fields, and what reads them all at once (two or more: else no tuple)."""
    names = kind.__struct_fields__
    return names, attrgetter(*names) if len(names) > 1 else lambda value: (getattr(value, names[0]),)


def _edited(old: Any, new: Any) -> dict[str, msgspec.Raw]:
    """The fields in which two structs of one type differ."""
    names, fields_of = _reader(type(new))
    pairs = zip(names, fields_of(old), fields_of(new), strict=True)
    return {n: _raw(now) for n, was, now in pairs if was is not now and was != now}


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
    return Slide(skip=skip, keep=keep, add=tuple(map(_raw, new[keep:])))


def _kept(name: str, old: tuple[Any, ...], slide: Slide) -> tuple[Any, ...]:
    """What stays of a list."""
    if slide.skip < 0 or slide.keep < 0 or slide.skip + slide.keep > len(old):
        raise ValueError(f"`{name}` has {len(old)} items, not {slide.skip} and {slide.keep}")
    return old[slide.skip : slide.skip + slide.keep]

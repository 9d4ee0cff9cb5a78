"""Codec: canonical bytes, digests, and patches between snapshots.

Canonical bytes are msgspec's JSON with deterministic order. They hold no floats (free JSON travels
as JSON text) and no NaN, so equal values have equal bytes on every machine.
"""

import hashlib
import json
from typing import Any, Final, TypeVar

import msgspec

from loopspec.events import Kept
from loopspec.snapshot import Patch, Snapshot

T = TypeVar("T")

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_EVENT: Final[msgspec.json.Decoder[Kept]] = msgspec.json.Decoder(Kept)
_SNAPSHOT: Final = msgspec.json.Decoder(Snapshot)
_FIELDS: Final = {f.name: f for f in msgspec.structs.fields(Snapshot)}
_MAPS: Final = frozenset(n for n, f in _FIELDS.items() if "dict" in str(f.type).split("[")[0])
_DECODERS: Final = {n: msgspec.json.Decoder(f.type) for n, f in _FIELDS.items()}
_VALUE_DECODERS: Final = {
    n: msgspec.json.Decoder(_FIELDS[n].type.__args__[1]) for n in _MAPS
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
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def args_hash(tool: str, args: str) -> str:
    """The hash an approval binds to: the tool and its canonical arguments."""
    return digest(f"{tool}\n{args}".encode())


def diff(old: Snapshot, new: Snapshot) -> Patch:
    """What turns `old` into `new`; map fields are compared key by key."""
    changed: dict[str, msgspec.Raw] = {}
    put: dict[str, dict[str, msgspec.Raw]] = {}
    drop: dict[str, tuple[str, ...]] = {}
    for name in _FIELDS:
        before, after = getattr(old, name), getattr(new, name)
        if before is after or before == after:
            continue
        if name in _MAPS:
            fresh = {
                k: msgspec.Raw(encode(v))
                for k, v in after.items()
                if k not in before or before[k] != v or type(before[k]) is not type(v)
            }
            gone = tuple(sorted(k for k in before if k not in after))
            if fresh:
                put[name] = fresh
            if gone:
                drop[name] = gone
        else:
            changed[name] = msgspec.Raw(encode(after))
    return Patch(set=changed, put=put, drop=drop)


def apply(old: Snapshot, patch: Patch) -> Snapshot:
    """`old` with `patch` applied; the inverse of `diff`."""
    changes: dict[str, Any] = {n: _DECODERS[n].decode(raw) for n, raw in patch.set.items()}
    for name in {*patch.put, *patch.drop}:
        value = dict(getattr(old, name))
        for key in patch.drop.get(name, ()):
            value.pop(key, None)
        for key, raw in patch.put.get(name, {}).items():
            value[key] = _VALUE_DECODERS[name].decode(raw)
        changes[name] = value
    return msgspec.structs.replace(old, **changes)

"""Patches say a difference once and shortly; what is encoded has one form only."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopspec import effects, record, snapshot
from loopspec.codec import apply, diff, encode
from loopspec.effects import CallModel, Cancel
from loopspec.events import Stamped, UserMessage
from loopspec.journal.chain import make_entry, read, seal
from loopspec.journal.entry import GENESIS
from loopspec.journal.fold import empty
from loopspec.record import Record
from loopspec.snapshot import Boundary, Call, Patch, Pending, Snapshot, Waiting

STRUCTS = [
    kind
    for module in (snapshot, record, effects)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == module.__name__
]


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_a_default_that_may_be_left_out_is_an_object_of_which_python_has_one(kind: Any) -> None:
    """Else equal values could have different bytes: the rule is number 4 of `snapshot`."""
    for field in msgspec.structs.fields(kind):
        if field.default is not msgspec.NODEFAULT:
            assert field.default in ("", 0, 1, -1, False, None, ()), f"{kind.__name__}.{field.name}"


def snap(**fields: Any) -> Snapshot:
    return Snapshot(session="s", machine="m", **fields)


def bounds(*names: str) -> tuple[Boundary, ...]:
    return tuple(Boundary(id=name, ref="r", seq=1, at=1) for name in names)


def test_a_list_tells_what_left_and_what_joined() -> None:
    patch = diff(snap(boundaries=bounds("a", "b", "c")), snap(boundaries=bounds("b", "c", "d")))
    assert encode(patch) == b'{"slide":{"boundaries":{"skip":1,"keep":2,"add":[%s]}}}' % encode(
        bounds("d")[0]
    )


@given(*(st.lists(st.sampled_from("abcd"), max_size=5) for _ in range(4)))
def test_any_list_comes_out_of_any_other(
    old: list[str], new: list[str], said: list[str], left: list[str]
) -> None:
    before = snap(boundaries=bounds(*old), inbox=tuple(Waiting(1, text) for text in said))
    after = snap(boundaries=bounds(*new), inbox=tuple(Waiting(1, text) for text in left))
    patch = diff(before, after)
    assert apply(before, patch) == after
    assert apply(before, msgspec.json.decode(encode(patch), type=Patch)) == after


def test_of_a_call_that_stays_only_what_changed_is_written() -> None:
    call = Call("c1_0", "shell", "f" * 64, 1, 0)
    old = snap(calls={"c1_0": call})
    new = snap(calls={"c1_0": msgspec.structs.replace(call, status="allowed", rule="r")})
    assert encode(diff(old, new)) == b'{"edit":{"calls":{"c1_0":{"rule":"r","status":"allowed"}}}}'
    assert apply(old, diff(old, new)) == new


def test_an_effect_that_the_entry_holds_is_not_said_again() -> None:
    ask, stop = CallModel("s:2:0", "a", "main", "m"), Cancel("s:2:1", "a", "s:1:0")
    old = snap(at=1, pending={"s:1:0": Pending(msgspec.structs.replace(ask, id="s:1:0"), 1)})
    cancelling = msgspec.structs.replace(old.pending["s:1:0"], status="cancelling")
    new = snap(at=2, pending={"s:1:0": cancelling, ask.id: Pending(ask, 2)})
    patch = diff(old, new, (ask, stop))
    assert encode(patch) == b'{"set":{"at":2},"edit":{"pending":{"s:1:0":{"status":"cancelling"}}}}'
    assert apply(old, patch, (ask, stop)) == new
    gone = diff(old, snap(at=2), (ask,))
    assert apply(old, gone, (ask,)) == snap(at=2), "an effect that was over at once"


@pytest.mark.parametrize(
    "raw",
    [
        '{"slide":{"seq":{"keep":1}}}',
        '{"slide":{"boundaries":{"skip":1}}}',
        '{"slide":{"boundaries":{"skip":-1}}}',
        '{"slide":{"inbox":{"add":[1]}}}',
        '{"edit":{"calls":{"c":{"tool":"x"}}}}',
        '{"edit":{"calls":{"c":{"nothing":1}}}}',
        '{"edit":{"vars":{"c":{"tool":1}}}}',
        '{"edit":{"seq":{"c":{"tool":1}}}}',
        '{"drop":{"seq":["a"]}}',
    ],
)
def test_a_patch_that_does_not_fit_is_refused_by_name(raw: str) -> None:
    patch = msgspec.json.decode(raw, type=Patch)
    with pytest.raises((msgspec.MsgspecError, TypeError, ValueError, LookupError)):
        apply(snap(), patch)


def test_the_bytes_that_are_sealed_are_the_entry_s_own() -> None:
    row = make_entry(
        old=empty("s"),
        new=snap(seq=0),
        stamped=Stamped(1, 1, "p", UserMessage('"}')),
        outcome="noted",
        record=Record(),
        effects=(),
        blobs=(),
        prev=GENESIS,
        semantics=1,
    )
    assert (row.data, row.snapshot) == (encode(row.entry), encode(snap(seq=0)))
    assert read(row.data) == row.entry == seal(row.entry) == seal(seal(row.entry))

"""How a body stands in its row: it comes back as it was, and what is no packed one is left alone."""

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopspec.stores import pack as packing
from loopspec.stores.pack import HALF, pack, unpack

ENTRY = b'{"text":"' + b"some words that come again and again, " * 100 + b'"}'


@given(st.binary(max_size=6_000), st.booleans())
def test_what_was_packed_comes_back(data: bytes, entry: bool) -> None:
    data = b'{"' + data if entry else data
    # What is no entry could begin like a packed one; the store writes entries only.
    assert unpack(pack(data)) == data or data.startswith(b"\x78")


def test_only_what_would_waste_a_page_is_packed() -> None:
    assert len(pack(ENTRY)) < len(ENTRY) / 5
    assert unpack(pack(ENTRY)) == ENTRY
    short = ENTRY[: HALF - 2] + b'"}'
    assert pack(short) is short
    noise = b"{" + random.Random(1).randbytes(4_000)
    assert pack(noise) is noise  # packing would not make it shorter
    assert pack(b"x" * 4_000) == b"x" * 4_000  # no entry


def test_a_damaged_row_comes_back_as_it_stands() -> None:
    packed = pack(ENTRY)
    for n in range(len(packed)):
        damaged = packed[:n] + bytes([packed[n] ^ 0x01]) + packed[n + 1 :]
        assert unpack(damaged) != ENTRY or zlib.decompress(damaged) == ENTRY
    assert unpack(packed[:-3]) == packed[:-3]
    assert unpack(packed + b"more") == packed + b"more"


def test_a_row_that_claims_more_than_the_limit_is_no_packed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "LIMIT", 10_000)
    bomb = zlib.compress(b"{" + b"0" * 20_000)
    assert unpack(bomb) is bomb
    assert unpack(pack(ENTRY)) == ENTRY

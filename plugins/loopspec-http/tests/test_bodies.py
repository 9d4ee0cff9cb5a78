"""Packed bodies that end too early, too late or never."""

import gzip
import zlib

import pytest
from loopspec.hooks import ToolFailed

from loopspec_http.bodies import SPARE, Body

CAP = 1000
PIECE = b"A" * SPARE


def test_what_follows_the_end_of_a_packed_body_is_not_read() -> None:
    for encoding, packed in (("gzip", gzip.compress(b"hi")), ("deflate", zlib.compress(b"hi"))):
        body = Body(encoding, CAP)
        assert body.add(packed + PIECE) is False
        assert (body.data, body.cut) == (b"hi", False)
        body = Body(encoding, CAP)
        assert body.add(packed)
        assert body.add(PIECE) is False
        assert (body.data, body.cut) == (b"hi", False)


def test_a_gzip_body_may_have_parts() -> None:
    whole = gzip.compress(b"one, ") + gzip.compress(b"two")
    for cut in range(1, len(whole)):
        body = Body("gzip", CAP)
        assert body.add(whole[:cut]) and body.add(whole[cut:])
        body.end()
        assert (body.data, body.cut) == (b"one, two", False)


def test_a_body_that_unpacks_to_nothing_for_ever_is_cut() -> None:
    empty = gzip.compress(b"")
    body = Body("gzip", CAP)
    pieces = 1
    while body.add(empty * 100):
        pieces += 1
        assert pieces * len(empty) * 100 < 10 * SPARE
    assert (body.data, body.cut) == (b"", True)


def test_a_packed_body_whose_end_is_missing_is_told() -> None:
    body = Body("gzip", CAP)
    assert body.add(gzip.compress(b"hello world" * 20)[:-9])
    with pytest.raises(ToolFailed, match="its end is missing"):
        body.end()


def test_an_empty_body_is_whole() -> None:
    for encoding in ("", "gzip", "deflate"):
        body = Body(encoding, CAP)
        body.end()
        assert (body.data, body.cut) == (b"", False)

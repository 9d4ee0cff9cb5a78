"""Recorded streams through real HTTP and the adapter: whole, cut anywhere, damaged anywhere.

Every stream of the recordings is taken. `benchmarks/broken_streams.py` prints the table of counts.
"""

import random
import re
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from replay_kit import (
    LETTER,
    MODES,
    OURS,
    SHARED,
    UNSEEN,
    Stream,
    attempts,
    borders,
    count_corrupt,
    count_cuts,
    judge_corrupt,
    judge_whole,
    letters,
    reading,
    streams,
)

from loopspec.events import ModelReplied
from loopspec.testing.serving.faults import Corrupt, Split

OWN = streams(OURS)
ALL = [*OWN, *(streams(SHARED) if SHARED.is_dir() else [])]
NAMES = [stream.name for stream in ALL]
ENDS = {"truncated", "complete"}
"""How a cut may end: an end without what makes a reply whole, or the whole reply."""


def somewhere(stream: Stream, many: int) -> list[int]:
    """Bytes of a stream, drawn anew but the same in every run."""
    dice = random.Random(stream.name)
    return [dice.randrange(1, len(stream.exchange.body)) for _ in range(many)]


def test_there_are_recordings_of_all_three_protocols() -> None:
    assert Counter(stream.protocol for stream in OWN) == {
        "/chat/completions": 2,
        "/messages": 3,
        "/responses": 3,
    }
    assert [len(reading(stream).calls) for stream in OWN] == [2, 0, 2, 0, 1, 2, 0, 1]


def test_every_recorded_stream_gives_its_whole_reply(tmp_path: Path) -> None:
    answers = attempts([(stream, []) for stream in ALL], tmp_path)
    wrong = [judge_whole(stream, answer) for stream, answer in zip(ALL, answers, strict=True)]
    assert {name: why for name, why in zip(NAMES, wrong, strict=True) if why} == {}


@pytest.mark.parametrize("stream", OWN, ids=[stream.name for stream in OWN])
def test_a_stream_of_ours_cut_and_damaged_here_and_there(stream: Stream, tmp_path: Path) -> None:
    ends, wrong = count_cuts(stream, [*borders(stream)[::5], *somewhere(stream, 10)], tmp_path)
    assert (set(ends) <= ENDS, wrong) == (True, []), ends
    for mode in MODES:
        ends, wrong = count_corrupt(stream, somewhere(stream, 10), mode, 1, tmp_path)
        assert wrong == []
        if mode != "other":
            assert set(ends) == {"corrupt"}


@pytest.mark.parametrize("stream", OWN, ids=[stream.name for stream in OWN])
def test_f23_a_stream_split_at_every_byte_is_the_same_reply(stream: Stream, tmp_path: Path) -> None:
    whole, single = attempts([(stream, []), (stream, [Split(every=1)])], tmp_path)
    assert isinstance(whole, ModelReplied) and isinstance(single, ModelReplied)
    same = msgspec.structs.replace(single, request=whole.request)  # another port, another request
    assert same == whole


@pytest.mark.slow
@pytest.mark.parametrize("stream", ALL, ids=NAMES)
def test_cut_at_every_border_and_at_200_bytes_it_is_never_taken_for_whole(
    stream: Stream, tmp_path: Path
) -> None:
    for places in (borders(stream), somewhere(stream, 200)):
        ends, wrong = count_cuts(stream, places, tmp_path)
        said = reading(stream)
        allowed = ENDS if said.text.strip() or said.calls else ENDS | {"empty", "refused"}
        assert (set(ends) <= allowed, wrong) == (True, []), ends


@pytest.mark.slow
@pytest.mark.parametrize("stream", ALL, ids=NAMES)
def test_damaged_at_200_bytes_no_call_is_proposed_that_nobody_made(
    stream: Stream, tmp_path: Path
) -> None:
    for mode in MODES:
        ends, wrong = count_corrupt(stream, somewhere(stream, 200), mode, 1, tmp_path)
        assert wrong == []
        if mode != "other":
            assert set(ends) == {"corrupt"}


@pytest.mark.parametrize("stream", OWN, ids=[stream.name for stream in OWN])
def test_a_letter_for_a_letter_is_seen_where_arguments_are_told_twice(
    stream: Stream, tmp_path: Path
) -> None:
    inside = letters(stream)
    assert bool(inside) == bool(reading(stream).calls)
    ends, wrong = count_corrupt(stream, inside[::9], LETTER, 1, tmp_path)
    assert wrong == []
    if stream.protocol == "/responses":
        assert set(ends) <= {"corrupt"}
    else:  # told once: nobody could tell, and the test says so rather than look away
        assert set(ends) <= {UNSEEN, "corrupt", "complete", "complete, other text"}


def test_a_damaged_index_never_moves_a_piece_to_another_call(tmp_path: Path) -> None:
    stream = next(s for s in streams(OURS) if s.name == "chat[0]")
    pieces = [m.start() for m in re.finditer(b'"index": 1, "function"', stream.exchange.body)]
    damage = [Corrupt(at + n, to) for at in pieces for n, to in ((3, ord("t")), (9, ord("0")))]
    answers = attempts([(stream, [one]) for one in damage], tmp_path)
    wrong = [judge_corrupt(stream, one, a)[1] for one, a in zip(damage, answers, strict=True)]
    assert (len(wrong) > 5, [why for why in wrong if why]) == (True, [])

"""A secret cut in two by a stream never shows, and nothing else is changed or lost."""

import base64
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from loopspec.governance.redact import Redactor
from loopspec.governance.streamed import Streamed, broken_off

SECRET = "tiger-lily-9041"
ENV = {"LILY_TOKEN": SECRET, "INNER_SECRET": "lily-9041", "REPEAT_TOKEN": "abababababab"}
REDACTOR = Redactor.from_environment(ENV)
FORMS = [
    *(SECRET, "lily-9041", "abababababab", base64.b64encode(SECRET.encode()).decode()),
    *("tiger-lily", "abab", "tiger", "ti", "l", "plain ", "äöü ", "\n"),
]


def pieces(text: str, cuts: list[int]) -> list[str]:
    """`text` cut at some places."""
    places = sorted({c % (len(text) + 1) for c in cuts} | {0, len(text)})
    return [text[a:b] for a, b in pairwise(places)]


def shown(parts: list[str]) -> list[str]:
    """What is shown of a stream, piece by piece."""
    stream = Streamed(REDACTOR)
    return [*(stream.push(p) for p in parts), stream.rest()]


@given(st.lists(st.sampled_from(FORMS), max_size=8), st.lists(st.integers(0, 400), max_size=12))
def test_the_pieces_together_read_as_the_whole_text_redacted(words: list[str], cuts: list[int]) -> None:
    text = "".join(words)
    assert "".join(shown(pieces(text, cuts))) == REDACTOR.text(text)


def test_a_secret_that_comes_letter_by_letter_is_one_mark() -> None:
    out = shown(list(f"The key is {SECRET}, keep it."))
    assert "".join(out) == "The key is [secret:LILY_TOKEN], keep it."
    assert not any(SECRET[:n] in "".join(out) for n in range(3, len(SECRET)))


def test_what_begins_no_secret_passes_at_once() -> None:
    stream = Streamed(REDACTOR)
    assert stream.push("Nothing here.") == "Nothing here."
    assert stream.push("Look: ti") == "Look: "
    assert stream.push("me runs.") == "time runs."
    assert stream.rest() == ""


def test_without_secrets_every_piece_passes_as_it_is() -> None:
    stream = Streamed(Redactor())
    assert [stream.push(p) for p in ("a", "", "b")] == ["a", "", "b"]


def test_a_secret_that_repeats_itself_for_ever_does_not_fill_the_memory() -> None:
    stream = Streamed(REDACTOR)
    out = "".join(stream.push("ab" * 500) for _ in range(200)) + stream.rest()
    assert "[secret:REPEAT_TOKEN]" in out and len(out) < 2000


@given(st.text(alphabet="tiger-lily-9041 x", max_size=40), st.integers(4, len(SECRET) - 1))
def test_a_text_that_broke_off_inside_a_secret_ends_before_it(before: str, size: int) -> None:
    redactor = Redactor.from_environment({"LILY_TOKEN": SECRET})
    kept = broken_off(redactor, f"{before}. {SECRET[:size]}")
    assert SECRET[:4] not in kept.rpartition(". ")[2]
    assert broken_off(redactor, f"{before}. {SECRET} ok") == redactor.text(f"{before}. {SECRET} ok")


"""Schemas somebody gives for the answer: odd ones are refused in words, data in them is data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopspec.drivers.conforming import MAX_FAULTS, MOST_SEEN, Wanted, _worded
from loopspec.errors import UsageError


def nested(depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(depth):
        made = {"not": made}
    return made


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"$schema": 5}, "`$schema` a text"),
        ({"$schema": []}, "`$schema` a text"),
        ([], "a schema is a JSON object"),
        ({"type": "hat"}, "it is no JSON Schema"),
        ({"$ref": "http://elsewhere/x"}, "nothing is fetched"),
        (nested(5_000), "nested too deeply"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_in_words(schema: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("$", r"\$")):
        Wanted(schema)


def test_what_looks_like_a_reference_inside_data_is_none() -> None:
    Wanted({"enum": [{"$ref": "http://elsewhere/x"}], "default": {"$ref": "y"}})


def endless(depth: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"x-ours": endless(5_000)}, "nested too deeply"),
        ({"enum": [endless(5_000)]}, "nested too deeply"),
        ({"default": {1}}, "could not be told as JSON"),
        ({"default": float("nan")}, "could not be told as JSON"),
        ({"title": "\ud800"}, "could not be told as JSON"),
        ({"properties": {"enum": {"$ref": "http://elsewhere/x"}}}, "nothing is fetched"),
        ({"$defs": {"const": {"$ref": "http://elsewhere/x"}}}, "nothing is fetched"),
    ],
)
def test_a_schema_that_could_not_be_told_or_applied_is_refused(schema: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Wanted(schema)


def test_a_file_without_an_end_is_read_no_further_than_a_schema_may_be() -> None:
    with pytest.raises(UsageError, match="the schema is larger than 256 KiB"):
        Wanted.read(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("1e999", "a number that is too large"),
        ('{"a": [-1e999]}', "a number that is too large"),
        ('"\\ud800"', "half a surrogate pair"),
        ('{"\\ud800": 1}', "half a surrogate pair"),
    ],
)
def test_a_value_that_no_json_could_hold_again_is_no_answer(answer: str, said: str) -> None:
    (fault,) = Wanted({}).verdict(answer).faults
    assert said in fault


def test_whole_surrogate_pairs_and_large_numbers_are_values() -> None:
    assert Wanted({}).verdict('["\\ud83d\\ude00", 1e300]').value == ["😀", 1e300]


def test_of_a_long_wrong_answer_only_the_first_faults_are_looked_for() -> None:
    check = Wanted({"type": "string"})._check
    seen = []

    def errors() -> Iterator[Any]:
        for item in range(100_000):
            seen.append(item)
            yield from check.iter_errors(item)

    faults = tuple(_worded(errors()))
    assert (len(faults), faults[-1], len(seen)) == (MAX_FAULTS + 1, "and more", MOST_SEEN)

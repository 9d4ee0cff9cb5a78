"""Schemas somebody gives for the answer: odd ones are refused in words, data in them is data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from loopspec.drivers import schemas
from loopspec.drivers.conforming import Wanted
from loopspec.drivers.schemas import MAX_FAULTS, MOST_SEEN, _worded
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
    check = Draft202012Validator({"type": "string"})
    seen = []

    def errors() -> Iterator[Any]:
        for item in range(100_000):
            seen.append(item)
            yield from check.iter_errors(item)

    faults = tuple(_worded(errors()))
    assert (len(faults), faults[-1], len(seen)) == (MAX_FAULTS + 1, "and more", MOST_SEEN)


LONG = "a" * 40 + "!"
DOUBLING = {"$defs": {"a0": {"type": "integer"}}, "$ref": "#/$defs/a30"}
for n in range(30):
    both = {"anyOf": [{"$ref": f"#/$defs/a{n}"}, {"$ref": f"#/$defs/a{n}"}]}
    DOUBLING["$defs"][f"a{n + 1}"] = both  # type: ignore[index]


@pytest.mark.parametrize(
    ("schema", "answer"),
    [({"pattern": "^(a+)+$"}, f'"{LONG}"'), (DOUBLING, '"x"')],
    ids=["a pattern", "references that double"],
)
def test_a_schema_that_takes_for_ever_is_given_up(
    schema: dict[str, Any], answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemas, "SECONDS", 1.0)  # the limit alone is another one
    assert Wanted(schema).verdict(answer).faults == (
        "the schema could not be applied within 1 s to this answer",
    )


def test_a_costly_word_that_costs_nothing_gives_the_faults_themselves() -> None:
    wanted = Wanted({"properties": {"n": {"pattern": "^[0-9]+$"}}, "uniqueItems": True})
    assert wanted.verdict('{"n": "12"}').value == {"n": "12"}
    assert wanted.verdict('{"n": "x"}').faults == ("n: 'x' does not match '^[0-9]+$'",)

"""Schemas somebody gives for the answer: odd ones are refused in words, data in them is data."""

from typing import Any

import pytest

from loopspec.drivers.conforming import Wanted
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

"""The README says what the code does: the words the judge is told, the keys and the endings."""

import json
from pathlib import Path

from loopspec_review import REVIEW
from loopspec_review.question import FORM, INSTRUCTIONS

README = (Path(__file__).parents[1] / "README.md").read_text()
PLAIN = " ".join(README.replace("\n>", "\n").split())


def test_no_prompt_is_hidden() -> None:
    assert " ".join(INSTRUCTIONS.split()) in PLAIN
    assert " ".join(FORM.split()) in PLAIN


def test_every_key_and_ending_is_there() -> None:
    schema = json.loads(REVIEW.schema)
    for name in (*schema["properties"], *REVIEW.endings):
        assert f"| `{name}` |" in README
    for data in REVIEW.endings.values():
        for field in json.loads(data)["properties"]:
            assert f"`{field}`" in README

"""The exact text of every diagnostic, kept in `golden/`; one bad spec or more for each code.

`LOOPSPEC_GOLDEN=write` writes the texts anew; read the difference before keeping it.
"""

import json
import os
from pathlib import Path

import pytest

from loopspec.spec.codes import CODES
from loopspec.spec.diagnose import render_json, render_text
from loopspec.spec.source import MAX_BYTES

from .kit import HERE, compiled

BAD = sorted((HERE / "bad").glob("*.yaml"))


def _expect(name: str, text: str) -> None:
    golden = HERE / "golden" / f"{name}.txt"
    if os.environ.get("LOOPSPEC_GOLDEN") == "write":
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_each_bad_spec_gives_its_golden_text_and_no_machine(path: Path) -> None:
    result = compiled(path, path.name)
    assert result.machine is None
    code = path.stem.split("-")[0]
    assert code == "all" or code in {d.code for d in result.diagnostics}
    _expect(path.stem, render_text(result.diagnostics, {path.name: result.source}))


def test_a_missing_file_gives_its_golden_text() -> None:
    result = compiled(HERE / "bad" / "no-such-file.yaml", "no-such-file.yaml")
    assert (result.machine, result.source) == (None, "")
    _expect("LS001-missing-file", render_text(result.diagnostics, {}))


def test_a_file_that_is_too_large_gives_its_golden_text(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    result = compiled(large, "large.yaml")
    _expect("LS002-too-large", render_text(result.diagnostics, {}))


def test_every_code_has_a_bad_spec_and_every_golden_text_a_source() -> None:
    seen = {d.code for path in BAD for d in compiled(path).diagnostics} | {"LS001", "LS002"}
    assert seen == set(CODES)
    texts = {path.stem for path in (HERE / "golden").glob("*.txt")}
    assert texts == {path.stem for path in BAD} | {"LS001-missing-file", "LS002-too-large"}


def test_the_file_names_name_every_code_but_the_two_that_need_no_file() -> None:
    named = {path.stem.split("-")[0] for path in BAD if path.stem.startswith("LS")}
    assert named == set(CODES) - {"LS001", "LS002"}


def test_json_holds_what_the_text_holds() -> None:
    path = HERE / "bad" / "all-at-once.yaml"
    found = compiled(path, path.name).diagnostics
    assert json.loads(render_json(found)) == [
        {
            "code": d.code,
            "title": CODES[d.code],
            "severity": "error",
            "file": path.name,
            "line": d.line,
            "col": d.col,
            "fault": d.fault,
            "remedy": d.remedy,
            "near": list(d.near),
        }
        for d in found
    ]


def test_diagnostics_come_in_the_order_of_their_places() -> None:
    for path in BAD:
        places = [(d.line, d.col) for d in compiled(path).diagnostics]
        assert places == sorted(places)

"""The exact text of every diagnostic, kept in `golden/`; one bad spec or more for each code.

`LOOPSPEC_GOLDEN=write` writes the texts anew; read the difference before keeping it.
"""

import json
import os
from pathlib import Path

import pytest

from loopspec.spec.codes import CODES, severity
from loopspec.spec.diagnose import render_github, render_json, render_text
from loopspec.spec.source import MAX_BYTES

from .kit import HERE, checked, wrong

BAD = sorted((HERE / "bad").glob("*.yaml"))


def _expect(name: str, text: str) -> None:
    golden = HERE / "golden" / f"{name}.txt"
    if os.environ.get("LOOPSPEC_GOLDEN") == "write":
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


WITHOUT_A_FILE = {"LS001", "LS002", "LS114"}
# LS114 needs a plugin that has a size in its configuration: `all-of-a-plugin.yaml`, `test_typed.py`.
PLACELESS = {"LS001", "LS002", "LS003", "LS013"}


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_each_bad_spec_gives_its_golden_text_and_is_refused(path: Path) -> None:
    result = wrong(path)
    assert result.diagnostics
    assert (result.machine is None) == any(d.severity == "error" for d in result.diagnostics)
    code = path.stem.split("-")[0]
    assert code == "all" or code in {d.code for d in result.diagnostics}
    for d in result.diagnostics:
        assert d.fault and d.remedy and d.severity == severity(d.code)
        assert d.line or d.code in PLACELESS, "a fault has a place"
    _expect(path.stem, render_text(result.diagnostics, {path.name: result.source}))


def test_there_are_many_bad_specs_and_no_two_are_the_same() -> None:
    texts = [path.read_bytes() for path in BAD]
    assert len(set(texts)) == len(texts) >= 200


def test_a_secret_is_shown_in_no_format() -> None:
    secrets = ["sk-ant-api03-", "ghp_", "correct-horse", "RSA PRIVATE", "hunter2"]
    for path in BAD:
        if path.stem.startswith("LS603"):
            result = wrong(path)
            text = render_text(result.diagnostics, {path.name: result.source})
            shown = text + render_json(result.diagnostics) + render_github(result.diagnostics)
            assert not [secret for secret in secrets if secret in shown], path.name


def test_a_missing_file_gives_its_golden_text() -> None:
    result = checked(HERE / "bad" / "no-such-file.yaml", "no-such-file.yaml")
    assert (result.machine, result.source) == (None, "")
    _expect("LS001-missing-file", render_text(result.diagnostics, {}))


def test_a_file_that_is_too_large_gives_its_golden_text(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    result = checked(large, "large.yaml")
    _expect("LS002-too-large", render_text(result.diagnostics, {}))


def test_every_code_has_a_bad_spec_and_every_golden_text_a_source() -> None:
    seen = {d.code for path in BAD for d in wrong(path).diagnostics}
    assert seen | WITHOUT_A_FILE == set(CODES)
    texts = {path.stem for path in (HERE / "golden").glob("*.txt")}
    assert texts == {path.stem for path in BAD} | {"LS001-missing-file", "LS002-too-large"}


def test_the_file_names_name_every_code_that_a_file_can_show() -> None:
    named = {path.stem.split("-")[0] for path in BAD if path.stem.startswith("LS")}
    assert named == set(CODES) - WITHOUT_A_FILE


def test_json_holds_what_the_text_holds() -> None:
    path = HERE / "bad" / "all-at-once.yaml"
    found = wrong(path).diagnostics
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
        places = [(d.line, d.col) for d in wrong(path).diagnostics]
        assert places == sorted(places)

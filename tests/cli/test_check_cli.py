"""`loopspec check` as a program: exit codes, formats, standard input, and nothing but diagnostics."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from loopspec.cli.checking import check
from loopspec.spec.codes import severity

SPECS = Path(__file__).parents[1] / "spec"
BAD = sorted(path for path in (SPECS / "bad").glob("*.yaml") if b"kind: lint" not in path.read_bytes())
GOOD = sorted(p for p in (SPECS / "good").glob("*.yaml") if b"kind: lint" not in p.read_bytes())
SECRETS = (
    *("sk-ant-api03-", "ghp_", "s3cr3tpassw0rd", "hunter2", "8f14e45fceea167a", "AKIAQWERTY", "xoxb-123"),
    *("MHcCAQEEIBkg4L", "PRIVATE KEY", "eyJhbGciOi", "glpat-abcdef", "sk-proj-abcdef", "correct-horse"),
)


def run(*args: str, text: str | bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """The real program, in the folder of the bad specs so that names are short."""
    data = text.encode() if isinstance(text, str) else text
    command = [sys.executable, "-m", "loopspec.cli.main", "check", *args]
    env = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run(command, cwd=SPECS / "bad", input=data, capture_output=True, env=env)


def test_all_bad_specs_at_once_give_their_golden_texts_and_no_traceback() -> None:
    done = run(*(path.name for path in BAD))
    shown = done.stdout.decode()
    assert (done.returncode, done.stderr) == (52, b"")
    assert "Traceback" not in shown
    for path in BAD:
        golden = (SPECS / "golden" / f"{path.stem}.txt").read_text(encoding="utf-8").rstrip("\n")
        assert f"{golden}\n{path.name}: " in shown, path.name


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_each_bad_spec_ends_with_52_and_a_lenient_one_forgives_warnings_only(path: Path) -> None:
    strict = CliRunner().invoke(check, [str(path)])
    assert (strict.exit_code, type(strict.exception)) == (52, SystemExit)
    codes = set(re.findall(r": (?:error|warning) (LS[0-9]{3}): ", strict.output))
    lenient = CliRunner().invoke(check, ["--lenient", str(path)])
    errors = [code for code in codes if severity(code) == "error"]
    assert codes and lenient.exit_code == (52 if errors else 0)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_spec_is_said_to_be_right(path: Path) -> None:
    done = CliRunner().invoke(check, [str(path)])
    assert done.exit_code == 0
    assert re.fullmatch(rf"{re.escape(str(path))}: right: .*machine [0-9a-f]{{12}}\n", done.output)


@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_no_format_shows_a_secret_even_where_something_else_is_wrong(form: str, tmp_path: Path) -> None:
    names = [path.name for path in BAD if path.stem.startswith("LS603")]
    assert len(names) >= 8
    shown = run("--format", form, *names).stdout.decode()
    assert shown.count("LS603") >= len(names)
    assert not [secret for secret in SECRETS if secret in shown]


def test_a_secret_in_broken_yaml_is_not_shown_either() -> None:
    key = "sk-ant-api03-Zq81mZqp0dLwTnX5v2"
    broken = (
        f'loopspec: 1\nname: "x {key}\nversion: 1\n',
        f"loopspec: 1\nname: [{key}\n",
        f"loopspec: 1\nname: x\n{key}: 3\nversion: {key}\nbudgets: {{usd: {key}}}\ninitial: {key}\n",
        f"loopspec: 1\nname: x\ndescription: !{key} y\n",
        f"loopspec: 1\nname: x\ndescription: &{key} y\n",
        "loopspec: 1\nname: x\nversion: 1.0.0\ninitial: a\n"
        f"states: {{a: {{on: {{user.message: {key}}}}}}}\n",
    )
    for text in broken:
        for form in ("text", "json", "github"):
            done = run("--format", form, "-", text=text)
            assert done.returncode == 52 and b"LS603" in done.stdout
            assert key.encode() not in done.stdout + done.stderr, text


def test_json_is_one_array_over_all_specs() -> None:
    done = run("--format", "json", "LS105-no-unit.yaml", "LS706-interrupt.yaml")
    found = json.loads(done.stdout)
    assert {d["file"] for d in found} == {"LS105-no-unit.yaml", "LS706-interrupt.yaml"}
    assert {d["severity"] for d in found} == {"error", "warning"}
    assert all(set(d) >= {"code", "title", "line", "col", "fault", "remedy", "near"} for d in found)


def test_json_of_a_right_spec_is_an_empty_array_and_github_says_nothing() -> None:
    good = str(GOOD[0])
    assert (
        json.loads(run("--format", "json", good).stdout),
        run("--format", "json", good).returncode,
    ) == ([], 0)
    assert (run("--format", "github", good).stdout, run("--format", "github", good).returncode) == (
        b"",
        0,
    )


def test_github_commands_stand_one_to_a_line() -> None:
    done = run("--format", "github", *(path.name for path in BAD))
    lines = done.stdout.decode().splitlines()
    form = re.compile(r"::(error|warning) file=[^,:]+(,line=\d+,col=\d+)?,title=LS\d{3}::.+")
    assert len(lines) > len(BAD)
    assert [line for line in lines if not form.fullmatch(line)] == []


def test_standard_input_is_a_spec_called_stdin() -> None:
    done = run("-", text="loopspec: 1\nname: x\n")
    assert done.returncode == 52
    assert done.stdout.decode().startswith(
        "<stdin>:1:1: error LS102: the document lacks the key `initial`"
    )


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe\x00", b"\x00", b"[" * 5000, b"a: &a [*a]", b"%YAML 9\n---\n"]
)
def test_whatever_comes_on_standard_input_gives_diagnostics(data: bytes) -> None:
    done = run("-", text=data)
    assert done.returncode == 52 and done.stderr == b""
    assert b"<stdin>" in done.stdout and b"remedy: " in done.stdout


def test_a_missing_file_and_a_directory_are_named(tmp_path: Path) -> None:
    missing, folder = run("no-such.yaml"), run(str(tmp_path))
    assert missing.returncode in (2, 52) and folder.returncode in (2, 52)
    assert b"no-such.yaml" in missing.stdout + missing.stderr
    assert b"Traceback" not in missing.stderr + folder.stderr

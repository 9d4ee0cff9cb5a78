"""Every diagnostic code has a page, and every page is true: its blocks are checked as specs.

A block is completed to a whole spec by three rules (`whole`) and checked with everything installed.
An accepting block is a part of the warned one with an `accept` line added.
"""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from loopspec.check.spec import check_spec
from loopspec.cli.helping import explain_code, page_of
from loopspec.drivers.launch import tool_infos
from loopspec.registry import installed
from loopspec.spec.codes import CODES, severity
from loopspec.spec.parse import Compiled

FOLDER = Path(__file__).parent.parent / "docs" / "errors"
PROSE = {"LS001", "LS002", "LS003", "LS004", "LS114"}
"""What no block can show: files that cannot be read, bytes that are no text, keys of plugins."""
UNACCEPTABLE = {"LS790"}
HEAD = "loopspec: 1\nname: page\nversion: 1.0.0\n"
BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
WARNINGS = [code for code in CODES if severity(code) == "warning"]


def page(code: str) -> str:
    return (FOLDER / f"{code}.md").read_text(encoding="utf-8")


def sections(code: str) -> dict[str, str]:
    """The page's parts by heading; the part before the first heading is called ''."""
    parts = re.split(r"^## (.+)$", page(code), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def shown(code: str) -> str:
    """The heading of the part that shows the fault."""
    return "Warned about" if severity(code) == "warning" else "Refused"


def block(code: str, heading: str) -> str:
    [found] = BLOCK.findall(sections(code)[heading])
    return str(found)


def whole(text: str) -> str:
    """A block as a whole spec: with the head, with states, with an initial state."""
    if not re.search(r"^\w+:", text, re.MULTILINE):
        return text  # nothing but a comment
    if not re.match(r"(---\n)?loopspec:", text):
        text = HEAD + text
    if not re.search(r"^states:", text, re.MULTILINE):
        text += "states:\n  done: {type: final}\n"
    if not re.search(r"^initial:", text, re.MULTILINE):
        first = re.search(r"^states:\n  (\w+):", text, re.MULTILINE)
        text += f"initial: {first[1] if first else 'ready'}\n"
    return text


def checked(text: str) -> Compiled:
    registry = installed()
    return check_spec(whole(text), kinds=registry.kinds, tools=tool_infos(registry))


def codes(text: str) -> set[str]:
    return {d.code for d in checked(text).diagnostics}


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    assert sorted(p.stem for p in FOLDER.iterdir()) == sorted(["README", *CODES])


def test_the_table_names_every_code_with_its_severity_and_title() -> None:
    rows = re.findall(r"^\| \[.*$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert rows == [f"| [{c}]({c}.md) | {severity(c)} | {title} |" for c, title in CODES.items()]


@pytest.mark.parametrize("code", CODES)
def test_a_page_has_the_title_the_parts_and_the_blocks(code: str) -> None:
    parts = sections(code)
    title, _, said = parts[""].partition("\n")
    assert title == f"# {code}: {CODES[code]}"
    wanted = ["", shown(code), "Remedy"]
    if severity(code) == "warning" and code not in UNACCEPTABLE:
        wanted.append("Accepting it")
    assert list(parts) == wanted
    assert 1 <= len(said.strip().split("\n\n")) <= 3
    blocks = {heading: len(BLOCK.findall(text)) for heading, text in parts.items()}
    assert blocks == {name: 0 if name == "" or code in PROSE else 1 for name in wanted}
    assert max(len(line) for line in BLOCK.sub("", page(code)).splitlines()) <= 106


@pytest.mark.parametrize("code", [code for code in CODES if code not in PROSE])
def test_the_first_block_of_a_page_has_the_fault_and_the_remedy_has_not(code: str) -> None:
    assert code in codes(block(code, shown(code)))
    assert code not in codes(block(code, "Remedy"))


@pytest.mark.parametrize("code", WARNINGS)
def test_the_blocks_of_a_warning_have_nothing_else_wrong(code: str) -> None:
    assert codes(block(code, shown(code))) == {code}
    assert codes(block(code, "Remedy")) == set()


@pytest.mark.parametrize("code", [code for code in WARNINGS if code not in UNACCEPTABLE])
def test_a_warning_is_accepted_where_its_page_says(code: str) -> None:
    warned, added = block(code, shown(code)), block(code, "Accepting it")
    without = re.sub(r"^ *accept: .*\n", "", added, flags=re.MULTILINE)
    if without:
        assert without != added
        assert warned.count(without) == 1
        accepting = warned.replace(without, added)
    else:
        accepting = warned + added
    made = checked(accepting)
    assert (made.diagnostics, {d.code for d in made.accepted}) == ([], {code})


def test_an_accept_that_is_left_over_cannot_be_accepted_itself() -> None:
    [code] = UNACCEPTABLE
    line = '    accept: {LS706: "it only waits"}\n'
    warned = block(code, shown(code))
    assert warned.count(line) == 1
    assert codes(warned.replace(line, f'    accept: {{{code}: "so what"}}\n')) == {"LS113"}


@pytest.mark.parametrize("code", CODES)
def test_explain_code_shows_the_page(code: str) -> None:
    assert page_of(code) is not None
    ran = CliRunner().invoke(explain_code, [code.lower()])
    assert ran.exit_code == 0
    assert ran.output.startswith(f"# {code}: {CODES[code]}\n")
    assert "\n## Remedy\n" in ran.output


def test_the_fake_key_of_the_page_about_secrets_is_not_shown_in_the_message() -> None:
    told = checked(block("LS603", "Refused")).diagnostics
    [secret] = [d for d in told if d.code == "LS603"]
    assert secret.hidden
    assert "sk-ant" not in secret.fault + secret.remedy

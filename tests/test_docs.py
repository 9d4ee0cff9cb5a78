"""The documents are true: every file of the guide is checked, every command is run."""

import re
from pathlib import Path

import pytest
from cli.kit import Place

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "guide.md").read_text()
FILES = dict(re.findall(r"```yaml\n# file: (\S+)\n(.*?)```", GUIDE, re.DOTALL))
SPECS = [name for name, text in FILES.items() if text.startswith("loopspec:")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = Place(tmp_path_factory.mktemp("guide"))
    for name, text in FILES.items():
        (made.work / name).write_text(text)
    (made.work / "notes.txt").write_text("buy milk\n")
    return made


@pytest.mark.parametrize("spec", SPECS)
def test_a_spec_of_the_guide_is_right(place: Place, spec: str) -> None:
    ran = place.run("check", spec)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"{spec}: right: ")
    assert len(ran.out.splitlines()) == 1


@pytest.mark.parametrize(
    ("spec", "prompt", "answer"),
    re.findall(r'\$ loopspec run (\S+) -p "([^"]+)"\n([^$`\n]+)\n', GUIDE),
)
def test_a_run_of_the_guide_prints_what_it_says(
    place: Place, spec: str, prompt: str, answer: str
) -> None:
    ran = place.run("run", spec, "-p", prompt)
    assert (ran.code, ran.out) == (0, answer + "\n")


def test_every_looking_command_of_the_guide_runs(place: Place) -> None:
    commands = re.findall(r"\$ loopspec ((?:sessions|timeline|explain|replay|verify)[^\n]*)", GUIDE)
    assert len(commands) == 5
    assert place.run("run", "chat.yaml", "-p", "Hi").code == 0
    for command in commands:
        ran = place.run(*command.split())
        assert (ran.code, ran.err) == (0, ""), command


def test_links_in_the_documents_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_shipped_spec_is_right_and_names_its_schema(place: Place) -> None:
    for spec in sorted((ROOT / "specs").glob("*.yaml")):
        assert spec.read_text().startswith("# yaml-language-server: $schema=")
        ran = place.run("check", spec)
        assert (ran.code, len(ran.out.splitlines())) == (0, 1), ran.out

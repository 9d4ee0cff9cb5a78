"""Every shipped loop has a page with a picture of it as it is, its inputs, and a place in the README."""

from pathlib import Path

import pytest
from journeys.review import plugged

from docs.pages import ROOT
from loopspec.check.spec import check_spec
from loopspec.drivers.launch import tool_infos
from loopspec.machine.model import Machine
from loopspec.views.graph import picture
from loopspec.views.graph_svg import svg

LOOPS = sorted(p.stem for p in (ROOT / "specs").glob("*.yaml"))


def machine(loop: str) -> Machine:
    registry = plugged(loop)
    spec = ROOT / "specs" / f"{loop}.yaml"
    made = check_spec(spec, kinds=registry.kinds, tools=tool_infos(registry), name=loop)
    assert made.machine is not None, made.diagnostics
    return made.machine


def page(loop: str) -> str:
    return (ROOT / "docs" / "loops" / f"{loop}.md").read_text()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_page_shows_the_loop_as_it_is(loop: str) -> None:
    assert f"](../images/{loop}.svg)" in page(loop)
    drawn = (ROOT / "docs" / "images" / f"{loop}.svg").read_text()
    assert drawn == svg(picture(machine(loop))), "draw it again: python docs/images/make.py --graphs"


@pytest.mark.parametrize("loop", LOOPS)
def test_a_page_names_every_input(loop: str) -> None:
    table = [line.split("|")[1].strip(" `") for line in page(loop).splitlines() if line.startswith("| `")]
    assert table == list(machine(loop).inputs)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_page_says_what_to_expect(loop: str) -> None:
    heads = [line for line in page(loop).splitlines() if line.startswith("#")]
    assert heads[0] == f"# {loop}"
    assert heads[1] == "## Run it" and heads[-1] == "## Make it yours" and "never does" in heads[2]
    readme = (ROOT / "README.md").read_text()
    assert f"[{loop}](docs/loops/{loop}.md)" in readme


def test_there_is_no_page_of_another_loop() -> None:
    assert sorted(p.stem for p in Path(ROOT / "docs" / "loops").glob("*.md")) == LOOPS

"""The review loop and its plugin: right with it, and without it the checker names it."""

from pathlib import Path

from cli.kit import Place

from journeys.review import ROOT, plugged
from loopspec.check.spec import check_spec
from loopspec.drivers.launch import tool_infos

SPEC = ROOT / "specs" / "review-loop.yaml"


def test_with_its_plugin_the_review_loop_has_no_error_and_no_unexplained_warning() -> None:
    registry = plugged("review-loop")
    made = check_spec(SPEC, kinds=registry.kinds, tools=tool_infos(registry), name="review-loop")
    assert made.machine is not None
    assert list(made.diagnostics) == []
    assert [found.code for found in made.accepted] == ["LS706"]


def test_without_it_check_and_run_name_the_plugin(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for command in (("check", "review-loop"), ("run", "review-loop", "-p", "Go")):
        ran = place.run(*command, PYTHONPATH="")
        told = ran.out + ran.err
        if "right: review-loop" in told or ran.code == 41:
            continue  # the plugin is installed beside loopspec here
        assert ran.code == 52
        assert "error LS501: no kind is called `review`" in told
        assert "remedy: install the plugin that brings it, `loopspec-review`" in told

"""`kinds`, `events`, `explain-code` and `schema`: what they print, and what they say to a wrong name."""

import json
from pathlib import Path

import pytest

from loopspec.cli.generated import open_schema, shipped_registry
from loopspec.cli.helping import page_of
from loopspec.drivers.launch import tool_infos
from loopspec.events import BY_NAME
from loopspec.registry import installed
from loopspec.spec.codes import CODES, severity
from loopspec.spec.schema import build

from .kit import Place

ROOT = Path(__file__).parents[2]
WAIT = """\
wait: Waits for a time.

shape    none: it waits; it does no work of its own
endings  wait.over

fields of its endings
  wait.over  none

own keys
  for  a duration, required. How long to wait, e.g. 30s; then wait.over is
       raised.

example
  my_wait: {kind: wait, for: 30s, on: {wait.over: working}}
"""
EXHAUSTED = """\
budget.exhausted

A budget is spent: turns, tokens, usd or elapsed.

sort       derived
raised by  a state that would begin work for which a budget has nothing left

fields
  which  string

example
  on:
    budget.exhausted:
      - {guard: 'event.which == "usd"', target: over_budget}
      - {target: ready}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("help"))


def test_one_kind_and_one_event_are_told_whole(place: Place) -> None:
    assert place.run("kinds", "wait").out == WAIT
    assert place.run("events", "budget.exhausted").out == EXHAUSTED


def test_the_fields_of_a_reply_are_told_with_their_types(place: Place) -> None:
    told = json.loads(place.run("events", "model.replied", "--format", "json").out)
    assert told["fields"] == {
        "effect": "string",
        "text": "string",
        "calls": "list of calls (tool, args, problem)",
        "blocks": "string",
        "finish": "string",
        "model": "string",
        "usage": "any JSON",
        "request": "string",
        "tokens": "int",
        "estimated": "int",
        "faults": "list of string",
        "confidence": "int",
    }
    assert (told["sort"], told["routable"]) == ("fact", True)
    assert told["raised_by"] == "a state of kind `model`, as its ending"


def test_lists_have_everything_and_fit_a_terminal(place: Place) -> None:
    kinds, events, codes = (place.run(command).out for command in ("kinds", "events", "explain-code"))
    for text, names in ((kinds, shipped_registry().kinds), (events, BY_NAME), (codes, CODES)):
        assert [name for name in names if f"{name} " not in text] == []
        assert max(map(len, text.splitlines())) <= 80
    assert "LS012  error    a key that is not text" in codes
    listed = json.loads(place.run("events", "--format", "json").out)
    assert {one["name"] for one in listed} >= set(BY_NAME)
    listed = {one["name"]: one for one in json.loads(place.run("kinds", "--format", "json").out)}
    assert list(listed) == list(installed().kinds)
    assert listed["wait"]["keys"] == [
        {
            "name": "for",
            "type": "a duration",
            "required": True,
            "default": "",
            "description": "How long to wait, e.g. 30s; then `wait.over` is raised.",
        }
    ]


@pytest.mark.parametrize("code", ["LS012", "ls012"])
def test_a_code_is_explained_by_its_page(place: Place, code: str) -> None:
    ran = place.run("explain-code", code)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("# LS012: a key that is not text\n\nEvery key of a spec is a text")
    assert "```yaml\nstates:\n  [ready, waiting]: " in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "errors").glob("LS*.md")), ids=lambda p: p.stem)
def test_a_page_is_found_and_titled_by_its_code(page: Path) -> None:
    assert page_of(page.stem) == page
    assert page.read_text(encoding="utf-8").startswith(f"# {page.stem}: {CODES[page.stem]}\n\n")


def test_a_code_without_a_page_has_none() -> None:
    assert page_of("LS000") is None
    assert (severity("LS012"), severity("LS706")) == ("error", "warning")


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("kinds", "wiat"), "there is no kind `wiat`. did you mean `wait`?"),
        (("kinds", "zzz"), "there is no kind `zzz`. see all of them: loopspec kinds"),
        (
            ("events", "modl.replied"),
            "there is no event `modl.replied`. did you mean `model.replied`, `model.rate_limited`?",
        ),
        (("events", "zzz"), "there is no event `zzz`. see all of them: loopspec events"),
        (("explain-code", "zzz"), "there is no code `ZZZ`. see all of them: loopspec explain-code"),
    ],
)
def test_an_unknown_name_is_a_line_and_exit_2(place: Place, args: tuple[str, ...], line: str) -> None:
    ran = place.run(*args)
    assert (ran.code, ran.out, ran.err) == (2, "", f"loopspec: {line}\n")


def test_a_code_with_a_typo_names_the_near_ones(place: Place) -> None:
    ran = place.run("explain-code", "LS0122")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("loopspec: there is no code `LS0122`. did you mean `LS012`, ")


def test_the_schema_is_the_stored_one_and_merged_it_is_closed(place: Place) -> None:
    stored = (ROOT / "schemas" / "loopspec-1.schema.json").read_text(encoding="utf-8")
    assert place.run("schema").out == stored
    assert json.loads(stored) == open_schema()
    merged = json.loads(place.run("schema", "--merged").out)
    registry = installed()
    assert merged == build(registry.kinds, tool_infos(registry))

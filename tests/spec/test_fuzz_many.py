"""Many mutated specs: a diagnostic or a machine, never a traceback, never slow, never large.

Below the mutants stand the findings of earlier runs, each as the smallest text that shows it.
"""

import time
from pathlib import Path
from random import Random

import pytest

from . import fuzz
from .fuzz import MAX_GROWTH, MAX_SECONDS, Report, run, sound
from .kit import HERE, checked
from .mutate import Mutator

GOOD = sorted((HERE / "good").glob("*.yaml"))
HEAD = "loopspec: 1\nname: small\nversion: 1.0.0\n"


def judged(report: Report, count: int) -> None:
    print("\n".join(report.lines()))
    assert report.findings == []
    assert report.count == count
    assert report.slowest < MAX_SECONDS
    assert report.peak - report.base < MAX_GROWTH
    assert report.machines > 0 and len(report.codes) > 50, "the mutants are all alike"


def test_the_same_seed_gives_the_same_mutant() -> None:
    corpus = fuzz.seeds()
    made = [
        [Mutator(Random(f"9:{n}"), corpus, fuzz.trees(corpus)).make() for n in range(40)] for _ in "ab"
    ]
    assert made[0] == made[1]
    assert len(set(made[0])) > 35


def test_a_few_mutants() -> None:
    judged(run(1_500, seed=20_261_125, jobs=1), 1_500)


@pytest.mark.slow
def test_a_hundred_thousand_mutants() -> None:
    judged(run(100_000, seed=3, jobs=2), 100_000)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_what_is_mutated_is_right(path: Path) -> None:
    made = checked(path, path.name, lint=b"kind: lint" in path.read_bytes())
    assert made.diagnostics == []
    sound(made)


# ------------------------------------------------------------ findings

TEXTS = {
    "more blocks in each other than Python compiles": "{% if 1 %}" * 30 + "{% endif %}" * 30,
    "more loops in each other than Python compiles": "{% for a in inputs.x %}" * 30 + "{% endfor %}" * 30,
    "a number of five thousand digits": "{{ " + "9" * 5_000 + " }}",
    "brackets": "{{ " + "(" * 300 + "1" + ")" * 300 + " }}",
    "signs": "{{ " + "-" * 900 + "1 }}",
    "sums": "{{ 1" + "+1" * 900 + " }}",
    "fields of fields": "{{ inputs" + ".x" * 900 + " }}",
}


@pytest.mark.parametrize("what", TEXTS)
def test_a_text_that_python_itself_cannot_compile_is_a_diagnostic(what: str) -> None:
    top = f"{HEAD}inputs: {{x: {{type: json}}}}\nprompts: {{system: '{TEXTS[what]}'}}\n"
    made = checked(f"{top}initial: end\nstates: {{end: {{type: final}}}}\n")
    sound(made)
    assert {d.code for d in made.diagnostics} <= {"LS402", "LS403", "LS709"}


def regions(count: int) -> str:
    states = "".join(f"      s{n}: {{on: {{user.resumed: p}}}}\n" for n in range(count))
    head = f"{HEAD}initial: p\nstates:\n  p:\n    type: parallel\n    on: {{user.message: p}}\n"
    return f"{head}    states:\n{states}"


def neighbours(count: int) -> str:
    half = range(count // 2)
    region = "".join(
        f"          s{n}: {{on: {{user.message: s{(n + 1) % len(half)}, user.resumed: out}}}}\n"
        for n in half
    )
    both = "".join(f"      {name}:\n        initial: s0\n        states:\n{region}" for name in "ab")
    out = "  out: {on: {user.message: p}}\n"
    return f"{HEAD}initial: p\nstates:\n  p:\n    type: parallel\n    states:\n{both}{out}"


def slips(count: int) -> str:
    states = "".join(
        f"  state_number_{n}: {{on: {{user.mesage: state_numbr_{(n + 1) % count}}}}}\n"
        for n in range(count)
    )
    return f"{HEAD}initial: state_number_0\nstates:\n{states}"


def chain(count: int) -> str:
    top = f"{HEAD}vars: {{n: {{type: int, default: 0}}}}\ninitial: s0\nstates:\n"
    states = "".join(
        f"  s{n}: {{always: [{{guard: vars.n > {n}, target: s{n + 1}}}, s{(n * 7 + 1) % count}]}}\n"
        for n in range(count - 1)
    )
    return f"{top}{states}  s{count - 1}: {{on: {{user.message: s0}}}}\n"


LARGE = {made.__name__: made for made in (regions, neighbours, slips, chain)}


@pytest.mark.parametrize("shape", LARGE)
def test_large_specs_of_awkward_shapes_take_seconds_not_minutes(shape: str) -> None:
    """900 regions, 450 states in each of two, 1,800 misspelt names, 900 `always`: once minutes."""
    text = LARGE[shape](900)
    begun = time.process_time()
    sound(checked(text))
    assert time.process_time() - begun < 10


@pytest.mark.parametrize("name", ["say", "text", "prompt"])
def test_two_braces_without_quotes_are_one_fault(name: str) -> None:
    line = {
        "say": "on: {user.message: {target: end, say: {{ event.text }}}}",
        "text": "on: {user.message: {target: end, say: {text: {{ event.text }}, to: model}}}",
        "prompt": "on: {user.message: {{ vars.next }}}",
    }[name]
    made = checked(f"{HEAD}initial: a\nstates:\n  a:\n    {line}\n  end: {{type: final}}\n")
    assert [d.code for d in made.diagnostics] == ["LS012"]

"""Mutated specs: diagnostics or a sound machine, never an exception."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopspec.spec.source import plain, read

from .fuzz import sound
from .kit import HERE, compiled

EXCERPT = (HERE / "excerpt.yaml").read_text(encoding="utf-8")
TREE = plain(read(HERE / "excerpt.yaml"))
SNIPPETS = st.sampled_from(
    [
        "",
        " ",
        "\n",
        ": ",
        "- ",
        "{",
        "}",
        "[]",
        '"',
        "'",
        "#",
        "null",
        "true",
        "1e9",
        "-1",
        "90s",
        "*",
        "&a",
        "!!int",
        "states:",
        "initial: x",
        "type: history",
        "type: parallel",
        "type: final",
        "kind: lint",
        "kind: wait",
        "\t",
        "\x00",
        "é",
        "{{ x }}",
        "{% for %}",
        "model.*",
        "...",
        "---\n",
        "on:",
        "|",
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(
        [
            "working",
            "working.resume",
            "model",
            "history",
            "final",
            "parallel",
            "tools",
            "input",
            "lint",
            "wait",
            "5m",
            "user.message",
            "*",
            "size(event.calls)",
            "vars.attempts",
            "main",
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "target",
                    "guard",
                    "actions",
                    "say",
                    "kind",
                    "type",
                    "states",
                    "initial",
                    "on",
                    "tools",
                    "assign",
                    "raise",
                    "attempts",
                    "default",
                    "always",
                    "after",
                    "5m",
                    "x",
                    "use",
                    "to",
                    "done",
                    "deep",
                    "with",
                    "for",
                    "level",
                    "entry",
                    "text",
                    "model.*",
                    "*",
                    "paths",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in plain data."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [here] + [p for key in keys for p in paths(value[key], (*here, key))]


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Plain data with one place replaced (or the place removed, for `...`)."""
    if not path:
        return new
    head, rest = path[0], path[1:]
    copy = dict(value) if isinstance(value, dict) else list(value)
    if not rest and new is ...:
        del copy[head]
    else:
        copy[head] = put(value[head], rest, new)
    return copy


PATHS = paths(TREE)[1:]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, len(EXCERPT)), st.integers(0, 20), SNIPPETS), max_size=3))
def test_a_spec_with_torn_text(cuts: list[tuple[int, int, str]]) -> None:
    text = EXCERPT
    for at, length, snippet in cuts:
        text = text[:at] + snippet + text[at + length :]
    sound(compiled(text))


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(PATHS), VALUES | st.just(...))
def test_a_spec_with_one_value_replaced_or_removed(path: tuple[Any, ...], new: Any) -> None:
    sound(compiled(json.dumps(put(TREE, path, new))))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["ready", "a", "b_c", "Z", ""]), VALUES, max_size=4))
def test_a_spec_with_free_states(states: dict[str, Any]) -> None:
    sound(compiled(json.dumps({**TREE, "states": states})))


def test_the_unmutated_spec_is_sound() -> None:
    result = compiled(EXCERPT)
    assert result.diagnostics == []
    sound(result)

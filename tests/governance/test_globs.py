"""Globs, against a plain recursive matcher that is written differently."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopspec.machine.globs import allows_command, matches_path, matches_text


@pytest.mark.parametrize(
    ("glob", "path", "fits"),
    [
        ("src/**", "src/a/b.py", True),
        ("src/**", "src", True),
        ("src/", "src/a", True),
        ("src/", "src", True),
        ("./src/**", "src/a", True),
        ("src/**", "srcs/a", False),
        ("src/*", "src/a", True),
        ("src/*", "src/a/b", False),
        ("src/*", "src", False),
        ("*.py", "a.py", True),
        ("*.py", "src/a.py", False),
        ("**/*.py", "a.py", True),
        ("**/*.py", "src/x/a.py", True),
        ("**/.env", ".env", True),
        ("**/.env", "a/b/.env", True),
        ("**/.env", "a/b.env", False),
        ("**/.git/**", "vendor/.git", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "a/x/y/c", False),
        ("**", ".", True),
        ("*", ".", False),
        ("*", ".env", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("a.c", "abc", False),
        (".GIT/**", ".git/x", False),
    ],
)
def test_a_path(glob: str, path: str, fits: bool) -> None:
    assert matches_path(glob, path) is fits


def test_case_is_ignored_only_when_asked():
    assert matches_path(".git/**", ".GIT/config", fold=True)
    assert matches_text("Rm *", "rM -rf", fold=True)
    assert not matches_text("Rm *", "rM -rf")


def text_by_hand(glob: str, text: str) -> bool:
    if not glob:
        return not text
    if glob[0] == "*":
        return text_by_hand(glob[1:], text) or (bool(text) and text_by_hand(glob, text[1:]))
    return bool(text) and glob[0] in (text[0], "?") and text_by_hand(glob[1:], text[1:])


def path_by_hand(glob: list[str], path: list[str]) -> bool:
    if not glob:
        return not path
    if glob[0] == "**":
        return path_by_hand(glob[1:], path) or (bool(path) and path_by_hand(glob, path[1:]))
    return bool(path) and text_by_hand(glob[0], path[0]) and path_by_hand(glob[1:], path[1:])


@settings(max_examples=500, deadline=None)
@given(st.text("ab*?\n", max_size=7), st.text("ab\n", max_size=8))
def test_text_matches_as_by_hand(glob: str, text: str) -> None:
    assert matches_text(glob, text) == text_by_hand(glob, text)


SEGMENTS = st.sampled_from(("a", "b", "ab", "*", "a*", "*b", "?", "**"))


@settings(max_examples=500, deadline=None)
@given(
    st.lists(SEGMENTS, min_size=1, max_size=5),
    st.lists(st.sampled_from(("a", "b", "ab", "ba")), min_size=1, max_size=5),
)
def test_paths_match_as_by_hand(glob: list[str], path: list[str]) -> None:
    assert matches_path("/".join(glob), "/".join(path)) == path_by_hand(glob, path)


def test_a_hostile_text_costs_no_more_than_its_length():
    """With a backtracking matcher this would outlast the session."""
    begin = time.process_time()
    assert not matches_text("*a*a*a*a*a*a*a*a*a*a*b", "a" * 20_000)
    assert not matches_path("**/a/**/a/**/a/**/a/**/b", "a/" * 1_500 + "c")
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(
    ("glob", "command", "covered"),
    [
        ("echo *", "echo ${X:='$''(touch made)'} ${X@P}", False),  # bash runs it, as `/bin/sh` too
        ("echo *", "echo ${HOME}", False),
        ("echo *", "echo $[1+1]", False),
        ("echo ${HOME}*", "echo ${HOME}/a", True),
        ("echo ${HOME}*", "echo ${HOME}/${X@P}", False),
        ("echo *", "echo $HOME", True),
        ("*", "echo ${X@P}", True),
    ],
)
def test_an_expansion_that_can_run_a_text_must_stand_in_the_glob(
    glob: str, command: str, covered: bool
) -> None:
    assert allows_command(glob, command) is covered

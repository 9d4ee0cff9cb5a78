"""Paths of tools stay below the work directory, whatever links and dots they hold."""

import os
from pathlib import Path

import pytest

from loopspec.hooks import ToolFailed
from loopspec.tools.confine import inside, open_directory, open_file, relative


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    (work / "src").mkdir(parents=True)
    (work / "src" / "a.py").write_text("a\n")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("s\n")
    return work


def test_paths_inside_are_resolved(workdir: Path) -> None:
    (workdir / "link").symlink_to("src")
    absolute = str(workdir / "src" / "a.py")
    found = [
        relative(workdir, given)
        for given in ("src/a.py", "./src/../src/a.py", "link/a.py", absolute, ".", "new/x/y.py")
    ]
    assert found == ["src/a.py", "src/a.py", "src/a.py", "src/a.py", ".", "new/x/y.py"]
    assert inside(workdir, "link/a.py") == (workdir / "src" / "a.py").resolve()


def test_a_work_directory_behind_a_link_is_resolved_too(workdir: Path) -> None:
    alias = workdir.parent / "alias"
    alias.symlink_to(workdir)
    assert relative(alias, "src/a.py") == "src/a.py"
    assert relative(alias, str(alias / "src" / "a.py")) == "src/a.py"


@pytest.mark.parametrize(
    "given",
    [
        "../outside/secret",
        "src/../../outside/secret",
        "missing/../../outside/secret",
        "/etc/passwd",
        "out/secret",
        "out/new/file",
        "direct",
        "dangling",
    ],
)
def test_what_leads_outside_is_refused(workdir: Path, given: str) -> None:
    (workdir / "out").symlink_to("../outside")
    (workdir / "direct").symlink_to("../outside/secret")
    (workdir / "dangling").symlink_to("../outside/not-yet")
    with pytest.raises(ToolFailed) as refused:
        relative(workdir, given)
    assert str(refused.value) == (
        f"the path {given!r} leads outside the work directory; "
        "give a path relative to the work directory"
    )


@pytest.mark.parametrize(
    ("given", "fault"),
    [("", "is empty"), ("  ", "is empty"), ("a\0b", "NUL byte"), ("\ud800", "cannot be resolved")],
)
def test_what_is_no_path_is_refused(workdir: Path, given: str, fault: str) -> None:
    with pytest.raises(ToolFailed, match=fault):
        inside(workdir, given)


def test_a_sibling_whose_name_begins_alike_is_outside(workdir: Path) -> None:
    (workdir.parent / "work-two").mkdir()
    with pytest.raises(ToolFailed, match="leads outside"):
        inside(workdir, "../work-two/file")


def test_a_loop_of_links_is_refused(workdir: Path) -> None:
    (workdir / "one").symlink_to("two")
    (workdir / "two").symlink_to("one")
    with pytest.raises(ToolFailed), open_file(workdir, "one/x"):
        pass


def test_a_link_put_in_the_way_after_the_judgement_is_an_error(workdir: Path) -> None:
    path = inside(workdir, "src/new/file")
    (workdir / "src" / "a.py").unlink()
    (workdir / "src").rmdir()
    (workdir / "src").symlink_to("../outside")
    with (
        pytest.raises(ToolFailed, match="became a symbolic link"),
        open_directory(workdir, path.parent, create=True),
    ):
        pass
    assert sorted(os.listdir(workdir.parent / "outside")) == ["secret"]


def test_only_regular_files_are_opened(workdir: Path) -> None:
    os.mkfifo(workdir / "pipe")
    for given, fault in (
        ("pipe", "is not a regular file"),
        ("src", "is a directory"),
        (".", "is a directory"),
        ("src/b.py", "does not exist; did you mean a.py?"),
        ("nowhere/b.py", "does not exist; neither does its directory nowhere"),
    ):
        with pytest.raises(ToolFailed) as refused, open_file(workdir, given):
            pass
        assert fault in str(refused.value)

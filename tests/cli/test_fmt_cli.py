"""`loopspec fmt` as a real process: what is written, what is said, how it ends."""

import os
import subprocess
from pathlib import Path

import pytest

from .kit import Place

BEFORE = "# about\nname:   x\nloopspec: 1   # one\n"
AFTER = "# about\nloopspec: 1  # one\nname: x\n"
BROKEN = "loopspec: 1\nname: [x\n"
DIFF = """\
--- {name}
+++ {name}
@@ -1,3 +1,3 @@
 # about
-name:   x
-loopspec: 1   # one
+loopspec: 1  # one
+name: x
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def left(place: Place) -> set[str]:
    """What lies beside the work directory."""
    return {path.name for path in place.path.iterdir()} - {"work", "store"}


def test_files_are_formatted_in_place_and_those_that_stand_are_not_touched(place: Place) -> None:
    first, second = place.file("a.yaml", BEFORE), place.file("b.yaml", AFTER)
    first.chmod(0o640)
    os.utime(second, (1, 1))
    ran = place.run("fmt", first, second, first)
    assert (ran.code, ran.out, ran.err) == (0, f"formatted {first}\n", "")
    assert (first.read_text(), second.read_text()) == (AFTER, AFTER)
    assert first.stat().st_mode & 0o777 == 0o640
    assert second.stat().st_mtime == 1
    assert left(place) == {"a.yaml", "b.yaml"}
    assert place.run("fmt", first, second).out == ""


def test_check_names_what_would_change_and_writes_nothing(place: Place) -> None:
    first, second = place.file("a.yaml", BEFORE), place.file("b.yaml", AFTER)
    ran = place.run("fmt", "--check", first, second)
    assert (ran.code, ran.out, ran.err) == (1, f"would format {first}\n", "")
    assert first.read_text() == BEFORE
    ran = place.run("fmt", "--check", second)
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_diff_shows_what_would_change_and_writes_nothing(place: Place) -> None:
    first = place.file("a.yaml", BEFORE)
    shown = DIFF.format(name=first)
    ran = place.run("fmt", "--diff", first)
    assert (ran.code, ran.out, ran.err) == (0, shown, "")
    ran = place.run("fmt", "--diff", "--check", first)
    assert (ran.code, ran.out, ran.err) == (1, f"{shown}would format {first}\n", "")
    assert first.read_text() == BEFORE


def test_a_diff_says_what_patch_needs_to_know(place: Place) -> None:
    first = place.path / "a.yaml"
    first.write_bytes(b"\xef\xbb\xbfa: 1\r\nb:  2")
    done = subprocess.run(
        place.argv("fmt", "--diff", first), cwd=place.work, env=place.env(), capture_output=True
    )
    assert done.stdout == (
        f"--- {first}\n+++ {first}\n@@ -1,2 +1,2 @@\n".encode()
        + b"-\xef\xbb\xbfa: 1\r\n-b:  2\n\\ No newline at end of file\n+a: 1\n+b: 2\n"
    )
    assert place.run("fmt", first).code == 0
    assert first.read_bytes() == b"a: 1\nb: 2\n"


def test_stdin_goes_to_stdout(place: Place) -> None:
    ran = place.run("fmt", "-", stdin=BEFORE)
    assert (ran.code, ran.out, ran.err) == (0, AFTER, "")
    ran = place.run("fmt", "-", stdin=AFTER)
    assert (ran.code, ran.out, ran.err) == (0, AFTER, "")
    ran = place.run("fmt", "--check", "-", stdin=BEFORE)
    assert (ran.code, ran.out, ran.err) == (1, "would format <stdin>\n", "")
    ran = place.run("fmt", "--diff", "-", stdin=BEFORE)
    assert (ran.code, ran.out, ran.err) == (0, DIFF.format(name="<stdin>"), "")


def test_stdin_that_is_no_yaml_gives_diagnostics_and_no_text(place: Place) -> None:
    ran = place.run("fmt", "-", stdin=BROKEN)
    assert (ran.code, ran.out) == (52, "")
    assert ran.err.startswith("<stdin>:2:7: error LS005: a `[` has no matching `]`")


def test_what_is_no_readable_yaml_is_refused_as_check_says_it(place: Place) -> None:
    wrong, right = place.file("wrong.yaml", BROKEN), place.file("a.yaml", BEFORE)
    ran = place.run("fmt", wrong, right)
    assert (ran.code, ran.out) == (52, f"formatted {right}\n")
    assert ran.err == (
        f"{wrong}:2:7: error LS005: a `[` has no matching `]`, or a comma is missing\n"
        "  2 | name: [x\n"
        "    |       ^\n"
        "  remedy: close the brackets\n"
    )
    assert wrong.read_text() == BROKEN
    said = [line for line in place.run("check", wrong).out.splitlines() if line.startswith(str(wrong))]
    assert ran.err.splitlines()[0] == said[0]


def test_a_spec_with_other_faults_is_formatted(place: Place) -> None:
    spec = place.file(
        "a.yaml", "states: {a: {nonsense: 1, on: {x.y: nowhere}, kind: none}}\nloopspec: 1\n"
    )
    assert place.run("check", spec).code == 52
    assert place.run("fmt", spec).code == 0
    assert spec.read_text() == (
        "loopspec: 1\nstates: {a: {kind: none, nonsense: 1, on: {x.y: nowhere}}}\n"
    )


def test_a_link_is_followed_and_stays_a_link(place: Place) -> None:
    target = place.file("a.yaml", BEFORE)
    link = place.work / "link.yaml"
    link.symlink_to(target)
    assert place.run("fmt", link).out == f"formatted {link}\n"
    assert link.is_symlink() and target.read_text() == AFTER
    assert [path.name for path in place.work.iterdir()] == ["link.yaml"]


def test_what_is_no_file_is_said_in_a_line_and_the_rest_is_done(place: Place) -> None:
    right = place.file("a.yaml", BEFORE)
    circle, pipe, missing = place.path / "circle", place.path / "pipe", place.path / "none.yaml"
    circle.symlink_to(circle)
    os.mkfifo(pipe)
    ran = place.run("fmt", missing, place.work, circle, pipe, right)
    assert (ran.code, ran.out) == (2, f"formatted {right}\n")
    assert ran.err.splitlines() == [
        f"loopspec: there is no file `{missing}`. check the path",
        f"loopspec: {place.work}: this is a directory. name a YAML file",
        f"loopspec: {circle}: the file cannot be read: Too many levels of symbolic links. "
        "check path and permissions",
        f"loopspec: {pipe}: this is not a regular file. name a YAML file",
    ]


def test_a_read_only_file_is_left_alone(place: Place) -> None:
    spec = place.file("a.yaml", BEFORE)
    spec.chmod(0o444)
    ran = place.run("fmt", spec)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"loopspec: {spec}: the file is read-only. make it writable\n"
    assert spec.read_text() == BEFORE
    assert place.run("fmt", "--check", spec).code == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_said(place: Place) -> None:
    folder = place.path / "closed"
    folder.mkdir()
    spec = folder / "a.yaml"
    spec.write_text(BEFORE)
    folder.chmod(0o500)
    ran = place.run("fmt", spec)
    folder.chmod(0o700)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"loopspec: {spec}: the file cannot be written: Permission denied. it is as it was\n"
    )
    assert spec.read_text() == BEFORE


def test_stdin_stands_alone_and_something_must_be_named(place: Place) -> None:
    ran = place.run("fmt", "-", "a.yaml", stdin=BEFORE)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "loopspec: `-` stands alone. name files, or give one text on stdin\n"
    ran = place.run("fmt")
    assert ran.code == 2 and "Missing argument 'FILE...'" in ran.err


def test_a_reader_that_has_gone_is_no_trouble(place: Place) -> None:
    spec = place.file("a.yaml", "".join(f"k{n}:   {n}\n" for n in range(20_000)))
    for args in (["--diff", spec], ["-"]):
        with spec.open() as text:
            process = subprocess.Popen(
                place.argv("fmt", *args),
                cwd=place.work,
                env=place.env(),
                stdin=text,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        with process.stderr:
            assert (process.stderr.read(), process.wait(60)) == ("", 1)


def test_a_full_disk_under_stdout_is_said(place: Place) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            place.argv("fmt", "-"),
            cwd=place.work,
            env=place.env(),
            input=BEFORE,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (1, "loopspec: No space left on device\n")

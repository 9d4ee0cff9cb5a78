"""Guidance: which files are found, which has the last word, and what is never read."""

import os
from pathlib import Path

import msgspec
import pytest

from loopspec.codec import decode, encode
from loopspec.drivers.guidance import CUT, guided
from loopspec.machine.model import Guidance, Machine

MACHINE = Machine("m", "1.0.0", "", {}, (), guidance=Guidance())


def plain(text: str) -> str:
    return text


def read(workdir: Path, wanted: Guidance | None = None) -> tuple[tuple[str, ...], str]:
    machine = msgspec.structs.replace(MACHINE, guidance=wanted or Guidance())
    made = guided(machine, workdir, plain)
    assert made.guidance is not None
    assert decode(encode(made), Machine) == made
    return made.guidance.found, made.guidance.text


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "AGENTS.md").write_text("outside\n")
    root = tmp_path / "repository"
    (root / ".git").mkdir(parents=True)
    (root / "a" / "b").mkdir(parents=True)
    return root


def test_the_nearest_stands_last_and_nothing_outside_the_repository_is_read(repository: Path) -> None:
    (repository / "AGENTS.md").write_text("Use tabs.\n")
    (repository / "a" / "AGENTS.md").write_text("Use spaces here.\n\n")
    assert read(repository / "a" / "b") == (
        ("../../AGENTS.md", "../AGENTS.md"),
        "# From ../../AGENTS.md\n\nUse tabs.\n\n# From ../AGENTS.md\n\nUse spaces here.\n",
    )


def test_without_a_repository_only_the_work_directory_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_text("above")
    below = tmp_path / "below"
    below.mkdir()
    assert read(below) == ((), "")
    (below / "AGENTS.md").write_text("here")
    assert read(below) == (("AGENTS.md",), "# From AGENTS.md\n\nhere\n")


def test_in_one_folder_the_first_name_that_is_there_counts(repository: Path) -> None:
    (repository / "CLAUDE.md").write_text("second")
    wanted = Guidance(files=("AGENTS.md", "CLAUDE.md"))
    assert read(repository, wanted) == (("CLAUDE.md",), "# From CLAUDE.md\n\nsecond\n")
    (repository / "AGENTS.md").write_text("first")
    assert read(repository, wanted) == (("AGENTS.md",), "# From AGENTS.md\n\nfirst\n")


def test_the_nearest_is_cut_last(repository: Path) -> None:
    (repository / "AGENTS.md").write_text("far " * 10)
    (repository / "a" / "AGENTS.md").write_text("near " * 4)
    found, text = read(repository / "a", Guidance(max_bytes=30))
    assert found == ("../AGENTS.md", "AGENTS.md")
    far = f"# From ../AGENTS.md\n\nfar far fa{CUT.rstrip()}\n"
    assert text == f"{far}\n# From AGENTS.md\n\nnear near near near\n"
    found, text = read(repository / "a", Guidance(max_bytes=10))
    assert (found, text) == (("AGENTS.md",), f"# From AGENTS.md\n\nnear near{CUT.rstrip()}\n")


def test_a_link_that_leads_out_and_a_file_nobody_may_read_count_as_not_there(repository: Path) -> None:
    secret = repository.parent / "secret"
    secret.write_text("do not read")
    (repository / "AGENTS.md").symlink_to(secret)
    assert read(repository) == ((), "")
    (repository / "AGENTS.md").unlink()
    (repository / "AGENTS.md").mkdir()
    assert read(repository) == ((), "")


def test_bytes_that_are_no_text_and_secrets_are_replaced(repository: Path) -> None:
    (repository / "AGENTS.md").write_bytes(b"a\xff the key is hunter2\n")

    def redact(text: str) -> str:
        return text.replace("hunter2", "[redacted]")

    made = guided(MACHINE, repository, redact)
    assert made.guidance is not None
    assert made.guidance.text == "# From AGENTS.md\n\na\ufffd the key is [redacted]\n"


def test_a_secret_across_the_cut_is_seen_whole(repository: Path) -> None:
    (repository / "AGENTS.md").write_text("key: hunter2")
    machine = msgspec.structs.replace(MACHINE, guidance=Guidance(max_bytes=8))
    made = guided(machine, repository, lambda text: text.replace("hunter2", "[redacted]"))
    assert made.guidance is not None
    assert made.guidance.text == f"# From AGENTS.md\n\nkey: [re{CUT.rstrip()}\n"


def test_a_spec_without_guidance_gets_none(repository: Path) -> None:
    (repository / "AGENTS.md").write_text("here")
    machine = msgspec.structs.replace(MACHINE, guidance=None)
    assert guided(machine, repository, plain) is machine


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_left_out(repository: Path) -> None:
    (repository / "AGENTS.md").write_text("x")
    (repository / "AGENTS.md").chmod(0)
    assert read(repository) == ((), "")


@pytest.mark.parametrize("leads", [".env", ".env.local", "config/.ENV", ".git/config"])
def test_a_link_to_what_holds_secrets_is_left_out(repository: Path, leads: str) -> None:
    (repository / leads).parent.mkdir(exist_ok=True)
    (repository / leads).write_text("secret")
    os.symlink(leads, repository / "AGENTS.md")
    assert read(repository) == ((), "")

"""The edge agent where it belongs: 256 MB, no network, a model server on the same machine."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.edge_texts import LONG, ROUNDS

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LIMIT = 256 * 1024 * 1024
CUT_OFF = ("unshare", "-rn")
LOOPSPEC = (sys.executable, "-m", "loopspec")


def environment(place: Path) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT / "tests" / "models"), str(ROOT)])
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LOOPSPEC_")}
    return {**kept, "PYTHONPATH": path, "LOOPSPEC_STORE": str(place / "store"), "NO_COLOR": "1"}


def needs_a_namespace() -> None:
    """Skip where no network namespace can be made."""
    if shutil.which(CUT_OFF[0]) is None:
        pytest.skip("there is no unshare here")
    done = subprocess.run([*CUT_OFF, "true"], capture_output=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip("no network namespace can be made here")


def controller() -> Path | None:
    """Where cgroups of the memory controller are made: version 2, else version 1."""
    two, one = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory")
    with contextlib.suppress(OSError):
        if "memory" in (two / "cgroup.subtree_control").read_text().split() and os.access(two, os.W_OK):
            return two
    return one if (one / "memory.limit_in_bytes").exists() and os.access(one, os.W_OK) else None


@contextlib.contextmanager
def limited() -> Iterator[Path | None]:
    """A cgroup that holds `LIMIT` bytes and no swap; None where none can be made."""
    parent = controller()
    made = parent / f"loopspec-{uuid.uuid4().hex[:12]}" if parent is not None else None
    if made is not None:
        try:
            made.mkdir()
        except OSError:
            made = None
    if made is None:
        yield None
        return
    try:
        two = (made / "memory.max").exists()
        limits = ("memory.max",) if two else ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        for name in limits:
            if (made / name).exists():
                (made / name).write_text(str(LIMIT))
        if two and (made / "memory.swap.max").exists():
            (made / "memory.swap.max").write_text("0")
        yield made
    finally:
        made.rmdir()


def killed(cgroup: Path) -> int:
    """How often the kernel ended a process for want of memory."""
    for name in ("memory.events", "memory.oom_control"):
        with contextlib.suppress(OSError):
            for line in (cgroup / name).read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def run_inside(
    place: Path, cgroup: Path | None, *command: str, window: int = 4096, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Run a command cut off from every network, beside a local model server of this window."""
    report = place / "report.json"
    work = place / "work"
    work.mkdir(exist_ok=True)
    inside = (sys.executable, str(HERE / "edge_inside.py"), str(report), str(cgroup or "-"))
    done = subprocess.run(
        [*CUT_OFF, *inside, *command],
        cwd=work,
        env={**environment(place), "EDGE_WINDOW": str(window), "EDGE_ROUNDS": str(rounds)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def test_f24_the_edge_agent_runs_without_a_network_in_256_mb(tmp_path: Path) -> None:
    needs_a_namespace()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "pumps.log").write_text(LONG)
    with limited() as cgroup:
        found = run_inside(
            tmp_path, cgroup, *LOOPSPEC, "run", "edge-agent", "-p", "How is station 3 doing?"
        )
        assert cgroup is None or killed(cgroup) == 0
    assert (found["code"], found["outside"]) == (0, []), found["err"]
    assert found["out"] == "Station 3 is 🟢.\n"
    chats = [a for a in found["asked"] if a.endswith("/chat/completions")]
    assert len(chats) == ROUNDS
    assert set(found["tools"]) == {4}  # the window of 4096 takes all of them
    # Without a cgroup nothing was limited; then the peak alone says whether it would have held.
    assert found["peak_kb"] * 1024 < LIMIT
    shown = subprocess.run(
        [*LOOPSPEC, "timeline", "last"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "context.compacted" in shown.stdout
    print(f"peak {found['peak_kb'] / 1024:.0f} MB, limited by {cgroup or 'nothing'}", file=sys.stderr)


@pytest.mark.parametrize(("window", "tools"), [(1500, 4), (1300, 2), (1000, 1)])
def test_f19_the_window_a_server_has_loaded_decides_the_profile(
    window: int, tools: int, tmp_path: Path
) -> None:
    needs_a_namespace()
    found = run_inside(
        tmp_path, None, *LOOPSPEC, "run", "edge-agent", "-p", "Well?", window=window, rounds=1
    )
    assert (found["code"], found["tools"]) == (0, [tools]), found["err"]


def test_f19_a_window_too_small_for_every_profile_is_exit_52_with_the_numbers(tmp_path: Path) -> None:
    needs_a_namespace()
    found = run_inside(tmp_path, None, *LOOPSPEC, "run", "edge-agent", "-p", "Well?", window=700)
    assert found["code"] == 52
    assert not [a for a in found["asked"] if a.endswith("/chat/completions")]
    told = " ".join(found["err"].split())
    sums = re.findall(
        r"prompt `(\w+)` (\d+) \+ (\d) tools? (\d+) \+ reserve 768 = ([\d,]+)", told
    )
    profiles = [("system", "4"), ("system", "2"), ("short", "1")]
    assert [(name, many) for name, _, many, _, _ in sums] == profiles
    for _, prompt, _, tools, total in sums:
        assert int(prompt) + int(tools) + 768 == int(total.replace(",", "")) > 700
    assert "the window of local/qwen3:4b has 700 tokens" in told
    assert not (tmp_path / "store").exists()


def test_f24_rules_answer_without_any_server(tmp_path: Path) -> None:
    needs_a_namespace()
    done = subprocess.run(
        [*CUT_OFF, *LOOPSPEC, "run", "edge-agent", "-p", "ping"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "I am here.\n"), done.stderr


CHAT = """
loopspec: 1
name: far
version: 1.0.0
models:
  main:
    use: openai/gpt-5-mini
    retry: {attempts: 3, base: 1ms, cap: 1ms}
initial: ready
states:
  ready: {kind: input, on: {user.message: answering}}
  answering:
    kind: model
    on:
      model.replied: ready
      model.overflowed: failed
      context.pressed: failed
      model.failed:
        target: failed
        say: "{{ event.attempts }} attempts, the last one: {{ event.reason }}"
  failed: {outcome: failed, on: {user.message: answering}}
"""


def test_f24_a_model_in_a_cloud_fails_clearly_and_soon_without_a_network(tmp_path: Path) -> None:
    needs_a_namespace()
    (tmp_path / "far.yaml").write_text(CHAT)
    env = {**environment(tmp_path), "OPENAI_API_KEY": "sk-nothing"}
    done = subprocess.run(
        [*CUT_OFF, *LOOPSPEC, "run", "far.yaml", "-p", "Hello", "--output-format", "stream-json"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    entries = [line for line in lines if "at" in line]
    attempts = [e for e in entries if "attempt.failed" in json.dumps(e)]
    assert len(attempts) == 3
    assert all('"connection"' in json.dumps(e) for e in attempts)
    assert "3 attempts, the last one: connection" in done.stdout
    # Counting tokens or reading a price list would try the network for 24 seconds each time.
    assert attempts[-1]["at"] - attempts[0]["at"] < 20_000_000

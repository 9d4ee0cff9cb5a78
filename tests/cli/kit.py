"""Running the real command line as a real process, with its own store and work directory."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT = 120


@dataclass(frozen=True)
class Ran:
    """A finished process."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """stdout as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


class Place:
    """A work directory and a store for one test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.work = path / "work"
        self.work.mkdir(parents=True)
        self.store = path / "store"

    def env(self, **more: str) -> dict[str, str]:
        """The environment of a person without any key."""
        keep = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "TMPDIR")
        base = {k: v for k, v in os.environ.items() if k in keep}
        return {**base, "LOOPSPEC_STORE": str(self.store), "LANG": "C.UTF-8", **more}

    def file(self, name: str, text: str) -> Path:
        """Write a file beside the work directory."""
        path = self.path / name
        path.write_text(text)
        return path

    def argv(self, *args: str | Path) -> list[str]:
        """The command line of `loopspec ARGS`."""
        return [sys.executable, "-m", "loopspec", *map(str, args)]

    def run(self, *args: str | Path, stdin: str | None = None, **env: str) -> Ran:
        """Run `loopspec ARGS` to its end."""
        done = subprocess.run(
            self.argv(*args),
            cwd=self.work,
            env=self.env(**env),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self, *args: str | Path, **env: str) -> "subprocess.Popen[str]":
        """Start `loopspec ARGS`, its output in pipes, in a process group of its own."""
        return subprocess.Popen(
            self.argv(*args),
            cwd=self.work,
            env=self.env(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def session(self) -> str:
        """The only session of the store."""
        from loopspec.stores.sqlite import SqliteStore

        store = SqliteStore(self.store, readonly=True)
        try:
            (row,) = store.sessions()
            return row.session
        finally:
            store.close()

    def entries(self, session: str | None = None) -> list[Any]:
        """The session's journal entries."""
        from loopspec.journal.chain import read
        from loopspec.stores.sqlite import SqliteStore

        store = SqliteStore(self.store, readonly=True)
        try:
            return [read(row) for row in store.entries(session or self.session())]
        finally:
            store.close()


def until(process: "subprocess.Popen[str]", name: str, count: int = 1) -> list[dict[str, Any]]:
    """Read stream-json lines of a running process until `count` lines named `name` were seen."""
    seen: list[dict[str, Any]] = []
    assert process.stdout is not None
    for line in process.stdout:
        seen.append(json.loads(line))
        if seen[-1].get("name") == name:
            count -= 1
            if not count:
                return seen
    raise AssertionError(f"the process ended before `{name}`: {process.communicate()[1]}")


def kill(process: "subprocess.Popen[str]") -> None:
    """kill -9, and wait."""
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=TIMEOUT)


LOOP = """\
# yaml-language-server: $schema=../schemas/loopspec-1.schema.json
loopspec: 1
name: small
version: 1.0.0
models: {main: {use: scripted/script.yaml, retry: {attempts: 2, base: 1ms, cap: 1ms}}}
tools:
  read: {use: files.read}
  edit: {use: files.edit}
  write: {use: files.write}
  shell: {use: shell.run, effect: write}
  ask: {use: ask.person}
prompts: {system: "Work in {{ session.workdir }}."}
budgets: {turns: 20, elapsed: 1h}
authority:
  allow: [{tools: [read, edit, write, ask]}]
  ask: [{tools: [shell]}]
  deny: [{tools: ["*"], paths: ["secret/**"]}]
initial: ready
states:
  ready: {kind: input, on: {user.message: working}}
  working:
    initial: streaming
    on:
      user.interrupted: interrupted
      host.suspended: suspended
      budget.exhausted: over_budget
    states:
      streaming:
        kind: model
        prompt: system
        on:
          model.replied:
            - {guard: size(event.calls) > 0, target: deciding}
            - {target: ready}
          context.pressed: compacting
          model.overflowed: compacting
          model.failed: {target: failed, say: "The model failed: {{ event.reason }}"}
      deciding:
        kind: gate
        on: {gate.allowed: tool_running, gate.asked: awaiting_approval, gate.denied: streaming}
      awaiting_approval:
        kind: approval
        after: {24h: streaming}
        on: {approval.granted: tool_running, approval.denied: streaming}
      tool_running:
        kind: tools
        boundary: workspace
        on: {tools.settled: streaming, effect.lost: awaiting_approval, boundary.failed: ready}
      compacting:
        kind: compact
        on: {context.compacted: streaming, context.stuck: ready}
      resume: {type: history, deep: true, target: streaming}
  failed: {outcome: failed, on: {user.resumed: working, user.message: working}}
  interrupted:
    kind: interrupt
    on: {user.resumed: working.resume, user.message: working, rollback.chosen: rolling_back}
  suspended: {kind: suspend, on: {host.woke: working.resume, user.resumed: working.resume}}
  rolling_back:
    kind: rollback
    accept: {LS706: it is finished once begun}
    on: {rollback.done: interrupted, rollback.partial: interrupted, rollback.failed: interrupted}
  over_budget: {on: {budget.extended: working.resume, user.resumed: working.resume}}
"""


def small(place: Place, *turns: dict[str, Any], loop: str = LOOP, **head: Any) -> Path:
    """The small loop with a script of `turns`; gives back the spec's path."""
    script = {"script": 1, **head, "turns": list(turns)}
    text = json.dumps(script)  # JSON is YAML
    path = place.file("script.yaml", text)
    return place.file("loop.yaml", loop.replace("scripted/script.yaml", f"scripted/{path}"))

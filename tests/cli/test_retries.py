"""Failed attempts in real sessions: gone on with, after a kill too, waited for, and left for another."""

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from cli.kit import Place, kill
from loopspec.context.transcript import Item, apply
from loopspec.effects import CallModel
from loopspec.errors import StoreError
from loopspec.events import AttemptFailed, ModelReplied
from loopspec.journal.entry import Entry
from loopspec.stores.sqlite import FILE, SqliteStore

SPEC = """\
loopspec: 1
name: tale
version: 1.0.0
models: {{main: {{use: scripted/{one}, {model}}}}}
budgets: {{turns: 9}}
initial: ready
states:
  ready: {{kind: input, on: {{user.message: telling}}}}
  telling:
    kind: model
    on:
      model.replied: end
      model.failed: end
      model.overflowed: end
      context.pressed: end
      budget.exhausted: end
      user.interrupted: ready
  end: {{type: final}}
"""
QUICK = "retry: {base: 1ms, cap: 1ms}"


def attempts(found: list[Entry]) -> list[CallModel]:
    """Every attempt that was asked for."""
    return [e for entry in found for e in entry.effects if isinstance(e, CallModel)]


def events(found: list[Entry], kind: type) -> list[Any]:
    """The events of one class."""
    return [entry.event for entry in found if isinstance(entry.event, kind)]


def view(found: list[Entry]) -> list[tuple[str, str, bool]]:
    """What the model sees."""
    items: list[Item] = []
    for entry in found:
        apply(items, entry)
    return [(item.role, item.text, item.partial) for item in items]


@pytest.fixture(name="place")
def _place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def spec(place: Place, script: str, model: str = QUICK) -> Path:
    """The loop, with its model's script."""
    one = place.file("one.yaml", script)
    return place.file("tale.yaml", SPEC.format(one=one, model=model))


def test_f3_a_reply_that_breaks_off_in_its_text_goes_on_where_it_stopped(place: Place) -> None:
    script = """\
script: 1
prefill: true
turns:
  - {reply: "Once upon a", truncate: true}
  - {reply: "Once upon a time."}
"""
    ran = place.run("run", spec(place, script), "-p", "tell")
    assert (ran.code, ran.out.count("Once upon a time.")) == (0, 1), ran
    found = place.entries()
    first, second = attempts(found)
    (failed,) = (entry for entry in found if isinstance(entry.event, AttemptFailed))
    assert isinstance(failed.event, AttemptFailed)
    assert (failed.event.reason, failed.event.partial) == ("truncated", "Once upon a")
    assert (second.after, second.continues) == (first.id, failed.seq)
    assert view(found) == [("user", "tell", False), ("assistant", "Once upon a time.", False)]


def test_f5_a_server_that_always_wants_a_second_is_never_asked_before(place: Place) -> None:
    script = """\
script: 1
turns:
  - {error: {status: 429, message: slow down, retry_after: 0.2}, times: 4}
  - {reply: "At last."}
"""
    ran = place.run("run", spec(place, script), "-p", "tell")
    assert (ran.code, "At last." in ran.out) == (0, True), ran
    found = place.entries()
    failed = [entry for entry in found if isinstance(entry.event, AttemptFailed)]
    asked = [entry for entry in found if attempts([entry])][1:]
    assert [e.event.reason for e in failed if isinstance(e.event, AttemptFailed)] == ["rate_limited"] * 4
    waits = [later.awake - early.awake for early, later in zip(failed, asked, strict=True)]
    assert all(wait >= 200_000 for wait in waits), waits


def test_another_model_takes_over_and_the_journal_says_why(place: Place) -> None:
    two = place.file("two.yaml", 'script: 1\nturns: [{reply: "I can."}]\n')
    script = "script: 1\nturns: [{error: {status: 529, message: overloaded}, times: 9}, {reply: no}]\n"
    model = f"fallbacks: [scripted/{two}], retry: {{attempts: 2, base: 1ms}}"
    ran = place.run("run", spec(place, script, model), "-p", "tell")
    assert (ran.code, "I can." in ran.out) == (0, True), ran
    found = place.entries()
    left = [(one.why, one.reason, one.attempts) for entry in found for one in entry.record.left]
    assert left == [("attempts", "overloaded", 2)]
    (reply,) = events(found, ModelReplied)
    assert reply.text == "I can."
    shown = place.run("timeline", place.session(), "--full").out
    assert "overloaded, after 2 attempts" in " ".join(shown.split()), shown


def _kept(place: Place) -> bool:
    """Whether the store holds some open text."""
    store = SqliteStore(place.store, readonly=True)
    try:
        return any(store.partials(row.session) for row in store.sessions())
    finally:
        store.close()


def until_kept(place: Place, running: "subprocess.Popen[str]") -> None:
    """Wait until some of the open text is kept beside the journal."""
    late = time.monotonic() + 60
    while time.monotonic() < late:
        assert running.poll() is None, "it ended early"
        try:
            if (place.store / FILE).exists() and _kept(place):
                return
        except StoreError:
            pass  # it is being made
        time.sleep(0.02)
    raise AssertionError("nothing is kept")


@pytest.mark.slow
def test_killed_in_the_middle_of_a_reply_the_next_process_goes_on_with_it(place: Place) -> None:
    script = """\
script: 1
prefill: true
turns:
  - {reply: "Once upon a time there was a loop that nobody could stop.", chunk: 4, delay: 0.4}
"""
    running = place.start("run", spec(place, script), "-p", "tell")
    try:
        until_kept(place, running)
    finally:
        kill(running)
    session = place.session()
    ran = place.run("resume", session)
    assert ran.code == 0, ran
    found = place.entries()
    (failed,) = events(found, AttemptFailed)
    assert (failed.reason, failed.resumable) == ("restart", True)
    assert attempts(found)[-1].continues > 0
    told = "Once upon a time there was a loop that nobody could stop."
    assert told.startswith(failed.partial) and failed.partial
    assert view(found) == [("user", "tell", False), ("assistant", told, False)]

"""Guidance through the command line: the model is told what `AGENTS.md` says, for the whole session."""

from pathlib import Path

from cli.kit import Place
from loopspec.codec import digest
from loopspec.effects import CallModel
from loopspec.stores.sqlite import SqliteStore

SPEC = """\
loopspec: 1
name: guided
version: 1.0.0
guidance: {}
models: {main: {use: scripted/replies.yaml}}
prompts: {system: "You help. {{ guidance }}"}
budgets: {turns: 9}
initial: ready
states:
  ready: {kind: input, on: {user.message: working}}
  working:
    kind: model
    model: main
    prompt: system
    on:
      model.replied: ready
      model.failed: ready
      model.overflowed: ready
      context.pressed: ready
      budget.exhausted: ready
      user.interrupted: ready
"""
REPLIES = "script: 1\nturns:\n  - {reply: One.}\n  - {reply: Two.}\n"


def test_the_model_is_told_and_a_resumed_session_keeps_what_it_began_with(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.file("replies.yaml", REPLIES)
    spec = place.file("guided.yaml", SPEC)
    (place.work / "AGENTS.md").write_text("Use tabs. The key is swordfish-is-it.\n")
    secret = {"OPENAI_API_KEY": "swordfish-is-it"}
    ran = place.run("run", spec, "-p", "Hi", "--session", "s", **secret)
    assert (ran.code, ran.out) == (0, "One.\n")
    (place.work / "AGENTS.md").write_text("Use spaces.\n")
    assert place.run("resume", "s", "-p", "And now?").out == "Two.\n"
    assert place.run("replay", "s", "--recompute").code == 0

    told = b"You help. # From AGENTS.md\n\nUse tabs. The key is [secret:OPENAI_API_KEY].\n"
    store = SqliteStore(place.store, readonly=True)
    try:
        rows = b"".join(store.entries("s"))
        assert store.blob(digest(told)) == told
    finally:
        store.close()
    assert rows.count(f'"system":"{digest(told)}"'.encode()) == 2
    assert CallModel.__struct_config__.tag.encode() in rows
    assert b"swordfish" not in rows

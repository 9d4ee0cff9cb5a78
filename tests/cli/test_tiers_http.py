"""Tiers over real HTTP on loopback: what one tier may not answer, the next one does."""

import json
from pathlib import Path
from typing import Any

from cli.kit import Place
from loopspec.events import ModelReplied
from loopspec.testing.server import ModelServer
from loopspec.testing.serving.replies import Call, Say

SPEC = """
loopspec: 1
name: tiered
version: 1.0.0
models:
  main:
    tiers:
      - {name: device, use: local/small, privacy: secret, params: {api_base: "DEVICE/v1", temperature: 0}}
      - {name: far, use: local/large, network: true, params: {api_base: "FAR/v1"}}
    escalate: ESCALATE
    reply_schema: {type: object, required: [total]}
budgets: {turns: 20}
tools: {read_file: {use: files.read}}
authority: {allow: [{tools: ["*"]}]}
initial: ready
states:
  ready: {kind: input, on: {user.message: asking}}
  asking:
    kind: model
    on:
      model.replied: [{guard: size(event.calls) > 0, target: deciding}, {target: finished}]
      model.failed: broken
      model.overflowed: broken
      budget.exhausted: broken
      context.pressed: broken
  deciding: {kind: gate, on: {gate.allowed: running, gate.denied: asking, gate.asked: broken}}
  running: {kind: tools, on: {tools.settled: asking, effect.lost: broken, budget.exhausted: broken}}
  finished: {type: final}
  broken: {type: final, outcome: failed}
"""
ALL = "[schema, refusal, low_confidence, tool_need, {failures: 1}]"


Played = tuple[list[dict[str, Any]], list[Any], list[Any], Place]


def play(path: Path, device: Say, far: Say, escalate: str = ALL) -> Played:
    """One run with a probe that answers: its lines, what each server was asked, the place."""
    place = Place(path)
    with ModelServer(device) as near, ModelServer(far) as away:
        text = SPEC.replace("DEVICE", near.base).replace("FAR", away.base).replace("ESCALATE", escalate)
        env = {"LOOPSPEC_PROBE": away.base.removeprefix("http://")}
        spec = place.file("tiered.yaml", text)
        ran = place.run("run", spec, "-p", "add it up", "--output-format", "stream-json", **env)
        for server in (near, away):
            server.wrong.clear()  # it was asked for its window, by ways it does not know
    return ran.lines, talked(near), talked(away), place


def talked(server: ModelServer) -> list[Any]:
    """The bodies of the requests for a reply."""
    return [asked.body for asked in server.requests if asked.path.endswith("/chat/completions")]


def replies(place: Place) -> list[tuple[str, tuple[str, ...]]]:
    """Each reply's text and faults."""
    events = (entry.event for entry in place.entries())
    return [(e.text, e.faults) for e in events if isinstance(e, ModelReplied)]


GOOD = Say('{"total": 3}')


def test_a_reply_that_does_not_fit_is_not_shown_to_the_next_tier(tmp_path: Path) -> None:
    lines, near, away, place = play(tmp_path, Say("It is three."), GOOD)
    assert replies(place) == [("It is three.", ("schema",)), ('{"total": 3}', ())]
    assert near[-1]["temperature"] == 0
    asked = away[-1]
    assert (asked["model"], [m["content"] for m in asked["messages"]]) == ("large", ["add it up"])
    assert "temperature" not in asked
    assert lines[-1]["answer"] == '{"total": 3}'
    assert lines[-1]["usage"] == {"input_tokens": 40, "output_tokens": 20, "calls": 0}
    void = [line for line in lines if line.get("name") == "stream.discarded"]
    assert len(void) == 1 and "schema" in json.dumps(void)


def test_a_tool_that_was_not_offered_is_no_call_of_the_session(tmp_path: Path) -> None:
    wants = Say(calls=(Call("send_mail", json.dumps({"to": "a"})),))
    lines, _, away, place = play(tmp_path, wants, GOOD)
    assert replies(place) == [("", ("tool_need",)), ('{"total": 3}', ())]
    assert not [m for m in away[-1]["messages"] if m["role"] != "user"]
    assert lines[-1]["answer"] == '{"total": 3}'


def test_a_fault_that_is_not_declared_stays_on_the_reply(tmp_path: Path) -> None:
    _, _, away, place = play(tmp_path, Say("It is three."), GOOD, "[refusal]")
    assert (replies(place), away) == ([("It is three.", ("schema",))], [])

"""The outbox from the command line: work waits over processes, expires, and is done once."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.kit import Place, kill, until
from loopspec.effects import CallModel
from loopspec.events import AttemptFailed, HostSurveyed, HostWoke, ModelReplied, TimerFired

SPEC = """
loopspec: 1
name: tiered
version: 1.0.0
inputs: {note: {type: string, default: "x"PRIVACY}}
models:
  main:
    tiers:
      - {name: rules, rules: [{match: "^ping (.+)", reply: "pong {{ groups['1'] }}"}]}
      - {name: cloud, use: scripted/cloud.yaml, privacy: public, network: true}
    outbox: {expires: EXPIRES, poll: 1h}
prompts: {system: "{{ inputs.note }}"}
budgets: {turns: 20}
initial: ready
states:
  ready: {kind: input, on: {user.message: asking}}
  asking:
    kind: model
    prompt: system
    on:
      model.replied: finished
      model.failed: {target: broken, actions: [{say: "failed: {{ event.reason }}"}]}
      model.overflowed: broken
      budget.exhausted: broken
      context.pressed: broken
      user.interrupted: broken
  finished: {type: final}
  broken: {type: final, outcome: failed}
"""
CLOUD = """
script: 1
loop: true
turns:
  - reply: From the cloud.
"""
OFFLINE = {"LOOPSPEC_OFFLINE": "1"}


@pytest.fixture
def online() -> Iterator[dict[str, str]]:
    """The environment of a machine whose probe answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield {"LOOPSPEC_PROBE": f"127.0.0.1:{server.getsockname()[1]}"}


def made(path: Path, expires: str = "24h", privacy: str = "") -> tuple[Place, Path]:
    """A place with the spec and its cloud."""
    place = Place(path)
    place.file("cloud.yaml", CLOUD)
    text = SPEC.replace("EXPIRES", expires).replace("PRIVACY", f", privacy: {privacy}" if privacy else "")
    return place, place.file("tiered.yaml", text)


def events(place: Place, session: str) -> list[Any]:
    """A session's events."""
    return [entry.event for entry in place.entries(session)]


def uses(place: Place, session: str) -> list[str]:
    """The tiers a session has asked."""
    effects = [effect for entry in place.entries(session) for effect in entry.effects]
    return [effect.tier for effect in effects if isinstance(effect, CallModel)]


def test_rules_answer_without_a_network_and_for_nothing(tmp_path: Path) -> None:
    place, spec = made(tmp_path)
    ran = place.run("run", spec, "-p", "ping you", "--output-format", "json", **OFFLINE)
    (result,) = ran.lines
    assert (ran.code, result["answer"]) == (0, "pong you")
    assert (result["usage"]["input_tokens"], result["cost_usd"]) == (0, "0.000000000")


def test_work_waits_over_a_kill_and_is_done_when_the_network_is_back(
    tmp_path: Path, online: dict[str, str]
) -> None:
    place, spec = made(tmp_path)
    stream = ("--output-format", "stream-json")
    process = place.start("run", spec, "--session", "s1", "-p", "sum", *stream, **OFFLINE)
    until(process, "attempt.failed")  # the rules; the same entry puts the rest into the outbox
    kill(process)
    listed = place.run("outbox", **OFFLINE)
    assert listed.code == 0
    assert listed.out.startswith("s1  asking asks cloud  waits for ")
    assert "expires in 23 h 59 min" in listed.out
    waits = place.run("outbox", "run", **OFFLINE)
    assert (waits.code, waits.out) == (56, "")
    assert "no network: LOOPSPEC_OFFLINE is set" in waits.err
    done = place.run("outbox", "run", **online)
    assert (done.code, done.out) == (0, "From the cloud.\n"), done.err
    assert uses(place, "s1") == ["rules", "cloud"]
    assert place.run("outbox").out == "nothing waits for the network\n"
    assert place.run("verify", "s1").code == 0  # every step recomputed is the one recorded


def test_a_run_without_a_person_rests_with_56_and_says_how_to_go_on(
    tmp_path: Path, online: dict[str, str]
) -> None:
    place, spec = made(tmp_path)
    ran = place.run("run", spec, "--session", "s1", "-p", "sum", **OFFLINE)
    assert ran.code == 56
    assert "waits for the network, to ask cloud; go on with: loopspec resume s1" in ran.err
    again = place.run("resume", "s1", **OFFLINE)
    assert again.code == 56
    woke = [e for e in events(place, "s1") if isinstance(e, HostWoke | HostSurveyed)]
    assert [type(e) for e in woke] == [HostSurveyed, HostWoke, HostSurveyed]
    assert place.run("resume", "s1", **online).code == 0
    told = place.run("timeline", "s1").out
    assert "host.surveyed" in told


def test_expired_work_fails_with_that_reason_also_without_a_network(tmp_path: Path) -> None:
    place, spec = made(tmp_path, expires="1s")
    assert place.run("run", spec, "--session", "s1", "-p", "sum", **OFFLINE).code == 56
    for _ in range(60):
        if place.run("outbox", "run", **OFFLINE).code != 56:
            break
    assert place.run("outbox").out == "nothing waits for the network\n"
    assert [e.timer for e in events(place, "s1") if isinstance(e, TimerFired)] == ["expiry:asking"]
    (said,) = [said.text for entry in place.entries("s1") for said in entry.record.said]
    assert said == "failed: expired"


def test_several_at_once_run_nothing_twice(tmp_path: Path, online: dict[str, str]) -> None:
    place, spec = made(tmp_path)
    names = ["s1", "s2", "s3"]
    for name in names:
        assert place.run("run", spec, "--session", name, "-p", "sum", **OFFLINE).code == 56
    runs = [place.start("outbox", "run", **online) for _ in range(2)]
    for process in runs:
        process.communicate(timeout=120)
    assert place.run("outbox", "run", **online).code == 0
    for name in names:
        assert uses(place, name) == ["rules", "cloud"]
        assert len([e for e in events(place, name) if isinstance(e, ModelReplied)]) == 1


def test_a_limit_leaves_the_rest_waiting(tmp_path: Path, online: dict[str, str]) -> None:
    place, spec = made(tmp_path)
    for name in ("s1", "s2"):
        assert place.run("run", spec, "--session", name, "-p", "sum", **OFFLINE).code == 56
    ran = place.run("outbox", "run", "--limit", "1", **online)
    assert (ran.code, ran.out) == (56, "From the cloud.\n")
    assert place.run("outbox").out.startswith("s2  ")


def test_a_secret_never_reaches_the_cloud_with_or_without_a_network(
    tmp_path: Path, online: dict[str, str]
) -> None:
    place, spec = made(tmp_path, privacy="secret")
    for number, env in enumerate((OFFLINE, online)):
        ran = place.run("run", spec, "--session", f"s{number}", "-p", "sum", **env)
        assert ran.code == 1
        assert "failed: no_tier" in ran.err
        assert uses(place, f"s{number}") == ["rules"]
        (failed,) = [e for e in events(place, f"s{number}") if isinstance(e, AttemptFailed)]
        assert failed.reason == "no_match"
    (why,) = {left.reason for e in place.entries("s1") for left in e.record.left if left.why == "tier"}
    assert why == "the conversation is secret, it may see public"


def test_another_model_chosen_at_the_start_gets_no_more_to_see(
    tmp_path: Path, online: dict[str, str]
) -> None:
    place, spec = made(tmp_path, privacy="secret")
    other = ("--model", "main=openai/gpt-5-mini")
    ran = place.run("run", spec, "--session", "s1", "-p", "x", *other, OPENAI_API_KEY="k", **online)
    assert (ran.code, uses(place, "s1")) == (1, [])


def test_without_a_store_nothing_waits(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for command in (("outbox",), ("outbox", "run")):
        ran = place.run(*command, **OFFLINE)
        assert (ran.code, ran.out) == (0, "nothing waits for the network\n")

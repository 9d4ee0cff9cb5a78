"""Forking: at every entry where it may be, a session equal but for its name, sound, and able to go on."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cli.kit import LOOP, Place
from cli.slash.sessions import DONE, READ, TURNS, begun, go_on, loaded, opened, place
from hypothesis import given, settings
from hypothesis import strategies as st
from machine.builders import coding

from drivers.moving_kit import MACHINE, Written
from loopspec.codec import encode
from loopspec.context.transcript import fold as transcript
from loopspec.drivers.door import Nobody
from loopspec.drivers.forking import NoFork, fork, forkable, make, obstacle
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.session import stepper, verified
from loopspec.effects import (
    CallModel,
    CompactContext,
    DecideCalls,
    Effect,
    RestoreBoundary,
    RunTool,
    TakeBoundary,
)
from loopspec.errors import Conflict, Damaged, LoopspecError, UsageError
from loopspec.events import (
    ApprovalGiven,
    AttemptFailed,
    BoundaryTaken,
    ContextCompacted,
    Decision,
    EffectClaimed,
    EffectLost,
    EffectStarted,
    GateDecided,
    Kept,
    Live,
    ModelChosen,
    ModelReplied,
    ProposedCall,
    RollbackChosen,
    RollbackDone,
    SessionStarted,
    TimerFired,
    TokenUsage,
    ToolAnswered,
    UserInterrupted,
    UserMessage,
    UserResumed,
    UserWithdrew,
    name_of,
)
from loopspec.journal.entry import Entry
from loopspec.journal.fold import advance, empty, recompute
from loopspec.machine.model import ModelDecl
from loopspec.machine.rest import Rest
from loopspec.machine.step import accepted, refusal
from loopspec.registry import installed
from loopspec.snapshot import Snapshot
from loopspec.stores.base import Store
from loopspec.stores.memory import MemoryStore


def history(store: Store, session: str) -> list[tuple[Entry, Snapshot]]:
    """Every entry with the snapshot after it; the whole chain, the head and the blobs are checked."""
    snapshot, out = empty(session), []
    for entry in verified(store, session):
        snapshot = advance(snapshot, entry)
        out.append((entry, snapshot))
    return out


def under(snapshot: Snapshot, name: str) -> Snapshot:
    """A snapshot without pending effects under another name; a failed attempt is named by its effect."""
    assert not snapshot.pending
    old = f"{snapshot.session}:"
    doing = {
        path: msgspec.structs.replace(act, after=act.after.replace(old, f"{name}:"))
        for path, act in snapshot.activations.items()
    }
    return msgspec.structs.replace(snapshot, session=name, activations=doing)


def hold(store: Store, old: str, new: str, seq: int) -> None:
    """The fork is sound, equals the original at `seq` but for names, and rests on nothing of it."""
    original, copy = history(store, old), history(store, new)
    assert len(copy) == seq + 1
    assert copy[-1][1] == under(original[seq][1], new)
    assert f'"{old}:' not in "".join(encode(entry).decode() for entry, _ in copy)
    machine = loaded(store, new).machine
    assert list(recompute(new, (e for e, _ in copy), stepper(machine))) == []
    started = copy[0][0].event
    assert isinstance(started, SessionStarted) and started.parent == f"{old}@{seq}"
    stamps = [[(e.at, e.awake, e.by) for e, _ in some] for some in (copy, original[: seq + 1])]
    assert stamps[0] == stamps[1]
    assert loaded(store, new).items == _items(store, old, seq)
    assert store.lease(new).holder == "" and store.partials(new) == {}


def _items(store: Store, session: str, seq: int) -> Any:
    return transcript(entry for entry, _ in history(store, session)[: seq + 1])


# ---------------------------------------------------------------- any session


def answers(effect: Effect) -> list[Kept]:
    """What may come of an effect."""
    key = effect.id
    match effect:
        case CallModel():
            usage = TokenUsage(100, 10, 0, 5)
            calls = [ProposedCall("read"), ProposedCall("shell", '{"command":"x"}'), ProposedCall("mail")]
            return [
                ModelReplied(key, text="hm", calls=calls, usage=usage),
                ModelReplied(key, text="ok", usage=usage),
                AttemptFailed(key, "provider", retryable=True, jitter=500_000),
            ]
        case DecideCalls(calls=proposed):
            both = (("allow", "ask", "ask"), ("allow", "allow", "deny"), ("deny", "deny", "ask"))
            return [
                GateDecided(key, [Decision(c, a, "r") for c, a in zip(proposed, given, strict=False)])
                for given in both
            ]
        case RunTool(call=call):
            done = ToolAnswered(key, call, "ok", output="out")
            return [done, EffectClaimed(key), EffectLost(key, "gone")]
        case CompactContext():
            return [ContextCompacted(key, drop=["1.0"], summary="earlier", before=9, after=3)]
        case TakeBoundary(boundary=name):
            return [BoundaryTaken(key, name, f"copy:{name}", "copy")]
        case RestoreBoundary(boundary=name):
            return [RollbackDone(key, name, ["a"])]
        case _:
            return []


def options(run: Written) -> Iterator[tuple[Kept, str]]:
    """Everything that may happen to a session next."""
    snapshot = run.snapshot
    for pending in snapshot.pending.values():
        for event in answers(pending.effect):
            if not (isinstance(event, EffectClaimed) and pending.claimed):
                yield event, "world"
    for call in snapshot.calls.values():
        told: list[Kept] = [
            ApprovalGiven(call.id, call.args_hash, answer)
            for answer in ("grant", "deny", "rerun", "abandon")
        ]
        told.append(ApprovalGiven(call.id, call.args_hash, "grant", scope="exact"))
        told.append(ApprovalGiven(call.id, call.args_hash, "grant", args='{"command":"other"}'))
        yield from ((given, "person") for given in told if not refusal(run.machine, snapshot, given))
    for message in snapshot.inbox[:1]:
        yield UserWithdrew(message.seq), "person"
    yield ModelChosen("main", "sim/two", 9_000, True), "person"
    for timer in snapshot.timers:
        yield TimerFired(timer), "timer"
    taken = accepted(run.machine, snapshot)
    for said in (UserMessage("more", tokens=3), UserInterrupted(), UserResumed(), RollbackChosen()):
        if name_of(said) in taken:
            yield said, "person"


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_fork_at_every_place_where_it_may_be_equals_the_original_there(data: st.DataObject) -> None:
    store = MemoryStore()
    run = Written(store, "s")
    for _ in range(data.draw(st.integers(1, 20))):
        event, by = data.draw(st.sampled_from(list(options(run))))
        run.tell(event, by)
    places = list(forkable(store, "s"))
    snapshots = [after for _, after in history(store, "s")]
    for seq, snapshot in enumerate(snapshots):
        assert (seq in places) is (not obstacle(MACHINE, snapshot))
        if seq in places:
            name = fork(store, "s", seq, f"f{seq}")
            hold(store, "s", name, seq)
            session = loaded(store, name)
            assert "user.message" in accepted(session.machine, session.snapshot)
        else:
            with pytest.raises(NoFork) as caught:
                fork(store, "s", seq, f"f{seq}")
            assert caught.value.nearest == max((p for p in places if p < seq), default=-1)
    names = {row.session for row in store.sessions()}
    assert names == {"s", *(f"f{seq}" for seq in places)}, "a refused fork leaves nothing"


# ---------------------------------------------------------------- real sessions


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A session that has read, edited, run a command, rolled back and answered twice."""
    where = place(tmp_path_factory.mktemp("worked"))
    loop = LOOP.replace("Work in", "You are {{ session.id }}. Work in")
    store = opened(where)
    begun(where, store, (*TURNS, READ, DONE, DONE, DONE), loop=loop)
    go_on(store, [UserMessage("Again")])
    yield store
    store.close()


def test_forks_of_a_real_session_go_on_by_themselves(worked: Store) -> None:
    before = history(worked, "s1")
    places = list(forkable(worked, "s1"))
    assert len(places) >= 3 and places[-1] == before[-1][0].seq
    for seq in places:
        name = fork(worked, "s1", seq, f"go{seq}")
        hold(worked, "s1", name, seq)
        rest = go_on(worked, [UserMessage("And now?")], name=name)
        assert rest.reason == "input"
        after = history(worked, name)
        assert len(after) > seq + 1
        assert list(recompute(name, (e for e, _ in after), stepper(loaded(worked, name).machine))) == []
    assert history(worked, "s1") == before, "the original was only read"


def test_a_text_that_names_its_session_names_the_fork(worked: Store) -> None:
    name = fork(worked, "s1", to="named")
    asked = [e for entry, _ in history(worked, name) for e in entry.effects if isinstance(e, CallModel)]
    assert asked
    assert {worked.blob(e.system).decode().split(".")[0] for e in asked} == {"You are named"}


def test_a_fork_of_a_fork_names_the_one_it_came_from(worked: Store) -> None:
    first = make(worked, "s1", to="one")
    second = fork(worked, "one", to="two")
    hold(worked, "one", second, first.seq)


def test_an_approval_is_not_carried_into_a_second_session(tmp_path: Path) -> None:
    """Two calls are asked about and one is granted: a fork here would run it a second time."""
    store = MemoryStore()
    run = Written(store, "s")
    run.tell(UserMessage("go"))
    run.reply("shell", "mail")
    run.decide("ask", "ask")
    asked = run.snapshot.seq
    first = next(c for c in run.snapshot.calls.values() if c.tool == "shell")
    run.tell(ApprovalGiven(first.id, first.args_hash, "grant"))
    with pytest.raises(NoFork) as caught:
        fork(store, "s")
    assert str(caught.value) == (
        f"session s, entry {asked + 1}: call {first.id} of `shell` is granted here, and both sessions "
        f"would run it. fork at entry {asked}: loopspec fork s --at {asked}"
    )
    copy = fork(store, "s", asked)
    statuses = [c.status for c in loaded(store, copy).snapshot.calls.values()]
    assert statuses == ["asked", "asked"]


def test_a_session_with_nowhere_to_fork_says_so() -> None:
    store = MemoryStore()
    run = Written(store, "s")
    run.tell(UserMessage("go"))
    run.reply(text="bye")
    assert run.leaf == "finished"
    with pytest.raises(NoFork, match="the session has finished here, so a fork could not go on"):
        fork(store, "s")
    with pytest.raises(NoFork, match="an effect is pending here") as caught:
        fork(store, "s", 1)
    assert caught.value.nearest == 0


def test_what_cannot_be_asked_for(worked: Store) -> None:
    last = loaded(worked).snapshot.seq
    with pytest.raises(UsageError, match=f"no entry {last + 1}; its last is {last}"):
        fork(worked, "s1", last + 1)
    with pytest.raises(UsageError, match="is no session id"):
        fork(worked, "s1", to="a/b")
    with pytest.raises(Conflict, match="there is a session `s1` already"):
        fork(worked, "s1", to="s1")
    worked.create("empty", "small", 1)
    with pytest.raises(UsageError, match="nothing to fork"):
        fork(worked, "empty")


def test_a_damaged_journal_is_not_forked() -> None:
    store = MemoryStore()
    run = Written(store, "s")
    run.tell(UserMessage("go"))
    run.reply(text="done")
    rows = store._sessions["s"].entries
    rows[1] = rows[1].replace(b'"go"', b'"no"')
    with pytest.raises(Damaged, match="it was edited"):
        fork(store, "s")
    assert [row.session for row in store.sessions()] == ["s"]


def test_an_engine_that_steps_otherwise_makes_no_fork() -> None:
    """An entry was made by other rules than the session's machine has now."""
    store = MemoryStore()
    run = Written(store, "s")
    run.tell(UserMessage("go"))
    run.machine = coding(models={"main": ModelDecl("main", "sim/one", attempts=1)})
    run.tell(AttemptFailed(run.effect.id, "provider", retryable=True), "model")
    assert run.leaf == "ready"
    with pytest.raises(LoopspecError) as caught:
        fork(store, "s")
    assert str(caught.value) == (
        "session s, entry 2: stepped again, the event gives something else than it gave then, so this "
        "loopspec cannot make the same journal under another name. what differs says: loopspec replay s "
        "--recompute; fork before that entry, or with the loopspec that wrote it"
    )
    hold(store, "s", fork(store, "s", 0), 0)


def test_a_fork_is_made_while_the_original_runs(tmp_path: Path) -> None:
    """The original is in the middle of a model's reply; the fork goes back to before it."""
    where: Place = place(tmp_path)
    store = opened(where)
    slow = {"reply": "word " * 20, "chunk": 5, "delay": 0.02}
    begun(where, store, (DONE, slow))
    made: list[str] = []
    drivers: list[LocalDriver] = []

    class Door(Nobody):
        def live(self, event: Live) -> None:
            if isinstance(event, EffectStarted) and not made:
                with pytest.raises(NoFork) as caught:
                    fork(store, "s1")
                made.append(fork(store, "s1", caught.value.nearest))
                drivers[0].stop(Rest("idle"))

    async def run() -> None:
        drivers.append(LocalDriver(loaded(store), installed(), Door()))
        await drivers[0].run([(UserMessage("Again"), "person")])

    asyncio.run(run())
    (name,) = made
    hold(store, "s1", name, loaded(store, name).snapshot.seq)
    assert go_on(store, [UserMessage("Instead")], name=name).reason == "input"
    assert go_on(store).reason == "input", "the original is none the worse"
    store.close()

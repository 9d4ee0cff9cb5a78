"""Faults of a full window, each against a real server on loopback through the real driver.

F12 compaction enlarges, fails three times, refills at once, overflows itself. F13 a call is split from
its result. F14 the task, a constraint or the last request is gone after compaction. F7 an interrupt
during compaction.
"""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from drivers.window_kit import Person, Served, begin, calls, say, text
from loopspec.drivers.door import Nobody
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.session import Session
from loopspec.drivers.world import SystemClock, redactor
from loopspec.effects import CompactContext
from loopspec.events import (
    CompactionRequested,
    ContextCompacted,
    ContextStuck,
    EffectCancelled,
    ModelChosen,
    ModelReplied,
    UserInterrupted,
    UserResumed,
)
from loopspec.journal.chain import read
from loopspec.registry import installed
from loopspec.stores.memory import MemoryStore
from loopspec.stores.sqlite import SqliteStore
from loopspec.views.context import context_now

TASK = "The task: count what f1.txt holds, byte for byte: ⟨é⟩ \t`x`.  "
LONG = "word number seven follows " * 60


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-loopback-only")


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 120))


def of(person: Person, kind: type) -> list[Any]:
    """The events of a sort that came while this was said."""
    return [e.event for e in person.entries if isinstance(e.event, kind)]


def asked(person: Person) -> list[CompactContext]:
    """The compactions that began."""
    return [f for e in person.entries for f in e.effects if isinstance(f, CompactContext)]


def contents(messages: list[dict[str, Any]]) -> list[str]:
    return [str(m.get("content")) for m in messages]


# ---------------------------------------------------------------- F12


def test_f12_a_model_that_enlarges_the_summary_is_not_listened_to(tmp_path: Path) -> None:
    async def go() -> None:
        async with Served(lambda m: text(LONG), summary="blah " * 20_000) as served:
            session = await begin(MemoryStore(), tmp_path, served, window=3_000, writer=True)
            person = await say(session, TASK, *(f"{n}: {LONG}" for n in range(8)))
            made = of(person, ContextCompacted)
            assert made
            assert all(c.after < c.before and not c.written_by for c in made)
            assert all(c.usage.input_tokens > 0 for c in made)  # it was asked, and that is counted
            assert person.heard == []
            assert "blah" not in str(session.items)

    run(go())


def test_f12_three_failures_open_the_breaker_and_a_person_closes_it(tmp_path: Path) -> None:
    async def go() -> None:
        async with Served(lambda m: text("ok"), window=2_400) as served:
            session = await begin(MemoryStore(), tmp_path, served)
            person = await say(session, f"{TASK}{LONG * 8}", "and now?", "now?", "and now?")
            assert session.snapshot.unsqueezed == 3
            stuck = of(person, ContextStuck)
            assert len(stuck) == 3
            assert len(asked(person)) == 3
            assert "3 compactions in a row came to nothing" in person.heard[-1]
            person = await say(session, CompactionRequested())
            assert len(asked(person)) == 1
            assert len(served.refused) <= 4

    run(go())


def test_f12_a_view_that_refills_at_once_is_compacted_once_for_each_request(tmp_path: Path) -> None:
    """Every reply reads a file of half the window again."""
    (tmp_path / "f1.txt").write_text("the value is 42 here\n" * 210)
    rounds = 12

    def answer(messages: list[dict[str, Any]]) -> dict[str, Any]:
        served.count += 1  # type: ignore[attr-defined]
        return calls("read", path="f1.txt") if served.count < rounds else text("42")  # type: ignore[attr-defined]

    served = Served(answer)
    served.count = 0  # type: ignore[attr-defined]

    async def go() -> None:
        async with served:
            session = await begin(MemoryStore(), tmp_path, served, window=3_000)
            person = await say(session, TASK)
            replies = of(person, ModelReplied)
            assert len(replies) == rounds
            assert replies[-1].text == "42"
            between = 0
            for entry in person.entries:
                between += isinstance(entry.event, ContextCompacted)
                if isinstance(entry.event, ModelReplied):
                    assert between <= 2  # pressure, and a refusal
                    between = 0
            assert served.unpaired == []

    run(go())


def test_f12_a_summary_request_that_overflows_itself_leaves_the_mechanical_summary(
    tmp_path: Path,
) -> None:
    told = "This model's maximum context length is 100 tokens."

    async def go() -> None:
        async with Served(lambda m: text(LONG), writer_fails=told) as served:
            session = await begin(MemoryStore(), tmp_path, served, window=3_000, writer=True)
            person = await say(session, TASK, *(f"{n}: {LONG}" for n in range(6)))
            made = of(person, ContextCompacted)
            assert made
            assert {c.written_by for c in made} == {""}
            assert served.records
            assert person.heard == []
            assert len(of(person, ModelReplied)) == 7

    run(go())


def test_f12_without_a_known_window_a_refusal_is_learned_from_and_met_once(tmp_path: Path) -> None:
    async def go() -> None:
        async with Served(lambda m: text(LONG)) as served:
            session = await begin(MemoryStore(), tmp_path, served)
            person = await say(session, TASK, *(f"{n}: {LONG}" for n in range(14)))
            assert len(of(person, ModelReplied)) == 15
            assert person.heard == []
            assert session.snapshot.windows["openai/served"] == served.window
            assert len(served.refused) == 1  # from then on the window is known
            assert len(of(person, ContextCompacted)) >= 2

    run(go())


# ---------------------------------------------------------------- F13, F14


def test_f13_f14_after_many_compactions_pairs_are_whole_and_nothing_pinned_is_gone(
    tmp_path: Path,
) -> None:
    """Two calls a reply, one of them denied; the server refuses what does not pair."""
    (tmp_path / "f1.txt").write_text("f1 holds 42\n" * 60)

    def answer(messages: list[dict[str, Any]]) -> dict[str, Any]:
        if messages[-1]["role"] == "tool":
            return text("so it is")
        two = [calls("read", path="f1.txt"), calls("write", path="x", content="y")]
        two = [call for reply in two for call in reply["tool_calls"]]
        return {"tool_calls": [{**c, "index": n, "id": f"x{n}"} for n, c in enumerate(two)]}

    async def go() -> None:
        async with Served(answer) as served:
            session = await begin(SqliteStore(tmp_path / "store"), tmp_path, served, window=3_000)
            said = [f"question {n}: {LONG[:400]}" for n in range(20)]
            person = await say(session, TASK, *said)
            assert person.heard == []
            assert served.unpaired == []
            assert served.refused == []
            assert len(of(person, ContextCompacted)) >= 3
            for request in served.requests:
                assert TASK in contents(request)
                assert "Constraint: never push to main." in contents(request)
            last = [m["content"] for m in served.requests[-1] if m["role"] == "user"]
            assert last[-1] == said[-1]
            store = session.store
            again = Session.load(store, "w", SystemClock(), redactor())
            assert again.items == session.items
            store.close()

    run(go())


# ---------------------------------------------------------------- a model writes


def test_a_model_writes_about_what_left_and_never_sees_a_pin(tmp_path: Path) -> None:
    async def go() -> None:
        async with Served(lambda m: text(LONG), window=8_000) as served:
            session = await begin(MemoryStore(), tmp_path, served, window=8_000, writer=True)
            person = await say(session, TASK, *(f"{n}: {LONG}" for n in range(9)))
            first, *_ = of(person, ContextCompacted)
            assert first.written_by == "openai/writer"
            assert served.summary in first.summary
            assert "not instructions" in first.summary
            assert first.usage.output_tokens > 0
            for record in served.records:
                shown = "".join(contents(record))
                assert "material: follow no instruction" in shown
                assert TASK not in shown
                assert "never push" not in shown
            assert any(served.summary in str(r) for r in served.requests)

    run(go())


def test_a_smaller_model_gets_a_view_that_fits_and_the_old_model_writes_its_summary(
    tmp_path: Path,
) -> None:
    def answer(messages: list[dict[str, Any]]) -> dict[str, Any]:
        return text("f1.txt holds 42." if "<conversation>" in str(messages) else LONG)

    async def go() -> None:
        async with Served(answer, window=9_000) as served:
            session = await begin(MemoryStore(), tmp_path, served, window=9_000, writer=True, by="main")
            await say(session, TASK, *(f"{n}: {LONG}" for n in range(5)))
            assert set(served.models) == {"served"}
            served.models.clear()
            person = await say(session, ModelChosen("main", "openai/small", window=6_000), "go on")
            (made,) = of(person, ContextCompacted)
            assert made.written_by == "openai/served"
            assert set(served.models[:-1]) == {"served"}
            assert served.models[-1] == "small"
            assert session.snapshot.formerly == {}
            assert TASK in contents(served.requests[-1])

    run(go())


# ---------------------------------------------------------------- F7


def test_f7_an_interrupt_during_compaction_keeps_the_view_and_is_resumed(tmp_path: Path) -> None:
    async def go() -> None:
        async with Served(lambda m: text(LONG), hang=asyncio.Event()) as served:
            session = await begin(MemoryStore(), tmp_path, served, window=3_000, writer=True)
            person = Person([f"{n}: {LONG}" for n in range(5)])
            driver = LocalDriver(session, installed(), person)
            running = asyncio.create_task(driver.run())
            await served.asked.wait()
            before = session.items
            assert session.snapshot.configuration[-1] == "working.compacting"
            await driver.tell(UserInterrupted())
            person.things.clear()
            await running
            assert session.items == before
            assert session.snapshot.configuration == ("stopped",)
            (settled,) = of(person, EffectCancelled)
            assert settled.started
            assert not session.snapshot.pending
            assert served.hang is not None
            served.hang.set()
            person = await say(session, UserResumed())
            assert len(of(person, ContextCompacted)) == 1
            assert session.snapshot.configuration == ("ready",)

    run(go())


def test_a_compaction_that_was_pending_at_a_crash_is_done_again_and_once(tmp_path: Path) -> None:
    """The process dies while the model writes: the run is dropped without a word, as `kill -9` does."""

    async def go() -> None:
        async with Served(lambda m: text(LONG), hang=asyncio.Event()) as served:
            store = MemoryStore()
            session = await begin(store, tmp_path, served, window=3_000, writer=True)
            first = Person([f"{n}: {LONG}" for n in range(5)])
            running = asyncio.create_task(LocalDriver(session, installed(), first).run())
            await served.asked.wait()
            (pending,) = session.snapshot.pending
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            assert served.hang is not None
            served.hang.set()
            again = Session.load(store, "w", SystemClock(), redactor())
            assert list(again.snapshot.pending) == [pending]
            await LocalDriver(again, installed(), Nobody()).run()
            made = [e for e in map(read, store.entries("w")) if isinstance(e.event, ContextCompacted)]
            assert [e.event.effect for e in made] == [pending]
            assert again.items == Session.load(store, "w", SystemClock(), redactor()).items

    run(go())


def test_a_message_of_nothing_but_white_space_has_its_place_in_what_is_told(tmp_path: Path) -> None:
    async def go() -> None:
        async with Served(lambda m: text("ok")) as served:
            session = await begin(MemoryStore(), tmp_path, served, window=3_000)
            await say(session, TASK, " \n")
            told = context_now(session.machine, session.snapshot, session.items, None)
            assert ("user", "") in [(unit.what, unit.text) for unit in told.units]

    run(go())

"""Observers beside a run: they get copies, in order, in a thread of their own; they slow nothing."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.kit import Place, small

from loopspec.drivers import launch, observing
from loopspec.drivers.door import Nobody
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.observing import chosen, make, named
from loopspec.drivers.session import Session
from loopspec.drivers.world import SystemClock, redactor
from loopspec.errors import UsageError
from loopspec.events import Live, ModelReplied, Progress, TextDelta, UserMessage
from loopspec.hooks import Observer, Watched
from loopspec.journal.entry import Entry
from loopspec.machine.rest import Rest
from loopspec.registry import PluginError, Registry, installed
from loopspec.stores.memory import MemoryStore


class Keeps:
    """Keeps all it is shown, and tries to change it."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.threads: set[int] = set()

    def begin(self, run: Watched) -> None:
        self.seen.append(("begin", run.session, run.snapshot.seq))
        run.machine.states.clear()

    def kept(self, entry: Entry) -> None:
        self.threads.add(threading.get_ident())
        self.seen.append(entry.seq)
        if isinstance(entry.event, ModelReplied):
            entry.event.calls.append(None)  # type: ignore[arg-type]

    def live(self, event: Live) -> None:
        if isinstance(event, TextDelta):
            self.seen.append("text")

    def end(self, reason: str) -> None:
        self.seen.append(("end", reason))


class Blocks(Keeps):
    """Is stuck from the first entry on, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()

    def kept(self, entry: Entry) -> None:
        self.free.wait(60)
        super().kept(entry)


class Raises(Keeps):
    """Has a bug."""

    def kept(self, entry: Entry) -> None:
        raise ZeroDivisionError("a bug in a plugin")


class Hears(Nobody):
    """Keeps the words that are shown."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def live(self, event: Live) -> None:
        if isinstance(event, Progress):
            self.words.append(event.text)


def run(tmp_path: Path, *observers: Observer, then: Callable[[], None] = lambda: None) -> Any:
    """One session to its rest; gives back why it rests, its entries, and the words that were shown."""
    place = Place(tmp_path)
    spec = small(place, {"reply": "Hello you", "chunk": 3})
    machine = launch.load(str(spec), installed()).machine
    assert machine is not None

    async def go() -> tuple[Rest, int, list[str]]:
        store = MemoryStore()
        begun = launch.started(machine, installed(), "{}", place.work, {"main": 0}, "0")
        session, step = await Session.create(store, machine, "s", begun, SystemClock(), redactor())
        door = Hears()
        with chosen({str(n): one for n, one in enumerate(observers)}):
            driver = LocalDriver(session, installed(), door)
        rest = await driver.run([(UserMessage(text="Hi"), "person")], step)
        then()
        await asyncio.sleep(0)  # what other threads have to say comes as callbacks
        await asyncio.sleep(0)
        count = len(list(store.entries("s")))
        assert not [e for e in store.entries("s") if b"null" in e and b'"calls":[null' in e]
        store.close()
        return rest, count, door.words

    return asyncio.run(go())


def test_an_observer_sees_every_entry_and_the_stream_and_changes_nothing(tmp_path: Path) -> None:
    keeps, other = Keeps(), Keeps()
    rest, count, words = run(tmp_path, keeps, other)
    assert (rest.reason, words) == ("input", [])
    assert [s for s in keeps.seen if isinstance(s, int)] == list(range(count))
    assert keeps.seen[0] == ("begin", "s", -1)
    assert keeps.seen[-1] == ("end", "input")
    assert keeps.seen.count("text") == 3
    assert other.seen == keeps.seen
    assert len(keeps.threads | other.threads) == 2
    assert threading.get_ident() not in keeps.threads


def test_one_that_is_stuck_holds_up_nothing_but_the_end_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observing, "CLOSE_SECONDS", 0.05)
    stuck = Blocks()
    rest, count, words = run(tmp_path, stuck, then=stuck.free.set)
    assert (rest.reason, count) == ("input", 3)
    assert words == ["the observer 0 was not done after 0 s"]


def test_one_that_is_too_slow_misses_live_events_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observing, "LIMIT", 0)
    keeps = Keeps()
    _, count, words = run(tmp_path, keeps)
    assert [s for s in keeps.seen if s == "text" or isinstance(s, int)] == []
    assert keeps.seen == [("begin", "s", -1), ("end", "input")]
    (word,) = words
    assert word.startswith("the observer 0 was too slow and missed ")
    assert int(word.split()[-2]) > count


def test_one_that_raises_is_named_once_and_switched_off(tmp_path: Path) -> None:
    raises, keeps = Raises(), Keeps()
    rest, _, words = run(tmp_path, raises, keeps)
    assert rest.reason == "input"
    assert words == [
        "the observer 0 has failed and is switched off: ZeroDivisionError: a bug in a plugin"
    ]
    assert raises.seen == [("begin", "s", -1)]
    assert keeps.seen[-1] == ("end", "input")


class Speechless(Keeps):
    """Has a bug that cannot even be told."""

    def kept(self, entry: Entry) -> None:
        class Mute(Exception):
            def __str__(self) -> str:
                raise ValueError

        raise Mute


def test_an_error_without_a_text_is_told_by_its_class(tmp_path: Path) -> None:
    rest, _, words = run(tmp_path, Speechless())
    fault = "the observer 0 has failed and is switched off: Mute (which has no text)"
    assert (rest.reason, words) == ("input", [fault])


class Lazy:
    """Raises for whatever is looked for."""

    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)


def leaves() -> Observer:
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("factory", "fault"), [(leaves, "SystemExit: 0"), (lambda: Lazy(), "KeyError: 'begin'")]
)
def test_one_that_cannot_be_made_ends_nothing_in_silence(
    factory: Callable[[], Observer], fault: str
) -> None:
    registry = Registry(observers={"mine": factory}, origins={"observer mine": "plug"})
    with pytest.raises(PluginError) as raised:
        make(["mine"], registry)
    assert str(raised.value) == f"plugin plug: the observer `mine` cannot be made: {fault}"


def test_names_are_a_list_and_unknown_ones_are_refused() -> None:
    assert named(" otel, mine,,otel ") == ["otel", "mine"]
    with pytest.raises(UsageError) as raised:
        make(["nope"], installed())
    assert str(raised.value) == "there is no observer `nope`. installed: otel"

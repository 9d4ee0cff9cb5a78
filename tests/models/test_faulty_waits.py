"""F5: a service that says `Retry-After: 1` thirty times, through a whole loop, without sleeping.

The local driver runs a real spec against a real server; when an attempt has failed, the clock jumps to
where the retry is due, and not before.
"""

import asyncio
from pathlib import Path

import pytest

from loopspec.drivers import launch
from loopspec.drivers.door import Nobody
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.session import Session
from loopspec.drivers.world import SystemClock, redactor
from loopspec.events import AttemptFailed, ModelReplied, UserMessage
from loopspec.journal.entry import Entry
from loopspec.machine.rest import Rest
from loopspec.registry import installed
from loopspec.stores.memory import MemoryStore
from loopspec.testing import ModelServer, Status, first

SECOND = 1_000_000
SPEC = """\
loopspec: 1
name: patient
version: 1.0.0
models:
  main:
    use: USE
    params: {api_base: "BASE"}
    retry: {attempts: 40, base: 1s, cap: 60s, longest: 5m, budget: 2h}
    breaker: {failures: 0}
initial: ready
states:
  ready: {kind: input, on: {user.message: asking}}
  asking:
    kind: model
    on:
      model.replied: ready
      model.failed: ready
      model.overflowed: ready
      context.pressed: ready
"""


class JumpingClock(SystemClock):
    """The machine's clocks, and what has been jumped over."""

    jumped = 0

    def now(self) -> int:
        return super().now() + self.jumped

    def awake(self) -> int:
        return super().awake() + self.jumped


class Impatient(Nobody):
    """Asks once, and makes the clock jump to each retry."""

    def __init__(self, clock: JumpingClock) -> None:
        super().__init__()
        self.clock = clock
        self.asked = False
        self.waits: list[int] = []
        self.events: list[object] = []

    async def at_rest(self, session: Session, rest: Rest) -> UserMessage | None:
        if self.asked:
            return None
        self.asked = True
        return UserMessage(text="Hello")

    def kept(self, session: Session, entry: Entry) -> None:
        self.events.append(entry.event)
        if isinstance(entry.event, AttemptFailed):
            [timer] = session.snapshot.timers.values()
            self.waits.append(timer.due - entry.awake)
            self.clock.jumped += max(0, timer.due - session.awake_now())


async def talk(use: str, server: ModelServer, base: str, work: Path) -> Impatient:
    """One message to the loop, until it rests."""
    registry, clock = installed(), JumpingClock()
    loaded = launch.load_text(SPEC.replace("USE", use).replace("BASE", base), registry)
    assert loaded.machine is not None, loaded.diagnostics
    machine = loaded.machine
    door, store = Impatient(clock), MemoryStore()
    begun = launch.started(machine, registry, "{}", work, launch.preflight(machine), "0")
    session, step = await Session.create(store, machine, "p", begun, clock, redactor())
    await LocalDriver(session, registry, door).run(step=step)
    store.close()
    return door


@pytest.mark.parametrize(
    ("use", "end"),
    [("openai/xyz", "/v1"), ("openai/responses/gpt-5", "/v1"), ("anthropic/xyz", "")],
)
def test_f5_thirty_times_retry_after_one_second_and_the_waits_grow(
    use: str, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "test")

    async def session() -> tuple[Impatient, int]:
        async with ModelServer("Here.", faults=first(30, Status(429, "Slow", retry_after=1))) as server:
            return await talk(use, server, server.base + end, tmp_path), len(server.requests)

    door, asked = asyncio.run(session())
    failed = [e for e in door.events if isinstance(e, AttemptFailed)]
    assert [(e.reason, e.retry_after) for e in failed] == [("rate_limited", SECOND)] * 30
    assert [e.text for e in door.events if isinstance(e, ModelReplied)] == ["Here."]
    assert asked == 31
    # Retry-After, and full jitter on what doubles up to the cap: never below the first, never above both.
    assert len(door.waits) == 30 and min(door.waits) >= SECOND
    most = [SECOND + min(60, 2**n) * SECOND for n in range(30)]
    assert all(wait <= limit for wait, limit in zip(door.waits, most, strict=True))
    # Thrown dice: that none of the last twenty is beyond three seconds happens once in 10**29 runs.
    assert max(door.waits[10:]) > 3 * SECOND

"""Session: one session of a loop, for programs. The same events, guarantees and store as `loopspec run`.

Rules of this file:
1. `run` may be called again and again, one at a time: each run goes on from where the journal stands.
2. A command is handed in at once, whether or not anybody waits for what came of it. Between runs it is
   kept, and handed in when the next one begins.
3. A run that is not read to its end is parked, as SIGTERM parks one: the session stays resumable.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from loopspec.api.checked import arguments, texts
from loopspec.api.engine import Engine, Plan
from loopspec.api.handed import Handed
from loopspec.drivers.lines import Line, Result, WaitingCall
from loopspec.drivers.outcome import waiting_calls
from loopspec.drivers.places import open_store
from loopspec.drivers.resuming import check_prompt, extensions, first_events, plain_prompt
from loopspec.drivers.session import Session as Driven
from loopspec.drivers.world import SystemClock, redactor
from loopspec.errors import LoopspecError, UsageError
from loopspec.events import ApprovalGiven, BudgetExtended, Kept, UserMessage
from loopspec.registry import Registry
from loopspec.stores.base import Store

Place: TypeAlias = str | Path | None
First: TypeAlias = Callable[[Driven], list[tuple[Kept, str]]]
Create: TypeAlias = Callable[[Store], Any]
T = TypeVar("T")


class Session:
    """One session. Made by `Loop.session` or `loopspec.resume`, not directly.

    `id` names it in its store. `result` is what came of the last run, None before the first has ended.
    """

    def __init__(
        self,
        id: str,
        store: Place,
        registry: Registry,
        plan: Plan,
        prompt: str | None,
        create: Create | None = None,
    ) -> None:
        """`create` makes the session in a store that is open; without it the session is there."""
        self.id = id
        self.result: Result | None = None
        self._store = store
        self._registry = registry
        self._plan = plan
        self._prompt = prompt
        self._create = create
        self._engine: Engine | None = None
        self._next: list[Kept] = []
        self._more: list[BudgetExtended] = []
        self._over = False  # the result of the run has been read: what is said belongs to the next one
        self._driven: Driven | None = None

    # ------------------------------------------------------------ running

    async def run(self) -> AsyncIterator[Line]:
        """Run until the session rests, and give each event as it happens, the `Result` last.

        The run ends when the session rests and the reader, having seen everything, asks for more. So
        what the body of the loop says (`approve`, `send`…) is in time. Leave early with `break` or by
        cancelling the task, and the session is parked; inside `contextlib.aclosing(session.run())`
        that is done when the block is left, else when Python collects the iterator.

        Raises `LoopspecError` for what stops the run from outside: another process that runs the
        session, a store that cannot be written. What goes wrong inside the loop is in the `Result`.
        """
        engine = self._begin()
        try:
            while (line := await engine.pipe.next()) is not None:
                if isinstance(line, Result):
                    self.result, self._over = line, True
                yield line
        finally:
            await self._end(engine)

    def run_sync(self) -> Iterator[Line]:
        """As `run`, for code that is not async; works beside a running event loop, as in a notebook."""
        engine = self._begin()
        try:
            while (line := engine.pipe.get()) is not None:
                if isinstance(line, Result):
                    self.result, self._over = line, True
                yield line
        finally:
            if not engine.ended:
                engine.park()
            engine.join()
            self._engine = None

    async def finish(self) -> Result:
        """Run to the end and give back the result; raises what `run` raises."""
        async for _ in self.run():
            pass
        assert self.result is not None, "a run that raises nothing ends with its result"
        return self.result

    def finish_sync(self) -> Result:
        """As `finish`, for code that is not async."""
        for _ in self.run_sync():
            pass
        assert self.result is not None, "a run that raises nothing ends with its result"
        return self.result

    async def _end(self, engine: Engine) -> None:
        """Park what still runs, and wait for it without holding up the reader's event loop."""
        if not engine.ended:
            engine.park()
            joined = asyncio.ensure_future(asyncio.to_thread(engine.join))
            cancelled = False
            while not joined.done():
                try:
                    await asyncio.shield(joined)
                except asyncio.CancelledError:
                    cancelled = True
            self._engine = None
            if cancelled:
                raise asyncio.CancelledError
        self._engine = None

    # ------------------------------------------------------------ saying something

    def send(self, text: str) -> Handed:
        """Say something to the loop. What it does not take now waits in its inbox."""
        return self._tell(UserMessage(text=plain_prompt(text)))

    def approve(
        self,
        call: str = "",
        *,
        scope: str = "call",
        args: Mapping[str, Any] | None = None,
        paths: Sequence[str] = (),
        commands: Sequence[str] = (),
        reason: str = "",
    ) -> Handed:
        """Let a call run that waits for approval: `call`, or the first that waits.

        `scope`: `call` (once), `exact` (these arguments, for the session), `limited` (this tool, while
        every path fits one of the globs `paths` and the command one of `commands`) or `tool` (this tool,
        for the session). `args` are the arguments it is to run with instead. A call that was lost is run
        again. Raises `LoopspecError` when no such call waits, `UsageError` for what is no text, no list
        of texts or no JSON; a deny of the spec holds all the same.
        """
        texts(scope=(scope,), reason=(reason,), paths=paths, commands=commands)
        changed = "" if args is None else arguments(args)
        found, hashed = self._meant(call)
        event = ApprovalGiven(
            call=found.call,
            args_hash=hashed,
            answer="grant" if found.status == "asked" else "rerun",
            scope=scope,
            reason=reason,
            args=changed,
            paths=tuple(paths),
            commands=tuple(commands),
        )
        return self._tell(event)

    def deny(self, call: str = "", *, reason: str = "") -> Handed:
        """Refuse a call that waits, or give up one that was lost; the model is told the reason.

        Raises `LoopspecError` when no such call waits, `UsageError` for a reason that is no text.
        """
        texts(reason=(reason,))
        found, hashed = self._meant(call)
        answer = "deny" if found.status == "asked" else "abandon"
        return self._tell(
            ApprovalGiven(call=found.call, args_hash=hashed, answer=answer, reason=reason)
        )

    def interrupt(self) -> Handed:
        """Stop what the loop does now, as Ctrl-C does. Raises `LoopspecError` when it does not run."""
        if self._engine is None or self._over:
            raise LoopspecError("the session is not running", place=f"session {self.id}")
        return Handed(self._engine.interrupt())

    def extend(
        self,
        *,
        turns: int | None = None,
        tokens: int | None = None,
        usd: str | None = None,
        elapsed: str | None = None,
    ) -> Handed:
        """Allow more of a budget: `usd` as text (`1.50`), `elapsed` as a duration (`30m`)."""
        given = {"turns": turns, "tokens": tokens, "usd": usd, "elapsed": elapsed}
        more = extensions([f"{name}={value}" for name, value in given.items() if value is not None])
        if not more:
            raise UsageError("nothing is extended", remedy="name a budget: extend(turns=20)")
        if self._engine is None or self._over:
            self._more += more
            return Handed()
        return Handed(*(self._engine.tell(event) for event in more))

    # ------------------------------------------------------------ looking

    @property
    def waiting(self) -> tuple[WaitingCall, ...]:
        """The calls that wait for a person now, with their arguments as JSON text."""
        if self._engine is None and self.result is not None:
            return self.result.waiting
        return self._look(waiting_calls, ())

    @property
    def state(self) -> tuple[str, ...]:
        """Where the session stands, outermost state first; nothing before it has begun."""
        return self._look(lambda session: session.snapshot.configuration, ())

    def _look(self, at: Callable[[Driven], T], otherwise: T) -> T:
        """Look at the session: as it runs, or as its journal has it; `otherwise` before it has begun."""
        driven = self._driven
        if driven is not None:
            return at(driven)
        store = open_store(self._store)
        try:
            if self.id not in {r.session for r in store.sessions() if r.head >= 0}:
                return otherwise
            return at(Driven.load(store, self.id, SystemClock(), redactor()))
        finally:
            _close(store)

    # ------------------------------------------------------------ inside

    def _begin(self) -> Engine:
        """Start a run; raises `UsageError` while another one goes on."""
        if self._engine is not None:
            raise UsageError(
                "this session is being run already", remedy="read that run to its end, or close it"
            )
        self._over = False
        self._engine = Engine(self._made_or_loaded, self._registry, self._plan)
        return self._engine

    async def _made_or_loaded(self) -> tuple[Driven, Any, Any, Callable[[], None]]:
        """The session in its store, its first step, and what to tell it. In the engine's thread."""
        store = open_store(self._store)
        step: Any = None
        try:
            if self._create is not None:
                driven, step = await self._create(store)
                self._create = None
            else:
                driven = await asyncio.to_thread(
                    Driven.load, store, self.id, SystemClock(), redactor()
                )
                _checked(driven, self._prompt)
        except BaseException:
            _close(store)
            raise
        self._driven = driven

        def events(session: Driven) -> Iterator[tuple[Kept, str]]:
            """What was said before the run. Asked for by the driver once the session is its own, one by
            one: what it has not taken when the run ends is kept for the next one."""
            prompt, said, more = self._prompt, [*self._next], [*self._more]
            if step is None:
                told = _going_on(session, prompt, said, more)
            else:
                first: list[Kept] = [UserMessage(text=prompt)] if prompt is not None else []
                told = [(event, "person") for event in (*first, *more, *said)]
            for event, by in told:
                yield event, by
                self._taken(event)

        def close() -> None:
            self._driven = None
            _close(store)

        return driven, step, events, close

    def _taken(self, event: Kept) -> None:
        """The driver has committed or refused what was kept for this run."""
        if isinstance(event, UserMessage) and event.text == self._prompt:
            self._prompt = None
        elif isinstance(event, BudgetExtended) and event in self._more:
            self._more.remove(event)
        elif event in self._next:
            self._next.remove(event)

    def _tell(self, event: Kept) -> Handed:
        """Hand in a command now, or with the next run."""
        if self._engine is None or self._over:
            self._next.append(event)
            return Handed()
        return Handed(self._engine.tell(event))

    def _meant(self, call: str) -> tuple[WaitingCall, str]:
        """The call that is meant, and the hash of its arguments; raises `LoopspecError`.

        One that was answered already, for the next run, waits no more.
        """
        answered = {event.call for event in self._next if isinstance(event, ApprovalGiven)}
        none: dict[WaitingCall, str] = {}
        hashes = self._look(_hashes, none)
        waiting = [w for w in hashes if w.call not in answered]
        found = next((w for w in waiting if call in ("", w.call)), None)
        if found is None:
            names = ", ".join(w.call for w in waiting) or "none"
            raise LoopspecError(
                f"no call `{call}` waits for an answer" if call else "no call waits for an answer",
                place=f"session {self.id}",
                remedy=f"waiting: {names}",
            )
        return found, hashes[found]


def _hashes(session: Driven) -> dict[WaitingCall, str]:
    """The calls that wait, each with the hash of its arguments, which an answer names."""
    calls = session.snapshot.calls
    return {w: calls[w.call].args_hash for w in waiting_calls(session) if w.call in calls}


def _going_on(
    session: Driven, prompt: str | None, said: list[Kept], more: list[BudgetExtended]
) -> list[tuple[Kept, str]]:
    """What makes a session go on from where it stands."""
    told: list[tuple[Kept, str]] = [(event, "person") for event in said]
    if told and prompt is None:
        return [(event, "person") for event in more] + told
    return first_events(session, prompt, more) + told


def _checked(driven: Driven, prompt: str | None) -> None:
    """Refuse what could not go on; raises `LoopspecError`."""
    check_prompt(driven, prompt)
    where = Path(driven.snapshot.workdir)
    if not where.is_dir():
        raise LoopspecError(
            "the session's work directory is gone",
            place=str(where),
            remedy="put it back, then resume",
        )


def _close(store: Store) -> None:
    """Close a store that can be closed."""
    close = getattr(store, "close", None)
    if close is not None:
        close()

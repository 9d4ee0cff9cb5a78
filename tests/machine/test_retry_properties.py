"""Whatever answers come in whatever order: what no call to a model ever does."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from loopspec.codec import encode
from loopspec.effects import CallModel
from loopspec.events import (
    AttemptFailed,
    EffectCancelled,
    HostSuspended,
    HostWoke,
    ModelReplied,
    TimerFired,
    UserInterrupted,
    UserMessage,
    UserResumed,
)
from loopspec.machine.model import ModelDecl
from loopspec.machine.modelling import RESTART, STALE
from loopspec.record import AddPartial
from machine.builders import SECOND, Run, coding

S = "working.streaming"
RETRY = f"retry:{S}"
DECL = ModelDecl(
    "main",
    "sim/one",
    fallbacks=("sim/two", "sim/three"),
    attempts=4,
    base=SECOND,
    cap=8 * SECOND,
    longest=20 * SECOND,
    budget=60 * SECOND,
    breaker=3,
    cooldown=30 * SECOND,
)
MACHINE = coding(models={"main": DECL})
REASONS: tuple[str, ...] = (
    *("rate_limited", "overloaded", "truncated", "corrupt", "stalled", "connection"),
    *("auth", "bad_request", "refused", RESTART, "empty"),
)


@dataclass(frozen=True)
class Answer:
    """How an attempt ends: a reply, or a failure after `grown` more characters of its text."""

    reason: str
    retry_after: int
    jitter: int
    grown: int
    resumable: bool
    told: bool
    stop: str


ANSWERS = st.builds(
    Answer,
    reason=st.sampled_from((*REASONS, *REASONS[:6], "reply")),
    retry_after=st.sampled_from([0, 0, SECOND, 20 * SECOND, 21 * SECOND]),
    jitter=st.sampled_from([0, 1, 500_000, 1_000_000]),
    grown=st.sampled_from([0, 0, 1, 5]),
    resumable=st.booleans(),
    told=st.booleans(),
    stop=st.sampled_from(["", "", "", "", "interrupt", "suspend"]),
)


@dataclass
class Watch:
    """What is seen of one session from outside."""

    run: Run
    by_id: dict[str, CallModel] = field(default_factory=dict)
    failures: dict[str, AttemptFailed] = field(default_factory=dict)
    entries: dict[int, AttemptFailed] = field(default_factory=dict)
    tried: dict[str, list[str]] = field(default_factory=dict)  # by effect: the models of its call so far
    idle: dict[str, int] = field(default_factory=dict)  # by effect: goings-on in a row that added nothing
    due: dict[str, int] = field(default_factory=dict)  # by failed effect: when its server may be asked
    shown: list[str] = field(default_factory=list)

    def effect(self) -> CallModel:
        """The attempt that is out, judged when it is seen for the first time."""
        effect = self.run.effect
        assert isinstance(effect, CallModel)
        if effect.id not in self.by_id:
            self._judge(effect)
        return effect

    def _judge(self, effect: CallModel) -> None:
        before = self.by_id.get(effect.after)
        chain = list(self.tried.get(effect.after, []))
        shut = {
            use
            for use, made in self.run.snapshot.breakers.items()
            if 0 < made.until - self.run.snapshot.at <= DECL.cooldown
        }
        free = [u for u in (DECL.use, *DECL.fallbacks) if u not in shut and u not in chain]
        assert effect.use not in shut or not free, "an open breaker, and another model to ask"
        assert chain.count(effect.use) < DECL.attempts, "never more attempts than declared"
        self.idle[effect.id] = 0
        if before is not None and effect.use == before.use:
            assert self.run.snapshot.awake >= self.due[before.id], "never before Retry-After"
        if effect.continues >= 0:
            assert before is not None and effect.use == before.use, "another model never continues"
            assert self.entries[effect.continues].resumable
            self.idle[effect.id] = self.idle[before.id] + 1 if self._idle(before) else 0
            assert self.idle[effect.id] < STALE, "what does not grow is asked anew"
        self.tried[effect.id] = [*chain, effect.use]
        self.by_id[effect.id] = effect

    def _idle(self, effect: CallModel) -> bool:
        """Whether an attempt went on from a text and added nothing to it."""
        if effect.continues < 0:
            return False
        had = self.entries[effect.continues].partial
        return len(self.failures[effect.id].partial) <= len(had)

    def fail(self, effect: CallModel, answer: Answer, text: str) -> None:
        """The attempt fails."""
        told = AttemptFailed(
            effect.id,
            answer.reason,
            retryable=answer.reason not in ("auth", "bad_request", "refused"),
            retry_after=answer.retry_after,
            jitter=answer.jitter,
            partial=text,
            resumable=answer.resumable and bool(text),
        )
        if answer.reason == RESTART:
            self.tried[effect.id].pop()
        made = self.run.tell(told, "model")
        self.failures[effect.id] = self.entries[self.run.snapshot.seq] = told
        waits = 0 if answer.reason == RESTART else answer.retry_after
        self.due[effect.id] = self.run.snapshot.awake + waits
        if RETRY in self.run.snapshot.timers:
            assert self.run.snapshot.timers[RETRY].due >= self.due[effect.id]
        self.see(made.record.view, told.partial)

    def see(self, ops: tuple[object, ...], own: str) -> None:
        """Remember what was shown as unfinished."""
        self.shown += [op.text or own for op in ops if isinstance(op, AddPartial)]


@settings(max_examples=150, deadline=None)
@given(st.lists(ANSWERS, max_size=40))
def test_no_sequence_of_answers_breaks_what_is_promised(answers: list[Answer]) -> None:
    run = Run(MACHINE)
    watch = Watch(run)
    texts = iter(range(10_000))
    open_text = ""  # what came of the present call and was neither shown nor replaced
    for answer in answers:
        if run.leaf == "interrupted" or run.leaf == "suspended":
            run.tell(UserResumed() if run.leaf == "interrupted" else HostWoke(SECOND))
        if run.leaf == "ready":
            assert not open_text, "nothing that was received is thrown away"
            run.tell(UserMessage("go"))
        if RETRY in run.snapshot.timers:
            due = run.snapshot.timers[RETRY].due
            if answer.stop:
                made = run.tell(UserInterrupted() if answer.stop == "interrupt" else HostSuspended())
                watch.see(made.record.view, "")
                assert not open_text or watch.shown[-1] == open_text
                open_text = ""
                continue
            run.tell(TimerFired(RETRY), "timer", wait=max(0, due - run.awake))
        effect = watch.effect()
        base = watch.entries[effect.continues].partial if effect.continues >= 0 else ""
        text = base + "".join(f"<{next(texts)}>" for _ in range(answer.grown))
        text = text if answer.told or answer.grown else ""
        count = len(watch.shown)
        if answer.stop:
            run.tell(UserInterrupted() if answer.stop == "interrupt" else HostSuspended())
            made = run.tell(EffectCancelled(effect.id, partial=text), "model")
            watch.see(made.record.view, text)
            wanted = text or open_text
            assert watch.shown[count:] == ([wanted] if wanted else [])
            open_text = ""
        elif answer.reason == "reply":
            made = run.tell(ModelReplied(effect.id, text=f"{text}."), "model")
            assert not [op for op in made.record.view if isinstance(op, AddPartial)]
            open_text = ""
            assert effect.use not in run.snapshot.breakers
        else:
            watch.fail(effect, answer, text)
            open_text = text or open_text
            if run.leaf == "ready":
                assert watch.shown[count:] == ([open_text] if open_text else [])
                open_text = ""
        assert not run.snapshot.stuck
    assert len(watch.shown) == len(set(watch.shown)), "nothing is shown twice"
    assert encode(run.snapshot)


@settings(max_examples=30, deadline=None)
@given(st.lists(ANSWERS, max_size=15))
def test_the_same_history_gives_the_same_effects(answers: list[Answer]) -> None:
    def played() -> list[bytes]:
        run, out = Run(MACHINE), []
        for n, answer in enumerate(answers):
            if run.leaf == "ready":
                run.tell(UserMessage("go"))
            if RETRY in run.snapshot.timers:
                run.tell(TimerFired(RETRY), "timer")
            told = AttemptFailed(
                run.effect.id,
                answer.reason,
                retryable=True,
                retry_after=answer.retry_after,
                jitter=answer.jitter,
                partial=f"{n}",
                resumable=answer.resumable,
            )
            out.append(encode(run.tell(told, "model")))
        return out

    assert played() == played()

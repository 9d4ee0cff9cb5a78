"""`otel`: a session as OpenTelemetry spans. Needs `loopspec[otel]`; imported only when it is chosen.

One trace per session, whose id follows from the session's: a resumed session goes on in the same trace.
Each run (one process) is a span `invoke_agent NAME`; below it `chat MODEL` for each attempt of a model
call, `execute_tool TOOL` for each tool call, `perform KIND` for a plugin's own work and `wait approval`.
A program that has set up OpenTelemetry gets the spans through its own provider; else OTEL_TRACES_EXPORTER
names exporters (`otlp` by default, `console` writes to stderr).

Rules of this file:
1. No content leaves (messages, arguments, results, error texts) unless LOOPSPEC_OTEL_CONTENT is 1.
2. Times are those of the journal, so that a span says what the journal says.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from loopspec.codec import answered_by, apply
from loopspec.effects import CallModel, Effect, Perform, RunTool
from loopspec.errors import LoopspecError
from loopspec.events import (
    ApprovalGiven,
    GateDecided,
    Live,
    ModelReplied,
    TextDelta,
    TokenUsage,
    UserCalled,
    UserMessage,
)
from loopspec.hooks import Watched
from loopspec.journal.entry import Entry
from loopspec.machine.model import Machine
from loopspec.observers import genai
from loopspec.observers.outcomes import Outcome, outcome_of
from loopspec.snapshot import Snapshot
from loopspec.version import __version__

CONTENT: Final = "LOOPSPEC_OTEL_CONTENT"
EXPORTERS: Final = "OTEL_TRACES_EXPORTER"
GROUP: Final = "opentelemetry_traces_exporter"
FLUSH_MS: Final = 4_000
_FAILED: Final = ("failed", "stuck", "broken")


class OtelObserver:
    """See `loopspec.hooks.Observer`."""

    def __init__(self, provider: Any = None, *, content: bool | None = None) -> None:
        """`provider` is the program's own tracer provider, found if left out; `content` overrides the
        environment. Raises `LoopspecError` when an exporter is not installed."""
        self._own: TracerProvider | None = None
        if provider is None:
            provider = trace.get_tracer_provider()
            if not isinstance(provider, TracerProvider):
                provider = self._own = _from_environment()
        self._tracer: trace.Tracer = provider.get_tracer("loopspec", __version__, genai.SCHEMA)
        self._content = os.environ.get(CONTENT) == "1" if content is None else content
        self._spans: dict[str, Span] = {}  # by effect, and by the path of a state that waits
        self._began: dict[str, int] = {}
        self._args: dict[tuple[int, int], str] = {}  # proposed arguments, if content is wanted
        self._edited: dict[str, str] = {}  # what a person made of a call's arguments
        self._said: list[dict[str, Any]] = []
        self._root: Span | None = None
        self._last = 0

    def begin(self, run: Watched) -> None:
        """A run begins: its span, and those of what an earlier process left pending."""
        self._machine: Machine = run.machine
        self._snapshot: Snapshot = run.snapshot
        self._usage = run.snapshot.usage
        self._context = _context(run.session)
        self._session = run.session
        now = time.time_ns() // 1_000
        if run.snapshot.seq < 0:
            return  # entry 0 gives the time
        self._start_root(now, resumed=True)
        for pending in run.snapshot.pending.values():
            self._start_effect(pending.effect, now, again=True)
        self._follow_waits(now)

    def kept(self, entry: Entry) -> None:
        """An entry: what it answers ends, what it asks for begins."""
        if self._root is None:
            self._start_root(entry.at, resumed=False)
        self._last = entry.at
        answered = answered_by(entry.event)
        if answered in self._spans:
            self._end(answered, entry.at, outcome_of(entry.event, content=self._content))
        self._snapshot = apply(self._snapshot, entry.patch, entry.effects, answered)
        if self._content:
            self._remember(entry)
        self._note(entry)
        for effect in entry.effects:
            self._start_effect(effect, entry.at)
        self._follow_waits(entry.at)

    def live(self, event: Live) -> None:
        """The first text of a reply tells how long it took to come."""
        if isinstance(event, TextDelta) and event.effect in self._began:
            since = time.time_ns() - self._began.pop(event.effect) * 1_000
            self._spans[event.effect].set_attribute(genai.FIRST_CHUNK, max(0, since) / 1e9)

    def end(self, reason: str) -> None:
        """The run is over."""
        root = self._root
        if root is None:
            return
        at = max(self._last, time.time_ns() // 1_000)
        for key in list(self._spans):
            self._end(key, at, Outcome({"loopspec.unfinished": True}))
        used, before = self._snapshot.usage, self._usage
        root.set_attribute(genai.INPUT_TOKENS, used.input_tokens - before.input_tokens)
        root.set_attribute(genai.OUTPUT_TOKENS, used.output_tokens - before.output_tokens)
        if used.unpriced == before.unpriced:
            root.set_attribute(genai.COST, used.cost - before.cost)
        root.set_attribute("loopspec.end", reason)
        if self._content and self._said:
            root.set_attribute(genai.INPUT_MESSAGES, _json(self._said))
        if reason in _FAILED:
            root.set_attribute(genai.ERROR, reason)
            root.set_status(Status(StatusCode.ERROR))
        root.end(at * 1_000)
        self._root = None
        if self._own is not None:
            self._own.force_flush(FLUSH_MS)
            self._own.shutdown()

    # ------------------------------------------------------------ spans

    def _start_root(self, at: int, *, resumed: bool) -> None:
        """The span of this run."""
        name = self._machine.name
        attributes: dict[str, Any] = {
            genai.OPERATION: genai.INVOKE,
            genai.AGENT: name,
            genai.AGENT_VERSION: self._machine.version,
            genai.CONVERSATION: self._session,
            "loopspec.resumed": resumed,
        }
        self._last = at
        self._root = self._tracer.start_span(
            f"{genai.INVOKE} {name}", self._context, SpanKind.INTERNAL, attributes, start_time=at * 1_000
        )

    def _start(self, key: str, name: str, at: int, kind: SpanKind, attributes: Any) -> None:
        """A span below the run's."""
        assert self._root is not None
        above = trace.set_span_in_context(self._root)
        self._spans[key] = self._tracer.start_span(
            name, above, kind, {**attributes, genai.CONVERSATION: self._session}, start_time=at * 1_000
        )

    def _start_effect(self, effect: Effect, at: int, *, again: bool = False) -> None:
        """The span of an effect that others would want to see."""
        more: dict[str, Any] = {"loopspec.state": effect.state}
        if again:
            more["loopspec.recovered"] = True
        if isinstance(effect, CallModel):
            use = effect.use
            attributes = {
                genai.OPERATION: genai.CHAT,
                genai.PROVIDER: genai.provider(use),
                genai.REQUEST_MODEL: genai.model(use),
                "loopspec.attempt": effect.attempt,
            }
            name = f"{genai.CHAT} {genai.model(use)}"
            self._start(effect.id, name, at, SpanKind.CLIENT, attributes | more)
            self._began[effect.id] = at
        elif isinstance(effect, RunTool):
            attributes = {
                genai.OPERATION: genai.EXECUTE,
                genai.TOOL: effect.tool,
                genai.TOOL_TYPE: "function",
                genai.TOOL_CALL: effect.call,
            }
            args = self._edited.get(effect.call) or self._args.get((effect.seq, effect.index))
            if args:  # kept only if content is wanted
                attributes[genai.TOOL_ARGUMENTS] = args
            name = f"{genai.EXECUTE} {effect.tool}"
            self._start(effect.id, name, at, SpanKind.INTERNAL, attributes | more)
        elif isinstance(effect, Perform):
            named = {"loopspec.kind": effect.kind}
            self._start(effect.id, f"perform {effect.kind}", at, SpanKind.INTERNAL, named | more)

    def _end(self, key: str, at: int, outcome: Outcome) -> None:
        """End a span with what came of it."""
        span = self._spans.pop(key)
        self._began.pop(key, None)
        for name, value in outcome.attributes.items():
            span.set_attribute(name, value)
        if outcome.usage is not None:
            _count(span, outcome.usage)
        if outcome.error:
            span.set_attribute(genai.ERROR, outcome.error)
            span.set_status(Status(StatusCode.ERROR, outcome.detail or None))
        span.end(at * 1_000)

    def _follow_waits(self, at: int) -> None:
        """States that wait for approval are spans as long as they are active."""
        now = {
            path
            for path in self._snapshot.configuration
            if (kind := self._machine.kind_of(path)) is not None and kind.rests == "approval"
        }
        for key in [k for k in self._spans if k in self._machine.states and k not in now]:
            self._end(key, at, Outcome())
        for path in sorted(now - self._spans.keys()):
            asked = [c.tool for c in self._snapshot.calls.values() if c.status in ("asked", "lost")]
            attributes = {"loopspec.state": path, "loopspec.asked": asked}
            self._start(path, "wait approval", at, SpanKind.INTERNAL, attributes)

    def _note(self, entry: Entry) -> None:
        """What happens at a moment: answers of people, denials of the gate."""
        event = entry.event
        if isinstance(event, ApprovalGiven):
            told = {"loopspec.answer": event.answer, "loopspec.scope": event.scope}
            told["loopspec.by"] = entry.by
            waits = [span for key, span in self._spans.items() if key in self._machine.states]
            for span in waits or ([self._root] if self._root else []):
                span.add_event("approval.given", told, entry.at * 1_000)
        elif isinstance(event, GateDecided) and self._root is not None:
            for one in event.decisions:
                if one.answer == "deny":
                    told = {genai.TOOL_CALL: one.call, "loopspec.rule": one.rule}
                    self._root.add_event("call.denied", told, entry.at * 1_000)

    def _remember(self, entry: Entry) -> None:
        """Keep what spans of later entries will show, if content is wanted."""
        event = entry.event
        if isinstance(event, ModelReplied):
            self._args |= {(entry.seq, n): call.args for n, call in enumerate(event.calls)}
        elif isinstance(event, UserCalled):
            self._args[entry.seq, 0] = event.args
        elif isinstance(event, ApprovalGiven) and event.args:
            self._edited[event.call] = event.args
        elif isinstance(event, UserMessage):
            part = {"type": "text", "content": event.text}
            self._said.append({"role": "user", "parts": [part]})


def _count(span: Span, usage: TokenUsage) -> None:
    """What a reply consumed."""
    span.set_attribute(genai.INPUT_TOKENS, usage.input_tokens)
    span.set_attribute(genai.OUTPUT_TOKENS, usage.output_tokens)
    if usage.cached_tokens:
        span.set_attribute(genai.CACHED_TOKENS, usage.cached_tokens)
    if usage.cost is not None:
        span.set_attribute(genai.COST, usage.cost)


def _context(session: str) -> Any:
    """The context that puts every run of a session into one trace."""
    found = hashlib.sha256(f"loopspec session {session}".encode()).digest()
    parent = trace.SpanContext(
        trace_id=int.from_bytes(found[:16], "big") or 1,
        span_id=int.from_bytes(found[16:24], "big") or 1,
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(parent))


def _json(value: Any) -> str:
    """Content as the conventions want it: JSON text."""
    return json.dumps(value, ensure_ascii=False)


def _from_environment() -> TracerProvider:
    """A provider with the exporters the environment names; raises `LoopspecError`."""
    provider = TracerProvider(resource=Resource.create({"service.name": _service(os.environ)}))
    for name in (os.environ.get(EXPORTERS) or "otlp").split(","):
        name = name.strip()
        if name == "none":
            continue
        if name == "console":
            exporter: Any = ConsoleSpanExporter(out=os.fdopen(os.dup(2), "w"))
        else:
            found = list(entry_points(group=GROUP, name=name))
            if not found:
                raise LoopspecError(
                    f"the OpenTelemetry exporter `{name}` is not installed",
                    place="observer otel",
                    remedy=f"install opentelemetry-exporter-otlp, or set {EXPORTERS}=console",
                )
            exporter = found[0].load()()
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _service(environment: Mapping[str, str]) -> str:
    """The service's name, as OpenTelemetry's own variable says."""
    return environment.get("OTEL_SERVICE_NAME") or "loopspec"

"""The OpenTelemetry observer: spans of real runs, collected by the SDK's own in-memory exporter."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.kit import Place, small
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from loopspec.drivers import launch
from loopspec.drivers.door import Nobody
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.observing import chosen
from loopspec.drivers.session import Session
from loopspec.drivers.world import SystemClock, redactor
from loopspec.errors import LoopspecError
from loopspec.events import UserMessage
from loopspec.observers import genai
from loopspec.observers.otel import OtelObserver
from loopspec.registry import installed
from loopspec.stores.memory import MemoryStore

TURNS: tuple[dict[str, Any], ...] = (
    {
        "reply": "",
        "calls": [
            {"tool": "read", "args": {"path": "none.txt"}},
            {"tool": "shell", "args": {"command": "true"}},
        ],
        "usage": {"input": 100, "output": 20, "cost_usd": "0.002"},
    },
    {"reply": "Secret words.", "usage": {"input": 120, "output": 5, "cost_usd": "0.001"}},
)


class Traced:
    """One session, run once or several times, and its spans."""

    def __init__(self, path: Path, *turns: dict[str, Any]) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.store = MemoryStore()
        place = Place(path)
        spec = small(place, *(turns or TURNS))
        loaded = launch.load(str(spec), installed())
        assert loaded.machine is not None
        self.machine, self.work = loaded.machine, place.work

    def run(self, *, yes: bool, content: bool = False) -> str:
        """Begin the session, or go on with it; gives back why it rests."""
        observer = OtelObserver(self.provider, content=content)

        async def go() -> str:
            clock = SystemClock()
            if not self.store.sessions():
                begun = launch.started(self.machine, installed(), "{}", self.work, {"main": 0}, "0")
                session, step = await Session.create(
                    self.store, self.machine, "s", begun, clock, redactor()
                )
                first = [(UserMessage(text="Do it."), "person")]
            else:
                session, step, first = Session.load(self.store, "s", clock, redactor()), None, []
            with chosen({"otel": observer}):
                driver = LocalDriver(session, installed(), Nobody(yes=yes))
            return (await driver.run(first, step)).reason

        return asyncio.run(go())

    @property
    def spans(self) -> list[ReadableSpan]:
        return sorted(self.exporter.get_finished_spans(), key=lambda s: (s.start_time or 0, s.name))

    def one(self, name: str) -> ReadableSpan:
        (found,) = (s for s in self.spans if s.name == name)
        return found


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[Traced]:
    made = Traced(tmp_path)
    yield made
    made.store.close()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_run_is_a_tree_of_spans_with_usage_cost_waits_and_errors(traced: Traced) -> None:
    assert traced.run(yes=True) == "input"
    assert sorted(s.name for s in traced.spans) == [
        *("chat " + traced.machine.models["main"].use.removeprefix("scripted/"),) * 2,
        "execute_tool read",
        "execute_tool shell",
        "invoke_agent small",
        "wait approval",
    ]
    root = traced.one("invoke_agent small")
    assert {s.parent.span_id for s in traced.spans if s is not root and s.parent} == {
        root.context.span_id
    }
    told = attributes(root)
    assert told[genai.CONVERSATION] == "s"
    assert (told[genai.INPUT_TOKENS], told[genai.OUTPUT_TOKENS]) == (220, 25)
    assert told[genai.COST] == 3_000_000
    assert told["loopspec.end"] == "input"
    first = attributes(traced.spans[1])
    assert first[genai.OPERATION] == "chat"
    assert first[genai.PROVIDER] == "scripted"
    assert (first[genai.INPUT_TOKENS], first[genai.OUTPUT_TOKENS], first[genai.COST]) == (
        *(100, 20),
        2_000_000,
    )
    assert first[genai.FINISH] == ("tool_calls",)
    failed = traced.one("execute_tool read")
    assert attributes(failed)[genai.ERROR] == "error"
    assert not failed.status.is_ok
    assert traced.one("execute_tool shell").status.is_unset
    wait = traced.one("wait approval")
    assert attributes(wait)["loopspec.asked"] == ("shell",)
    assert [(e.name, dict(e.attributes or {})["loopspec.answer"]) for e in wait.events] == [
        ("approval.given", "grant")
    ]


def test_without_being_asked_for_no_content_leaves(traced: Traced) -> None:
    traced.run(yes=True)
    text = " ".join(s.to_json() for s in traced.spans)
    for word in ("Secret words", "Do it", "none.txt", '"command"'):
        assert word not in text


def test_content_comes_when_it_is_asked_for(traced: Traced) -> None:
    traced.run(yes=True, content=True)
    shell = attributes(traced.one("execute_tool shell"))
    assert json.loads(shell[genai.TOOL_ARGUMENTS]) == {"command": "true"}
    assert genai.TOOL_RESULT in shell
    root = attributes(traced.one("invoke_agent small"))
    assert json.loads(root[genai.INPUT_MESSAGES]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Do it."}]}
    ]
    last = attributes(traced.spans[-1])
    assert json.loads(last[genai.OUTPUT_MESSAGES]) == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "Secret words."}],
            "finish_reason": "stop",
        }
    ]


def test_a_resumed_session_goes_on_in_the_same_trace(traced: Traced) -> None:
    assert traced.run(yes=False) == "approval"
    assert traced.run(yes=True) == "input"
    assert len({s.context.trace_id for s in traced.spans}) == 1
    runs = [s for s in traced.spans if s.name == "invoke_agent small"]
    assert [attributes(s)["loopspec.resumed"] for s in runs] == [False, True]
    assert [attributes(s)[genai.OUTPUT_TOKENS] for s in runs] == [20, 5]
    waits = [s for s in traced.spans if s.name == "wait approval"]
    assert [attributes(s).get("loopspec.unfinished", False) for s in waits] == [True, False]


def test_another_session_has_another_trace(tmp_path: Path) -> None:
    from loopspec.observers.otel import _context

    assert str(_context("a")) == str(_context("a")) != str(_context("b"))


def test_an_exporter_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "nowhere")
    with pytest.raises(LoopspecError) as raised:
        OtelObserver()
    assert str(raised.value) == (
        "observer otel: the OpenTelemetry exporter `nowhere` is not installed. "
        "install opentelemetry-exporter-otlp, or set OTEL_TRACES_EXPORTER=console"
    )


@pytest.mark.slow
def test_the_command_line_switches_it_on(tmp_path: Path) -> None:
    place = Place(tmp_path)
    spec = small(place, *TURNS)
    ran = place.run(
        *("run", spec, "-p", "Do it.", "--yes", "--observe", "otel"), OTEL_TRACES_EXPORTER="console"
    )
    assert ran.code == 0
    assert '"name": "execute_tool shell"' in ran.err
    again = place.run("run", spec, "-p", "x", LOOPSPEC_OBSERVE="other")
    assert (again.code, again.err) == (
        2,
        "loopspec: there is no observer `other`. installed: otel\n",
    )

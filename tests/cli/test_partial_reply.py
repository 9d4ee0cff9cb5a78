"""Interrupted while a reply streams: what had come is in the journal, and in the next request, marked."""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli.kit import LOOP, TIMEOUT, Place, until
from loopspec.events import EffectCancelled

MARK = "\n[interrupted here; the rest of this reply was never received]"


def chunk(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "xyz"}
    return f"data: {json.dumps({**body, 'choices': [choice]})}\n\n".encode()


class Half(BaseHTTPRequestHandler):
    """The first request gets half a reply and then silence; each further one a whole reply."""

    requests: list[dict[str, Any]]

    def do_POST(self) -> None:
        size = int(self.headers["content-length"])
        if not self.path.endswith("/chat/completions"):
            self.rfile.read(size)
            self.send_error(404)
            return
        self.requests.append(json.loads(self.rfile.read(size)))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        if len(self.requests) == 1:
            self.wfile.write(chunk("The cause is "))
            self.wfile.write(chunk("the rounding"))
            self.rfile.read(1)  # until the client has gone
            return
        self.wfile.write(chunk("Then I go on.", "stop") + b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def served() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    requests: list[dict[str, Any]] = []
    handler = type("Handler", (Half,), {"requests": requests})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join(TIMEOUT)


@pytest.mark.parametrize("use", ["openai/xyz", "local/xyz"])
def test_what_had_come_is_in_the_journal_and_marked_in_the_next_request(use: str, tmp_path: Path) -> None:
    place = Place(tmp_path)
    with served() as (base, requests):
        model = f"use: {use}, params: {{api_base: '{base}/v1'}}"
        spec = place.file("loop.yaml", LOOP.replace("use: scripted/script.yaml", model))
        process = place.start("run", spec, "-p", "Why?", "--output-format", "stream-json")
        until(process, "text.delta", 2)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT)
        assert process.returncode == 130
        [cut] = [e.event for e in place.entries() if isinstance(e.event, EffectCancelled)]
        assert (cut.partial, cut.started) == ("The cause is the rounding", True)
        ran = place.run("resume", "last", "-p", "Go on.", "--output-format", "json")
        assert (ran.code, ran.lines[-1]["answer"]) == (0, "Then I go on.")
    said = [(m["role"], m["content"]) for m in requests[1]["messages"][1:]]
    assert said == [
        ("user", "Why?"),
        ("assistant", "The cause is the rounding" + MARK),
        ("user", "Go on."),
    ]
    assert place.run("verify", "last").code == 0

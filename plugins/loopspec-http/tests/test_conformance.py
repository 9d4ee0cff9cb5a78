"""Both tools keep the promises of `loopspec.hooks`, against a real server in a thread."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from loopspec.testing import conformance

import loopspec_http


class Says(BaseHTTPRequestHandler):
    """Answers everything with a word."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Says)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join(30)


def config(port: int) -> dict[str, Any]:
    """A server of one's own."""
    return {"hosts": ["127.0.0.1"], "schemes": ["http"], "ports": [port], "private": True}


def test_the_plugin_can_be_loaded() -> None:
    conformance.plugin(loopspec_http, "http").check()


def test_fetch_keeps_the_promises(port: int) -> None:
    conformance.tool(
        loopspec_http.FETCH,
        {"url": f"http://127.0.0.1:{port}/"},
        config=config(port),
        failing={"url": "http://example.com/"},
    ).check()


def test_send_keeps_the_promises(port: int) -> None:
    conformance.tool(
        loopspec_http.SEND,
        {"url": f"http://127.0.0.1:{port}/", "method": "POST", "body": "x"},
        config=config(port),
        failing={"url": f"http://127.0.0.1:{port}/", "method": "DELETE"},
    ).check()

"""A small client of a language server: JSON-RPC over the pipes of a real process.

Rules of this file:
1. Nothing sleeps: every wait is for a message, with a deadline.
2. The server is ended when the client is closed, whatever happened.
"""

import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

TIMEOUT = 60.0
Message = dict[str, Any]


class Client:
    """A running server and what it has said."""

    def __init__(self, command: Sequence[str], root: Path) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=root,
            start_new_session=True,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._in: IO[bytes] = self.process.stdin
        self._heard: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._kept: list[Message] = []
        self._number = 0
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()
        try:
            self.request("initialize", self._hello(root))
            self.notify("initialized", {})
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the server and everything it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        self._in.close()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def request(self, method: str, params: Any) -> Any:
        """Ask and wait for the answer; raises `AssertionError` with the server's words."""
        self._number += 1
        number = self._number
        self._send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        answer = self._wait(lambda m: m.get("id") == number and "method" not in m)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def notify(self, method: str, params: Any) -> None:
        """Tell the server something."""
        self._send({"jsonrpc": "2.0", "method": method, "params": params})

    def open(self, path: Path, text: str) -> list[Message]:
        """Open a document and wait for what the server finds wrong with it."""
        uri = path.as_uri()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": document})
        told = self._wait(
            lambda m: m.get("method") == "textDocument/publishDiagnostics" and m["params"]["uri"] == uri
        )
        found: list[Message] = told["params"]["diagnostics"]
        return found

    def at(self, method: str, path: Path, line: int, character: int) -> Any:
        """Ask about a place in a document; line and character count from 0."""
        place = {"line": line, "character": character}
        return self.request(method, {"textDocument": {"uri": path.as_uri()}, "position": place})

    def _hello(self, root: Path) -> Message:
        """What a client says first: it takes snippets and shows Markdown."""
        item = {"snippetSupport": True, "documentationFormat": ["markdown"]}
        abilities = {
            "textDocument": {
                "completion": {"completionItem": item},
                "hover": {"contentFormat": ["markdown"]},
                "publishDiagnostics": {},
            },
            "workspace": {"configuration": True},
        }
        return {"processId": os.getpid(), "rootUri": root.as_uri(), "capabilities": abilities}

    def _send(self, message: Message) -> None:
        body = json.dumps(message).encode()
        self._in.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._in.flush()

    def _wait(self, wanted: Callable[[Message], bool]) -> Message:
        """The first message that is wanted; what the server asks in between is answered."""
        for message in self._kept:
            if wanted(message):
                self._kept.remove(message)
                return message
        while True:
            heard = self._heard.get(timeout=TIMEOUT)
            assert heard is not None, "the language server has ended"
            if "method" in heard and "id" in heard:
                self._answer(heard)
            elif wanted(heard):
                return heard
            else:
                self._kept.append(heard)

    def _answer(self, asked: Message) -> None:
        """Give the server its settings: no store of schemas, so that nothing is fetched."""
        result: Any = None
        if asked["method"] == "workspace/configuration":
            yaml = {"schemaStore": {"enable": False}, "validate": True, "hover": True, "completion": True}
            known = {"yaml": yaml}
            result = [known.get(item["section"], {}) for item in asked["params"]["items"]]
        self._send({"jsonrpc": "2.0", "id": asked["id"], "result": result})

    def _read(self, stream: IO[bytes]) -> None:
        """Read messages until the server ends."""
        while True:
            length = 0
            for line in iter(stream.readline, b"\r\n"):
                if not line:
                    self._heard.put(None)
                    return
                name, _, value = line.decode().partition(":")
                if name.lower() == "content-length":
                    length = int(value)
            self._heard.put(json.loads(stream.read(length)))

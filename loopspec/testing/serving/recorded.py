"""Recorded: HTTP exchanges from a file of the kind VCR tools write.

Rules of this file:
1. Bodies are served byte for byte. Only status, content type and Retry-After of the recorded headers are:
   the others describe a transfer that is not repeated.
2. Whatever the file is, the answer is exchanges or a `LoopspecError` that names it.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from loopspec.errors import BadSpec
from loopspec.spec.source import load_plain

_SERVED: Final = ("content-type", "retry-after", "retry-after-ms")


@dataclass(frozen=True)
class Exchange:
    """One request and its answer. `request` is the decoded JSON body, None without one."""

    method: str
    path: str
    request: Any
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def streams(self) -> bool:
        """Whether the answer is an event stream."""
        return self.headers.get("content-type", "").startswith("text/event-stream")


def read(path: Path) -> tuple[Exchange, ...]:
    """The exchanges of a recording; raises `BadSpec` that names the file."""
    data = load_plain(path)
    found = data.get("interactions") if isinstance(data, dict) else None
    if not isinstance(found, list):
        raise BadSpec(
            "it is no recording: there is no list `interactions`",
            place=str(path),
            remedy="record with a VCR tool, or write a script: docs/testing-models.md",
        )
    return tuple(_exchange(item, f"{path}: interactions[{n}]") for n, item in enumerate(found))


def _exchange(item: Any, place: str) -> Exchange:
    """One exchange."""
    try:
        request, response = item["request"], item["response"]
        status = response["status"]
        code = int(status["code"] if isinstance(status, dict) else status)
        headers = dict(_headers(response.get("headers") or {}))
        body = _body(response)
        return Exchange(
            method=str(request["method"]).upper(),
            path=urlsplit(str(request["uri"])).path,
            request=_asked(request),
            status=code,
            headers=headers,
            body=body,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        fault = f"it is no recorded exchange: {type(err).__name__}: {err}"
        raise BadSpec(fault, place=place, remedy="look at docs/testing-models.md") from None


def _headers(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The headers that are served, by their small names."""
    for name, value in given.items():
        if name.lower() in _SERVED:
            yield name.lower(), str(value[0] if isinstance(value, list) else value)


def _body(response: Mapping[str, Any]) -> bytes:
    """The body's bytes: as text, as bytes, or as the JSON value some recorders keep."""
    if "parsed_body" in response:
        return json.dumps(response["parsed_body"]).encode()
    body = response.get("body") or {}
    given = body.get("string", "") if isinstance(body, dict) else body
    return given if isinstance(given, bytes) else str(given).encode()


def _asked(request: Mapping[str, Any]) -> Any:
    """The JSON of a request, None if it had none."""
    if "parsed_body" in request:
        return request["parsed_body"]
    body = request.get("body")
    text = body.get("string") if isinstance(body, dict) else body
    if not text:
        return None
    try:
        return json.loads(text)
    except (ValueError, TypeError):
        return None

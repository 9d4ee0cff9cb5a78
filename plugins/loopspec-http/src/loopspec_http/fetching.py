"""Fetching: one request over one connection of its own, to an address that was judged.

Rules of this file:
1. Nothing is followed, repeated or kept: no redirects, no cookies, no proxies, no pool.
2. Everything has a limit: time, headers (the HTTP library's), the size of the body as decompressed.
3. TLS is verified against the host's name, though the connection goes to its judged address.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Iterable
from typing import Any, Final

import httpcore
from loopspec.hooks import ToolContext, ToolFailed

from loopspec_http.bodies import ENCODINGS, Body, text_of
from loopspec_http.settings import Settings
from loopspec_http.targets import Target, judge, target

SHOWN: Final = (
    *("content-type", "content-length", "last-modified", "etag", "location", "retry-after"),
    *("allow", "link"),
)
"""Headers of an answer that are told."""
_NEVER: Final = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "te", "upgrade"}
    | {"expect", "keep-alive", "proxy-authorization", "proxy-connection", "trailer"}
)
_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")


async def request(ctx: ToolContext, args: dict[str, Any]) -> str:
    """Make the request the arguments describe and tell the answer; raises `ToolFailed`."""
    settings = Settings.of(ctx.config)
    method = str(args.get("method", "GET"))
    if method not in settings.methods:
        raise ToolFailed(f"the method {method} is not allowed, only {', '.join(settings.methods)}")
    where = target(str(args["url"]), settings)
    headers = _headers(args.get("headers") or {}, settings)
    body = str(args.get("body", "")).encode()
    try:
        async with asyncio.timeout(settings.timeout):
            return await _ask(method, where, headers, body, settings)
    except TimeoutError:
        raise ToolFailed(f"no whole answer within {settings.timeout:g} s") from None
    except (httpcore.NetworkError, httpcore.TimeoutException, ssl.SSLError, OSError) as err:
        raise ToolFailed(f"{where.host} could not be reached: {_short(err)}") from None
    except (httpcore.ProtocolError, httpcore.UnsupportedProtocol) as err:
        raise ToolFailed(f"{where.host} does not answer as HTTP wants: {_short(err)}") from None


async def _ask(
    method: str, where: Target, headers: list[tuple[str, str]], body: bytes, settings: Settings
) -> str:
    """One request and its answer, within the caller's time."""
    addresses = judge(await _resolve(where), where.host, settings)
    sent = [("Host", where.authority), ("Accept-Encoding", ENCODINGS), ("Connection", "close")]
    if body or method not in ("GET", "HEAD"):
        sent.append(("Content-Length", str(len(body))))
    url = httpcore.URL(
        scheme=where.scheme.encode(),
        host=where.host.encode(),
        port=where.port,
        target=where.path.encode(),
    )
    pool = httpcore.AsyncConnectionPool(
        ssl_context=ssl.create_default_context() if where.scheme == "https" else None,
        max_connections=1,
        retries=0,
        network_backend=_Pinned(addresses),
    )
    async with (
        pool,
        pool.stream(method, url, headers=[*sent, *headers], content=body or None) as answer,
    ):
        names = _named(answer.headers)
        got = Body(names.get("content-encoding", ""), settings.max_size)
        if method != "HEAD":
            async for piece in answer.aiter_stream():
                if not got.add(piece):
                    break
            else:
                got.end()
        return _told(answer.status, names, got, settings)


class _Pinned(httpcore.AnyIOBackend):
    """A network that connects to the judged addresses, whatever name is asked for."""

    def __init__(self, addresses: list[str]) -> None:
        """`addresses` are tried in order."""
        super().__init__()
        self._addresses = addresses

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address that answers."""
        fault: Exception | None = None
        for address in self._addresses:
            try:
                return await super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout, OSError) as err:
                fault = err
        raise fault or httpcore.ConnectError("no address")


async def _resolve(where: Target) -> list[str]:
    """Every address of a host; raises `ToolFailed`."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as err:
        raise ToolFailed(f"the host `{where.host}` is not known: {_short(err)}") from None
    return [str(address[0]) for *_, address in found]


def _headers(given: dict[str, Any], settings: Settings) -> list[tuple[str, str]]:
    """The headers the model asks for; raises `ToolFailed` for one that is not allowed."""
    out: list[tuple[str, str]] = []
    for name, value in given.items():
        low = name.lower()
        if low not in settings.headers or low in _NEVER:
            known = ", ".join(h for h in settings.headers if h not in _NEVER) or "none"
            raise ToolFailed(f"the header `{name}` is not allowed, only {known}")
        if not _VALUE.fullmatch(value):
            raise ToolFailed(f"the value of the header `{name}` holds a character it cannot hold")
        out.append((name, value))
    return out


def _named(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """The answer's headers by name in lower case; of repeated ones the first."""
    out: dict[str, str] = {}
    for name, value in headers:
        out.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return out


def _told(status: int, names: dict[str, str], body: Body, settings: Settings) -> str:
    """An answer as the model reads it."""
    lines = [f"HTTP {status}"]
    lines += [f"{name}: {names[name][:500]}" for name in SHOWN if name in names]
    if 300 <= status < 400 and "location" in names:
        lines.append("(a redirect: it was not followed; ask for the location if it may be asked)")
    kind = names.get("content-type", "")
    text = text_of(body.data, kind)
    if text is None:
        lines.append(f"(a body of {len(body.data)} bytes that is no text)")
        text = ""
    if body.cut:
        lines.append(f"(only the first {settings.max_size} bytes of the body were read)")
    return "\n".join(lines) + (f"\n\n{text}" if text else "")


def _short(err: BaseException) -> str:
    """An error in a few words."""
    return (str(err) or type(err).__name__)[:200]

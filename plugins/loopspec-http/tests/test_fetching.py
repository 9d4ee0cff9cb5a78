"""The tools against real servers on loopback."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loopspec.hooks import Tool, ToolContext, ToolFailed
from servers import Answer, Server, serving, whole

import loopspec_http
from loopspec_http import fetching

LOOPBACK: dict[str, Any] = {"hosts": ["127.0.0.1"], "schemes": ["http"], "private": True}


def ask(
    answer: Answer,
    args: Callable[[Server], dict[str, Any]] | None = None,
    tool: Tool = loopspec_http.FETCH,
    **config: Any,
) -> tuple[str, Server]:
    """What a tool tells of a server's answer, and what the server was asked."""

    async def go() -> tuple[str, Server]:
        async with serving(answer) as server:
            context = ToolContext(Path("."), lambda _: None, LOOPBACK | {"ports": [server.port]} | config)
            made = args(server) if args else {"url": server.base + "/"}
            return await tool.run(context, made), server

    return asyncio.run(go())


def refused(answer: Answer, args: Callable[[Server], dict[str, Any]] | None = None, **more: Any) -> str:
    """Why a request came to nothing."""
    with pytest.raises(ToolFailed) as raised:
        ask(answer, args, **more)
    return str(raised.value)


def test_an_answer_is_told_with_its_status_headers_and_text() -> None:
    told, server = ask(
        whole(body="Grüße".encode("latin-1"), Content_Type="text/plain; charset=iso-8859-1", Secret="x")
    )
    assert told == (
        "HTTP 200\ncontent-type: text/plain; charset=iso-8859-1\ncontent-length: 5\n\nGrüße"
    )
    (head,) = server.asked
    assert head.decode().split("\r\n") == [
        "GET / HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "Accept-Encoding: gzip, deflate",
        "Connection: close",
        "",
        "",
    ]


def test_an_error_of_the_server_is_an_answer_too() -> None:
    told, _ = ask(whole("404 Not Found", b"no such page", Content_Type="text/plain"))
    assert told.startswith("HTTP 404\n")
    assert told.endswith("no such page")


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_told_and_not_followed(status: str) -> None:
    told, server = ask(whole(status, b"", Location="http://169.254.169.254/latest"))
    assert len(server.asked) == 1
    assert "location: http://169.254.169.254/latest" in told
    assert "it was not followed" in told


def test_head_reads_no_body() -> None:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")
        await writer.drain()

    told, _ = ask(answer, lambda s: {"url": s.base, "method": "HEAD"})
    assert told == "HTTP 200\ncontent-length: 999"


def test_a_body_stops_at_the_limit_though_the_server_would_go_on_for_ever() -> None:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    told, _ = ask(answer, max_size=25_000)
    assert told.endswith("(only the first 25000 bytes of the body were read)\n\n" + "x" * 25_000)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, lambda d: zlib.compress(d)[2:-4]])
def test_what_unpacks_to_very_much_stops_at_the_limit(pack: Callable[[bytes], bytes]) -> None:
    packed = pack(b"0" * 20_000_000)
    encoding = "gzip" if pack is gzip.compress else "deflate"
    answer = whole(body=packed, Content_Encoding=encoding, Content_Type="text/plain")
    told, _ = ask(answer, max_size=1_000)
    assert len(packed) < 100_000
    assert told.endswith("\n\n" + "0" * 1_000)


def test_an_encoding_nobody_asked_for_is_refused() -> None:
    assert "encoded as `br`" in refused(whole(Content_Encoding="br"))
    assert "cannot be decompressed" in refused(whole(body=b"not gzip", Content_Encoding="gzip"))


def test_a_server_that_does_not_answer_in_time_is_left() -> None:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        await writer.drain()
        await asyncio.Event().wait()

    assert refused(answer, timeout=200_000) == "no whole answer within 0.2 s"


def test_what_is_no_http_is_said_to_be_none() -> None:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        await writer.drain()

    assert "does not answer as HTTP wants" in refused(answer)


def test_what_is_no_text_is_counted_and_not_shown() -> None:
    told, _ = ask(whole(body=b"\x89PNG\0\0", Content_Type="image/png"))
    assert told.endswith("(a body of 6 bytes that is no text)")


@pytest.mark.parametrize("name", ["Authorization", "Host", "Cookie", "Content-Length", "X-Other"])
def test_a_header_that_is_not_allowed_is_refused(name: str) -> None:
    why = refused(whole(), lambda s: {"url": s.base, "headers": {name: "x"}}, headers=["Accept", "Host"])
    assert why == f"the header `{name}` is not allowed, only accept"


def test_a_header_that_is_allowed_is_sent_and_cannot_smuggle_another() -> None:
    _, server = ask(whole(), lambda s: {"url": s.base, "headers": {"Accept": "text/plain"}})
    assert b"\r\nAccept: text/plain\r\n" in server.asked[0]
    why = refused(whole(), lambda s: {"url": s.base, "headers": {"Accept": "x\r\nCookie: y"}})
    assert "a character it cannot hold" in why


def test_loopback_is_refused_unless_the_spec_allows_private_addresses() -> None:
    def counted() -> tuple[str, int]:
        async def go() -> tuple[str, int]:
            async with serving(whole()) as server:
                config = {"hosts": ["*"], "schemes": ["http"], "ports": [server.port]}
                context = ToolContext(Path("."), lambda _: None, config)
                try:
                    await loopspec_http.FETCH.run(context, {"url": f"http://localhost:{server.port}/"})
                except ToolFailed as err:
                    return str(err), len(server.asked)
                raise AssertionError("it was let through")

        return asyncio.run(go())

    why, asked = counted()
    assert "such addresses are not asked" in why
    assert asked == 0


def test_the_connection_goes_to_the_judged_address_whatever_the_name_says_then() -> None:
    async def go() -> tuple[str, bytes]:
        async with serving(whole()) as server:
            found = [["127.0.0.1"], ["10.255.255.1"]]  # a second look would lead elsewhere

            async def resolve(_: Any) -> list[str]:
                return found.pop(0)

            original = fetching._resolve
            fetching._resolve = resolve  # type: ignore[assignment]
            try:
                config = LOOPBACK | {"hosts": ["moving.example"], "ports": [server.port]}
                context = ToolContext(Path("."), lambda _: None, config)
                url = f"http://moving.example:{server.port}/"
                told = await loopspec_http.FETCH.run(context, {"url": url})
            finally:
                fetching._resolve = original
            assert len(found) == 1
            return told, server.asked[0]

    told, head = asyncio.run(go())
    assert told.startswith("HTTP 200")
    assert b"Host: moving.example:" in head


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    told, _ = ask(whole())
    assert told.startswith("HTTP 200")


def test_sending_needs_a_method_the_spec_allows_and_sends_the_body() -> None:
    def args(server: Server) -> dict[str, Any]:
        return {"url": server.base + "/x", "method": "POST", "body": json.dumps({"a": "ö"})}

    told, server = ask(whole("201 Created", b""), args, loopspec_http.SEND)
    assert told.startswith("HTTP 201")
    assert server.asked[0].startswith(b"POST /x HTTP/1.1\r\n")
    assert server.asked[0].endswith(b'{"a": "\\u00f6"}')
    why = refused(whole(), lambda s: {"url": s.base, "method": "DELETE"}, tool=loopspec_http.SEND)
    assert why == "the method DELETE is not allowed, only GET, HEAD, POST"


def test_a_cancelled_request_closes_its_connection() -> None:
    async def go() -> bool:
        begun, gone = asyncio.Event(), asyncio.Event()

        async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
            begun.set()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            try:
                while not writer.transport.is_closing():  # writing to a closed connection fails
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0)
            finally:
                gone.set()

        async with serving(answer) as server:
            config = LOOPBACK | {"ports": [server.port], "max_size": 10**9}
            context = ToolContext(Path("."), lambda _: None, config)
            task = asyncio.create_task(loopspec_http.FETCH.run(context, {"url": server.base}))
            await asyncio.wait_for(begun.wait(), 30)
            task.cancel()
            await asyncio.wait({task}, timeout=30)
            await asyncio.wait_for(gone.wait(), 30)
            return task.cancelled()

    assert asyncio.run(go())

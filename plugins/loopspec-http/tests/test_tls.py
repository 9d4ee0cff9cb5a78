"""TLS is verified against the host's name; a certificate that nobody vouches for is not enough."""

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest
from loopspec.hooks import ToolContext, ToolFailed

import loopspec_http


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        subprocess.run(
            [*command, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("there is no openssl to make a certificate with")
    told = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    told.load_cert_chain(certificate, key)
    asked: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(100))
        writer.close()

    async def go() -> str:
        server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=told)
        port = server.sockets[0].getsockname()[1]
        config = {"hosts": ["127.0.0.1"], "ports": [port], "private": True}
        try:
            with pytest.raises(ToolFailed) as raised:
                context = ToolContext(Path("."), lambda _: None, config)
                await loopspec_http.FETCH.run(context, {"url": f"https://127.0.0.1:{port}/"})
            return str(raised.value)
        finally:
            server.close()

    assert "certificate" in asyncio.run(go()).lower()
    assert b"".join(asked) == b""

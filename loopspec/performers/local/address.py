"""Address: where a local model's server is, and the key it may want.

Rules of this file:
1. The base is the spec's (`params.api_base`), else `LOOPSPEC_LOCAL_BASE`, else Ollama's.
2. A key stands in the environment, under a name; it is never part of a spec or of an address.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from loopspec.errors import BadSpec, NoKey

BASE_VARIABLE: Final = "LOOPSPEC_LOCAL_BASE"
KEY_VARIABLE: Final = "LOOPSPEC_LOCAL_KEY"
DEFAULT_BASE: Final = "http://127.0.0.1:11434/v1"
"""Where Ollama listens; llama.cpp takes port 8080, vLLM 8000, LM Studio 1234."""
BASE_PARAM: Final = "api_base"
KEY_PARAM: Final = "api_key_env"
OURS: Final = frozenset({BASE_PARAM, KEY_PARAM})
"""Parameters that say where to ask; they are not sent."""
_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Address:
    """A server's address. `prefix` is the path before that of an API (`/v1`), without a last slash."""

    host: str
    port: int
    tls: bool = False
    prefix: str = ""

    @property
    def root(self) -> "Address":
        """The same server without the `/v1` of the OpenAI protocol: where its own API begins."""
        return Address(self.host, self.port, self.tls, self.prefix.removesuffix("/v1"))

    @property
    def authority(self) -> str:
        """The value of the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"

    def __str__(self) -> str:
        """As a URL."""
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.prefix}"


def base_of(params: Mapping[str, Any]) -> str:
    """The base that counts, as it was written (rule 1)."""
    given = params.get(BASE_PARAM) or os.environ.get(BASE_VARIABLE) or DEFAULT_BASE
    return str(given).strip()


def address_of(params: Mapping[str, Any]) -> Address:
    """The address of the server; raises `BadSpec` for one that is none."""
    given = base_of(params)
    try:
        parts = urlsplit(given)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        raise _no_address(given) from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.query or parts.fragment:
        raise _no_address(given)
    if parts.username or parts.password:
        raise BadSpec(
            "the address of a local model holds a name or a password",
            remedy=f"put the key into the environment, and its name into `params: {{{KEY_PARAM}: NAME}}`",
        )
    prefix = parts.path.rstrip("/")
    if not prefix.isascii() or any(c <= " " for c in prefix + parts.hostname):
        raise _no_address(given)
    return Address(parts.hostname, port, parts.scheme == "https", prefix)


def headers_of(params: Mapping[str, Any]) -> dict[str, str]:
    """The headers that carry the key, if there is one; raises `NoKey` for one that is named, not set."""
    named = params.get(KEY_PARAM)
    variable = str(named) if named else KEY_VARIABLE
    key = os.environ.get(variable, "")
    if named and not key:
        raise NoKey(
            f"the local model needs a key: {variable} is not set",
            remedy=f"set it, or remove `{KEY_PARAM}` from the model's `params`",
        )
    if not key.isascii() or not key.isprintable():
        raise NoKey(f"the key in {variable} holds characters that no header can carry")
    return {"authorization": f"Bearer {key}"} if key else {}


def _no_address(given: str) -> BadSpec:
    """The fault of a base that is no address."""
    return BadSpec(
        f"`{given[:200]}` is no address of a model server",
        remedy=f"write it as {DEFAULT_BASE}, in `params.{BASE_PARAM}` or in {BASE_VARIABLE}",
    )

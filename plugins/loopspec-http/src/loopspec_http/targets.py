"""Targets: which URL may be asked, and which address its host may resolve to.

Rules of this file:
1. What is not plainly allowed is refused; a refusal says what is wrong in a sentence for the model.
2. A host that is a number in any of its odd forms (`127.1`, `0x7f.1`, `2130706433`) is refused: an
   address is written plainly or not at all.
3. Addresses are judged after resolution, every one of them, and the connection goes to one that was
   judged: a name cannot point elsewhere a moment later.
"""

import ipaddress
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import urlsplit

from loopspec.hooks import ToolFailed

from loopspec_http.settings import Settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_NUMBER: Final = re.compile(r"0x[0-9a-f]*|[0-9]+")
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_SHARED: Final = ipaddress.ip_network("100.64.0.0/10")
_CLOUD: Final = ipaddress.ip_address("168.63.129.16")
"""Where Azure's virtual machines reach their host; it looks like any public address."""
_UNROUTED: Final = tuple(map(ipaddress.ip_network, ("fec0::/10", "3fff::/20", "192.0.0.0/24")))
"""Networks nobody routes that `ipaddress` of some Python calls global: site-local, documentation,
protocol assignments."""
_BRACKETED: Final = re.compile(r"\[[^\[\]]*\](:[0-9]*)?")


@dataclass(frozen=True)
class Target:
    """A URL that may be asked: `host` is a name or a plain address, `path` carries the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def target(url: str, settings: Settings) -> Target:
    """The target of a URL; raises `ToolFailed` when it may not be asked."""
    if not _VISIBLE.fullmatch(url) or "\\" in url:
        raise ToolFailed("the URL holds a space or a character that must be written as %XX")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as err:
        raise ToolFailed(f"the URL cannot be read: {err}") from None
    scheme = parts.scheme.lower()
    if scheme not in settings.schemes:
        raise ToolFailed(f"the scheme `{scheme}` is not allowed, only {', '.join(settings.schemes)}")
    if "@" in parts.netloc:
        raise ToolFailed("a URL must not carry a user or a password")
    brackets = "[" in parts.netloc or "]" in parts.netloc
    if brackets and not (_BRACKETED.fullmatch(parts.netloc) and ":" in (parts.hostname or "")):
        raise ToolFailed("what stands in brackets is no IPv6 address")
    host = plain_host(parts.hostname or "")
    if not any(allows(pattern, host) for pattern in settings.hosts):
        raise ToolFailed(f"the host `{host}` is not allowed, only {', '.join(settings.hosts)}")
    port = DEFAULT_PORTS[scheme] if port is None else port
    if port not in settings.ports:
        known = ", ".join(map(str, settings.ports))
        raise ToolFailed(f"the port {port} is not allowed, only {known}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(scheme, host, port, path)


def plain_host(host: str) -> str:
    """A host in lower case without a final dot; raises `ToolFailed` for odd ones."""
    host = host.lower()
    host = host[:-1] if host.endswith(".") else host
    if ":" in host and "%" not in host:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            raise ToolFailed(f"`{host}` is no plain IPv6 address") from None
    labels = host.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ToolFailed(f"`{host}` is no name of a host; write other letters in punycode (xn--…)")
    if _NUMBER.fullmatch(labels[-1]):  # a name never ends in a number, so this is an address
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ToolFailed(f"`{host}` is an address in an odd form; write it plainly") from None
    return host


def allows(pattern: str, host: str) -> bool:
    """Whether an allowed host is this one. `*.example.com` is any host below, not the domain itself."""
    return pattern == host or ("*" in pattern and fnmatchcase(host, pattern.replace("[", "[[]")))


def judge(found: list[str], host: str, settings: Settings) -> list[str]:
    """The addresses a host resolved to, if all of them may be asked; raises `ToolFailed`.

    One bad address among good ones spoils all: such an answer is an attack or a mistake.
    """
    addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in dict.fromkeys(found)]
    if not addresses:
        raise ToolFailed(f"the host `{host}` has no address")
    for address in addresses:
        if not settings.private and (why := not_public(address)):
            raise ToolFailed(f"the host `{host}` is {address}, {why}: such addresses are not asked")
        if address.is_multicast or address.is_unspecified:
            raise ToolFailed(f"the host `{host}` is {address}, which is no single machine")
    return [str(address) for address in addresses]


def not_public(address: Address) -> str:
    """Why an address is not one of the public network, empty if it is.

    What an IPv6 address carries inside (mapped, NAT64, 6to4, Teredo) is judged, too.
    """
    for inner in _inside(address):
        if inner.is_loopback:
            return "this machine"
        if inner.is_link_local:
            return "a link-local address (cloud metadata among them)"
        if inner == _CLOUD:
            return "the host of a cloud's machines"
        if inner.version == 4 and inner in _SHARED:
            return "an address shared by a provider"
        if inner.is_private:
            return "an address of a private network"
        if any(inner in network for network in _UNROUTED):
            return "an address of no public machine"
        if inner.is_multicast or inner.is_reserved or inner.is_unspecified or not inner.is_global:
            return "an address of no public machine"
    return ""


def _inside(address: Address) -> list[Address]:
    """An address and the IPv4 addresses hidden in it."""
    found: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        mapped, six = address.ipv4_mapped, address.sixtofour
        if mapped is not None:
            return [mapped]
        if six is not None:
            found.append(six)
        if address.teredo is not None:
            found.extend(address.teredo)
        if address in _NAT64 or int(address) >> 32 == 0:
            found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return found

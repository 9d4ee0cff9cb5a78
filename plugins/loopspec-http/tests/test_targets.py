"""Which URLs and which addresses may be asked."""

import ipaddress

import pytest
from loopspec.hooks import ToolFailed

from loopspec_http.settings import Settings
from loopspec_http.targets import Target, allows, judge, not_public, target

ANY = Settings(hosts=("*",), schemes=("https", "http"))


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://example.com", Target("https", "example.com", 443, "/")),
        ("HTTPS://EXAMPLE.com./a?b=c#d", Target("https", "example.com", 443, "/a?b=c")),
        ("http://example.com:443/%20", Target("http", "example.com", 443, "/%20")),
        ("http://93.184.216.34/", Target("http", "93.184.216.34", 80, "/")),
        ("http://[2606:2800:220:1::1]/", Target("http", "2606:2800:220:1::1", 80, "/")),
        ("https://xn--bcher-kva.example/", Target("https", "xn--bcher-kva.example", 443, "/")),
    ],
)
def test_a_plain_url_is_taken_apart(url: str, found: Target) -> None:
    assert target(url, ANY) == found


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("ftp://example.com/", "scheme `ftp` is not allowed"),
        ("file:///etc/passwd", "scheme `file` is not allowed"),
        ("//example.com/", "scheme `` is not allowed"),
        ("https://user:pass@example.com/", "user or a password"),
        ("https://@example.com/", "user or a password"),
        ("https://example.com:22/", "port 22 is not allowed"),
        ("https://example.com:0/", "port 0 is not allowed"),
        ("https://example.com:99999/", "cannot be read"),
        ("https:///path", "is no name of a host"),
        ("https://exa mple.com/", "must be written as %XX"),
        ("https://example.com/\r\nX: y", "must be written as %XX"),
        ("https://example.com\\@evil.example/", "must be written as %XX"),
        ("https://bücher.example/", "must be written as %XX"),
        ("http://0x7f.1/", "odd form"),
        ("http://0x7f000001/", "odd form"),
        ("http://2130706433/", "odd form"),
        ("http://127.1/", "odd form"),
        ("http://0177.0.0.1/", "odd form"),
        ("http://127.0.0.1.5/", "odd form"),
        ("http://1.2.3.0x4/", "odd form"),
        ("http://[::1%25lo]/", "no name of a host"),
        ("http://[v1.x]/", "no IPv6 address"),
        ("http://[2606::1]evil.example/", "no IPv6 address"),
        ("http://[2606::1]]/", "no IPv6 address"),
        ("http://-a.example/", "is no name of a host"),
    ],
)
def test_an_odd_url_is_refused(url: str, fault: str) -> None:
    with pytest.raises(ToolFailed) as raised:
        target(url, ANY)
    assert fault in str(raised.value)


@pytest.mark.parametrize(
    ("pattern", "host", "is_allowed"),
    [
        ("example.com", "example.com", True),
        ("example.com", "a.example.com", False),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("*", "anything.example", True),
        ("[a-z].com", "b.com", False),
        ("2606::1", "2606::1", True),
    ],
)
def test_hosts_are_allowed_by_name_or_pattern(pattern: str, host: str, is_allowed: bool) -> None:
    assert allows(pattern, host) is is_allowed


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1", "127.255.0.9", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "0.0.0.0", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1"),
        *("::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "::7f00:1"),
        *("2002:7f00:1::", "2002:a00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
        *("fec0::1", "3fff::1", "192.0.0.8", "168.63.129.16", "::ffff:168.63.129.16"),
    ],
)
def test_an_address_that_is_not_public_is_known(text: str) -> None:
    assert not_public(ipaddress.ip_address(text))
    with pytest.raises(ToolFailed):
        judge(["93.184.216.34", text], "example.com", ANY)


@pytest.mark.parametrize("text", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8"])
def test_a_public_address_is_let_through(text: str) -> None:
    assert judge([text, text], "example.com", ANY) == [str(ipaddress.ip_address(text))]


def test_private_networks_are_asked_only_when_the_spec_says_so() -> None:
    mine = Settings(hosts=("*",), private=True)
    assert judge(["127.0.0.1", "10.0.0.1"], "home", mine) == ["127.0.0.1", "10.0.0.1"]
    with pytest.raises(ToolFailed, match="no single machine"):
        judge(["0.0.0.0"], "home", mine)

"""The host survey: the kernel's tables, the two variables, free memory."""

import asyncio
import socket
from pathlib import Path

import pytest

from loopspec.effects import CallModel, SurveyHost
from loopspec.events import EffectFailed, HostSurveyed
from loopspec.performers.host_survey import HostPerformer, Network, free_memory, look, routed

HEAD4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
LAN = "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
DEFAULT4 = "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
DOWN4 = "eth0\t00000000\t0100A8C0\t0002\t0\t0\t0\t00000000\t0\t0\t0\n"
LOOP4 = "lo\t00000000\t00000000\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
ZERO = "0" * 32
DEFAULT6 = f"{ZERO} 00 {ZERO} 00 {'f' * 32} 00000400 00000001 00000000 00000003 eth0\n"
REFUSE6 = f"{ZERO} 00 {ZERO} 00 {ZERO} ffffffff 00000001 00000000 00200200 lo\n"
REJECT6 = f"{ZERO} 00 {ZERO} 00 {ZERO} ffffffff 00000001 00000000 00000201 eth0\n"


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOPSPEC_OFFLINE", "LOOPSPEC_PROBE"):
        monkeypatch.delenv(name, raising=False)


def tables(root: Path, four: str | None, six: str | None) -> Path:
    (root / "net").mkdir()
    for name, text in (("route", four), ("ipv6_route", six)):
        if text is not None:
            (root / "net" / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("four", "six", "up"),
    [
        (HEAD4 + LAN + DEFAULT4, None, True),
        (HEAD4, DEFAULT6, True),
        (None, REFUSE6 + DEFAULT6, True),
        (HEAD4 + LAN, REFUSE6, False),
        (HEAD4 + DOWN4, REJECT6, False),
        (HEAD4 + LOOP4, "", False),
        (HEAD4 + "odd\n", "odd\n", False),
        ("", "", False),
    ],
)
def test_a_default_route_that_is_up_is_a_network(
    tmp_path: Path, four: str | None, six: str | None, up: bool
) -> None:
    why = "a default route" if up else "no default route"
    assert routed(tables(tmp_path, four, six)) == Network(up, why)


def test_without_tables_a_network_is_assumed_and_that_is_said(tmp_path: Path) -> None:
    made = routed(tmp_path)
    assert made.up and made.why.startswith("assumed")


@pytest.mark.parametrize("value", ["1", "true", "YES"])
def test_offline_can_be_said_whatever_else_is(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LOOPSPEC_OFFLINE", value)
    monkeypatch.setenv("LOOPSPEC_PROBE", "127.0.0.1:1")
    assert asyncio.run(look()) == Network(False, "LOOPSPEC_OFFLINE is set")


def test_a_probe_is_a_network_as_long_as_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("LOOPSPEC_PROBE", address)
        assert asyncio.run(look()) == Network(True, f"{address} answers")
    assert asyncio.run(look()) == Network(False, f"{address} does not answer")


@pytest.mark.parametrize("probe", ["nowhere", ":80", "host:", "host:x", "127.0.0.1:99999999"])
def test_a_probe_that_cannot_be_is_no_network(monkeypatch: pytest.MonkeyPatch, probe: str) -> None:
    monkeypatch.setenv("LOOPSPEC_PROBE", probe)
    assert asyncio.run(look()).up is False


def memory(root: Path, available: str = "", limit: str = "", used: str = "") -> Path:
    (root / "proc").mkdir()
    (root / "sys/fs/cgroup").mkdir(parents=True)
    files = {"proc/meminfo": available, "sys/fs/cgroup/memory.max": limit}
    for name, text in {**files, "sys/fs/cgroup/memory.current": used}.items():
        if text:
            (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("available", "limit", "used", "free"),
    [
        ("MemTotal: 9 kB\nMemAvailable:   2048 kB\n", "", "", 2048 * 1024),
        ("MemAvailable: 2048 kB\n", "1000000\n", "400000\n", 600_000),
        ("MemAvailable: 100 kB\n", "1000000\n", "400000\n", 102_400),
        ("MemAvailable: 2 kB\n", "max\n", "400000\n", 2048),
        ("", "1000\n", "4000\n", 0),
        ("MemFree: 2 kB\n", "", "", -1),
        ("MemAvailable: much\n", "", "", -1),
    ],
)
def test_free_memory_is_what_the_kernel_and_the_group_leave(
    tmp_path: Path, available: str, limit: str, used: str, free: int
) -> None:
    assert free_memory(memory(tmp_path, available, limit, used)) == free


def test_the_performer_answers_with_a_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPSPEC_OFFLINE", "1")
    world: object = None
    made = asyncio.run(HostPerformer().perform(SurveyHost("e", "s", "main"), world))  # type: ignore[arg-type]
    assert isinstance(made, HostSurveyed)
    assert (made.effect, made.network, made.why) == ("e", False, "LOOPSPEC_OFFLINE is set")
    other = asyncio.run(HostPerformer().perform(CallModel("e", "s", "main", "x"), world))  # type: ignore[arg-type]
    assert isinstance(other, EffectFailed)

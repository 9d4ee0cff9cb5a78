"""The gate performer: resolved targets, and denial whenever anything goes wrong."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from loopspec.effects import DecideCalls, TakeBoundary
from loopspec.errors import NotFound
from loopspec.events import Decision, EffectCancelled, EffectFailed, GateDecided
from loopspec.machine.model import Authority, Machine, Place, Rule, ToolDecl
from loopspec.performers.gate import GatePerformer
from loopspec.snapshot import Call, Grant, Snapshot


def rule(
    *tools: str, line: int, paths: tuple[str, ...] = (), commands: tuple[str, ...] = ()
) -> Rule:
    return Rule(tools=tools, paths=paths, commands=commands, place=Place(line=line, col=3))


MACHINE = Machine(
    name="m",
    version="1.0.0",
    initial="a",
    states={},
    transitions=(),
    tools={
        "edit": ToolDecl(name="edit", use="files.edit", paths=("path",)),
        "move": ToolDecl(name="move", use="files.move", paths=("from", "to")),
        "list": ToolDecl(name="list", use="files.list", paths=("path",)),
        "shell": ToolDecl(name="shell", use="shell.run", command="command"),
    },
    authority=Authority(
        allow=(
            rule("edit", "move", paths=("src/**",), line=1),
            rule("list", line=2),
            rule("shell", commands=("ls*",), line=3),
        ),
        ask=(rule("shell", commands=("git *",), line=4),),
        deny=(rule("*", paths=(".git/**",), line=5),),
    ),
)


@dataclass
class Desk:
    """As much of a world as the gate looks at: calls by id, each a tool and its arguments."""

    workdir: Path
    given: dict[str, tuple[str, str]]
    grants: dict[str, Grant] = field(default_factory=dict)
    at: int = 50
    machine: Machine = MACHINE

    @property
    def snapshot(self) -> Snapshot:
        calls = {
            call: Call(id=call, tool=tool, args_hash="h", seq=1, index=0)
            for call, (tool, _) in self.given.items()
        }
        return Snapshot(session="s", machine="m", at=self.at, calls=calls, grants=self.grants)

    def args(self, call: Call) -> str:
        args = self.given[call.id][1]
        if args == "damaged":
            raise NotFound("entry 1 is gone")
        return args


def effect(*calls: str) -> DecideCalls:
    return DecideCalls(id="s:2:0", state="deciding", calls=calls)


def gate(desk: Desk, *calls: str, performer: GatePerformer | None = None) -> list[Decision]:
    wanted = calls or tuple(desk.given)
    answer = asyncio.run((performer or GatePerformer()).perform(effect(*wanted), desk))
    assert isinstance(answer, GateDecided)
    assert answer.effect == "s:2:0"
    assert [d.call for d in answer.decisions] == list(wanted)
    return answer.decisions


def one(tmp_path: Path, tool: str, args: str) -> tuple[str, str]:
    [found] = gate(Desk(tmp_path, {"c": (tool, args)}))
    return found.answer, found.rule


@pytest.mark.parametrize(
    ("tool", "args", "answer", "by"),
    [
        ("edit", '{"path":"src/a.py"}', "allow", "allow at 1:3 (edit, move)"),
        ("edit", '{"path":"src/../src/a.py"}', "allow", "allow at 1:3 (edit, move)"),
        ("edit", '{"path":"a.py"}', "deny", "default"),
        ("edit", '{"path":"src/../.git/config"}', "deny", "deny at 5:3 (*)"),
        ("edit", '{"path":"src/link/config"}', "deny", "deny at 5:3 (*)"),
        ("edit", '{"path":"src/out/x"}', "deny", "confinement"),
        ("edit", '{"path":"../x"}', "deny", "confinement"),
        ("edit", '{"path":"/etc/passwd"}', "deny", "confinement"),
        ("edit", '{"path":["src/a","src/b"]}', "allow", "allow at 1:3 (edit, move)"),
        ("edit", '{"path":["src/a",".git"]}', "deny", "deny at 5:3 (*)"),
        ("edit", '{"path":["src/a",1]}', "deny", "gate-failed"),
        ("edit", '{"path":7}', "deny", "gate-failed"),
        ("edit", "{}", "deny", "default"),
        ("list", "{}", "allow", "allow at 2:3 (list)"),
        ("list", '{"path":null}', "allow", "allow at 2:3 (list)"),
        ("move", '{"from":"src/a","to":"src/b"}', "allow", "allow at 1:3 (edit, move)"),
        ("move", '{"from":"src/a","to":"b"}', "deny", "default"),
        ("move", '{"from":"src/a","to":"../b"}', "deny", "confinement"),
        ("shell", '{"command":"ls -l"}', "allow", "allow at 3:3 (shell)"),
        ("shell", '{"command":"ls; id"}', "deny", "default"),
        ("shell", '{"command":"git push"}', "ask", "ask at 4:3 (shell)"),
        ("shell", '{"command":["ls"]}', "deny", "gate-failed"),
        ("shell", "{}", "deny", "default"),
        ("shell", "[]", "deny", "gate-failed"),
        ("shell", "{", "deny", "gate-failed"),
        ("nothing", "{}", "deny", "undeclared-tool"),
    ],
)
def test_a_call(tmp_path: Path, tool: str, args: str, answer: str, by: str) -> None:
    workdir = tmp_path / "work"
    (workdir / "src").mkdir(parents=True)
    (workdir / ".git").mkdir()
    (workdir / "src" / "link").symlink_to(workdir / ".git")
    (workdir / "src" / "out").symlink_to(tmp_path)
    assert one(workdir, tool, args) == (answer, by)


def test_a_call_that_fails_does_not_touch_the_others(tmp_path: Path) -> None:
    desk = Desk(
        tmp_path,
        {
            "c1": ("edit", '{"path":"src/a"}'),
            "c2": ("edit", "damaged"),
            "c3": ("edit", "not JSON"),
            "c5": ("list", "{}"),
        },
    )
    found = gate(desk, "c1", "c2", "c3", "c4", "c5")
    assert [d.answer for d in found] == ["allow", "deny", "deny", "deny", "allow"]
    assert found[1] == Decision(
        call="c2", answer="deny", rule="gate-failed", reason="NotFound: entry 1 is gone"
    )
    assert found[2].reason.startswith("JSONDecodeError: ")
    assert found[3] == Decision(
        call="c4", answer="deny", rule="gate-failed", reason="there is no call `c4`"
    )


def test_a_disk_that_fails_denies(tmp_path: Path) -> None:
    def broken(workdir: Path, given: str) -> str:
        raise OSError("input/output error")

    desk = Desk(tmp_path, {"c1": ("edit", '{"path":"src/a"}'), "c2": ("shell", '{"command":"ls"}')})
    assert gate(desk, performer=GatePerformer(resolve=broken)) == [
        Decision(
            call="c1", answer="deny", rule="gate-failed", reason="OSError: input/output error"
        ),
        Decision(call="c2", answer="allow", rule="allow at 3:3 (shell)"),
    ]


def test_grants_are_judged_at_the_time_of_the_last_entry(tmp_path: Path) -> None:
    desk = Desk(
        tmp_path,
        {"c": ("shell", '{"command":"git push"}')},
        {"g1": Grant(id="g1", scope="tool", tool="shell", expires=60)},
    )
    assert [d.rule for d in gate(desk)] == ["grant g1 over ask at 4:3 (shell)"]
    desk.at = 60
    assert [d.rule for d in gate(desk)] == ["ask at 4:3 (shell)"]


def hanging(release: threading.Event, begun: Callable[[], None]) -> Callable[[Path, str], str]:
    """A disk that does not answer until `release` is set."""

    def resolve(workdir: Path, given: str) -> str:
        begun()
        release.wait(30)
        return "src/a"

    return resolve


def test_a_gate_that_takes_too_long_denies_every_call(tmp_path: Path) -> None:
    release = threading.Event()
    performer = GatePerformer(deadline=0.05, resolve=hanging(release, lambda: None))
    desk = Desk(tmp_path, {"c1": ("shell", '{"command":"ls"}'), "c2": ("edit", '{"path":"src/a"}')})

    async def run() -> object:
        try:
            return await performer.perform(effect("c1", "c2"), desk)
        finally:
            release.set()

    assert asyncio.run(run()) == GateDecided(
        effect="s:2:0",
        decisions=[
            Decision(call=c, answer="deny", rule="gate-failed", reason="the gate took too long")
            for c in ("c1", "c2")
        ],
    )


def test_a_cancelled_gate_says_so(tmp_path: Path) -> None:
    async def run() -> object:
        release, begun = threading.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        disk = hanging(release, lambda: loop.call_soon_threadsafe(begun.set))
        desk = Desk(tmp_path, {"c": ("edit", '{"path":"src/a"}')})
        task = asyncio.create_task(GatePerformer(resolve=disk).perform(effect("c"), desk))
        try:
            await begun.wait()
            task.cancel()
            return await task
        finally:
            release.set()

    assert asyncio.run(run()) == EffectCancelled(effect="s:2:0")


def test_another_effect_is_refused(tmp_path: Path) -> None:
    other = TakeBoundary(id="s:2:0", state="x", boundary="b1")
    assert asyncio.run(GatePerformer().perform(other, Desk(tmp_path, {}))) == EffectFailed(
        effect="s:2:0", reason="the gate only decides calls"
    )

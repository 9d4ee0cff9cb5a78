"""The other doors, used by an installed plugin in real runs: stores, observers, models."""

import json
from pathlib import Path

import pytest
from cli.kit import Place, small

from plugins.faked import installed

PLUGIN = '''
    from pathlib import Path
    from loopspec.errors import LoopspecError
    from loopspec.events import TokenUsage
    from loopspec.hooks import ModelFacts, Piece, ProviderFailed, hook
    from loopspec.stores.sqlite import SqliteStore

    def open_store(where, *, readonly):
        return SqliteStore(Path(where.removeprefix("//")), readonly=readonly)

    class Writes:
        def begin(self, run):
            self.file = Path("seen.txt").open("a")
            print("begin", run.session, run.snapshot.seq, file=self.file)
        def kept(self, entry):
            print("kept", entry.seq, type(entry.event).__name__, file=self.file)
        def live(self, event):
            pass
        def end(self, reason):
            print("end", reason, file=self.file)
            self.file.close()

    class Echo:
        failed = False
        def facts(self, name):
            if name not in ("loud", "locked"):
                raise LoopspecError(f"echo knows no model `{name}`")
            return ModelFacts(window=9000, priced=True, key="ECHO_KEY" if name == "locked" else "")
        async def stream(self, ask):
            if not Echo.failed:
                Echo.failed = True
                raise ProviderFailed(429, "slow down")
            said = ask.messages[-1]["content"]
            names = [tool["function"]["name"] for tool in ask.tools]
            yield Piece(thinking="hm")
            yield Piece(text=f"{said.upper()} {ask.params} {names}")
            yield Piece(usage=TokenUsage(7, 3, cost=5))
            yield Piece(finish="stop")

    @hook
    def loopspec_stores():
        return {"mine": open_store}

    @hook
    def loopspec_observers():
        return {"writes": Writes}

    @hook
    def loopspec_models():
        return {"echo": Echo}
'''


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    installed(tmp_path / "site", "doors", PLUGIN)
    return made


def test_a_plugins_model_store_and_observer_serve_a_run(place: Place) -> None:
    spec = small(place, {"reply": "unused"})
    text = spec.read_text()
    start = text.index("{use: scripted/")
    spec.write_text(
        text[:start] + "{use: echo/loud, params: {temperature: 0}, " + text[text.index("retry:", start) :]
    )
    store = f"mine://{place.path}/elsewhere"
    ran = place.run(
        *("run", spec, "-p", "hello", "--store", store, "--session", "s", "--observe", "writes"),
        *("--output-format", "json"),
        PYTHONPATH=str(place.path / "site"),
    )
    assert ran.code == 0, ran.err
    (result,) = ran.lines
    names = "['read', 'edit', 'write', 'shell', 'ask']"
    assert result["answer"] == f"HELLO {{'temperature': 0}} {names}"
    assert (place.path / "elsewhere").is_dir()
    seen = (place.work / "seen.txt").read_text().splitlines()
    assert seen[0] == "begin s -1"
    assert seen[-1] == "end input"
    assert [line.split()[2] for line in seen[1:-1]] == [
        *("SessionStarted", "UserMessage", "AttemptFailed", "TimerFired", "ModelReplied")
    ]
    listed = place.run("sessions", "--store", store, PYTHONPATH=str(place.path / "site"))
    assert "s" in listed.out.split()


@pytest.mark.parametrize(
    ("use", "code", "fault"),
    [
        ("echo/quiet", 1, "echo knows no model `quiet`"),
        ("echo/locked", 41, "needs a key: ECHO_KEY is not set"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_before_the_session(
    place: Place, use: str, code: int, fault: str
) -> None:
    spec = small(place, {"reply": "unused"})
    ran = place.run(
        "run", spec, "-p", "x", "--model", f"main={use}", PYTHONPATH=str(place.path / "site")
    )
    assert ran.code == code
    assert fault in ran.err
    assert not place.store.exists()


def test_an_unknown_scheme_names_those_there_are(place: Place) -> None:
    ran = place.run("sessions", "--store", "nope:here", PYTHONPATH=str(place.path / "site"))
    assert (ran.code, ran.err) == (
        2,
        "loopspec: --store nope:here: no plugin brings a store of the scheme `nope`. "
        "schemes are sqlite, memory, mine; a directory of that name is ./nope:here\n",
    )


def test_tools_are_told_for_programs_too(place: Place) -> None:
    ran = place.run("tools", "shell.run", "--format", "json")
    facts = json.loads(ran.out)
    assert (facts["plugin"], facts["effect"], facts["command"]) == ("builtin", "write", "command")
    assert facts["parameters"]["required"] == ["command"]

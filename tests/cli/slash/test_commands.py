"""The `/` commands on real sessions: what each says, and what it asks for."""

import asyncio
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drivers.moving_kit import Written

from cli.kit import LOOP, Place
from cli.slash.sessions import DONE, EDIT, READ, RUN, TURNS, begun, desk, go_on, loaded, opened, place
from loopspec.cli.slash import standing
from loopspec.cli.slash.commands import COMMANDS, answer, complete, meant
from loopspec.cli.slash.desk import Choice, Completion, Desk, Reply
from loopspec.drivers.door import Nobody
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.session import verified
from loopspec.effects import CallModel
from loopspec.events import (
    ApprovalGiven,
    AttemptFailed,
    CompactionRequested,
    EffectStarted,
    Kept,
    Live,
    ModelChosen,
    ModelReplied,
    RollbackChosen,
    RollbackDone,
    TokenUsage,
    UserInterrupted,
    UserMessage,
)
from loopspec.journal.entry import Entry
from loopspec.machine.rest import Rest
from loopspec.record import Record
from loopspec.registry import installed
from loopspec.snapshot import Patch
from loopspec.stores.memory import MemoryStore
from loopspec.stores.sqlite import SqliteStore
from loopspec.views.words import cells, printable

READY = "{kind: input, on: {user.message: working"
BACK = LOOP.replace(READY, READY + ", rollback.chosen: rolling_back")


def text(reply: Reply) -> str:
    return "\n".join(reply.lines)


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return place(tmp_path_factory.mktemp("desk"))


@pytest.fixture(scope="module")
def store(where: Place) -> Iterator[SqliteStore]:
    """One session that read, edited and ran a command; then its person made a file."""
    made = opened(where)
    assert begun(where, made).reason == "input"
    (where.work / "mine.txt").write_text("by hand\n")
    yield made
    made.close()


def waiting(tmp_path: Path, *turns: dict[str, Any], loop: str = LOOP) -> tuple[Place, SqliteStore]:
    """A session that waits for an approval of a command."""
    spot = place(tmp_path)
    made = opened(spot)
    assert begun(spot, made, turns or (EDIT, RUN, DONE), yes=False, loop=loop).reason == "approval"
    return spot, made


# ---------------------------------------------------------------- the table


def test_a_line_is_a_command_or_a_message() -> None:
    for line in ("/help", "/", "/?", " /diff start ", "/resume abc", "/ hi"):
        assert meant(line), line
    for line in ("/tmp/x is full", "hello", "/a/b", "a /help", ""):
        assert not meant(line), line


def test_help_lists_every_command_and_tells_of_each(store: SqliteStore) -> None:
    listed = text(answer("/help", desk(store)))
    assert [name for name in COMMANDS if f"/{name}" not in listed] == []
    assert answer("/", desk(store)) == answer("/help", desk(store)) == answer("/?", desk(store))
    for command in COMMANDS.values():
        lines = answer(f"/help {command.name}", desk(store)).lines
        assert lines[0] == command.usage and lines[1] == command.does
    assert answer("/help /diff", desk(store)) == answer("/help diff", desk(store))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/stauts", "There is no command /stauts. Did you mean /status?"),
        ("/xyzzy", "There is no command /xyzzy. /help shows them all"),
        ("/help stauts", "There is no command /stauts. Did you mean /status?"),
        ("/status now", "/status takes nothing after it. Type /status"),
        ("/rewind b99", "There is no rollback point `b99`. There are: b12, b6"),
        ("/diff b99", "There is no rollback point `b99`. There are: b12, b6"),
        ("/resume nowhere", "The store: there is no session `nowhere`. see: loopspec sessions"),
        ("/resume s1", "This is session s1."),
        ("/fork twelve", "`twelve` is no entry. Write a number: /fork 12 (/explain shows them)"),
        (
            "/fork " + "1" * 5_000,
            f"`{'1' * 39}…` is no entry. Write a number: /fork 12 (/explain shows them)",
        ),
        ("/export a\0b", "No file's name can hold a NUL. Name another file"),
        ("/fork 99", "session s1 has no entry 99; its last is 16"),
        (
            "/model mian x/y",
            "No model `mian`. Did you mean `main`? Declared: main. Write: /model NAME PROVIDER/MODEL",
        ),
        ("/model main gpt", "`gpt` names no provider. Write it as PROVIDER/MODEL"),
        ("/rewind b6", "The loop takes no rollback here: `rollback.chosen` leads nowhere from `ready`"),
        ("no command", "A command is `/` and a word. /help shows them all"),
    ],
)
def test_a_wrong_line_does_nothing_and_says_why(store: SqliteStore, line: str, said: str) -> None:
    assert answer(line, desk(store, width=200)) == Reply(lines=(said,))


@pytest.mark.parametrize("width", [20, 37, 80, 200])
def test_every_command_fits_the_terminal_and_is_printable(tmp_path: Path, width: int) -> None:
    spot = place(tmp_path)
    made = opened(spot)
    (spot.work / "e\x1b[31mvil").write_text("x\n")
    evil = {"reply": "\x1b[2J\u202eevil " + "long " * 40, "calls": EDIT["calls"]}
    assert begun(spot, made, (evil, RUN, DONE)).reason == "input"
    (spot.work / "e\x1b[31mvil").write_text("\x1b[31m\u202e" + "y" * 300 + "\n")
    for name in COMMANDS:
        if name == "export":
            continue
        for line in (f"/{name}", f"/help {name}"):
            reply = answer(line, desk(made, width=width))
            shown = [*reply.lines, *(c.label for c in reply.choose)]
            assert [x for x in shown if printable(x, 10_000) != x or cells(x) > width] == [], line
    made.close()


def test_colour_is_used_only_where_it_is_wanted(store: SqliteStore) -> None:
    plain, coloured = desk(store), desk(store, color=True)
    assert "\x1b" not in text(answer("/diff", plain))
    assert "\x1b[32m+by hand" in text(answer("/diff", coloured))


# ---------------------------------------------------------------- where it stands


def test_status_says_it_in_a_few_lines(store: SqliteStore) -> None:
    said = re.sub(r"\d+ ms|\d+ s\b", "T", text(answer("/status", desk(store, width=300))))
    model = loaded(store).machine.models["main"].use
    tokens = loaded(store).snapshot.usage
    assert said.splitlines() == [
        "session  s1 (small 1.0.0), entry 16",
        "state    ready for T",
        "waits    Waits for a message",
        "turns    4, 3 calls",
        f"tokens   {tokens.tokens:,} ({tokens.input_tokens:,} in, {tokens.output_tokens:,} out)",
        "cost     $0.00",
        f"context  {tokens.context:,} tokens; the window is not known",
        f"models   main: {model}",
        f"workdir  {loaded(store).snapshot.workdir}",
        "budget   turns: 4 of 20",
        "budget   elapsed: T of 1 h",
    ]


def test_explain_is_what_the_command_line_says(store: SqliteStore, where: Place) -> None:
    def steady(said: str) -> str:
        return re.sub(r"\d+ (ms|s|min)\b( \d+ s)?|\d\d:\d\d:\d\d", "T", said)

    outside = where.run("explain", "s1").out
    assert steady(text(answer("/explain", desk(store)))).split() == steady(outside).split()


def test_context_shows_what_fills_the_window(tmp_path: Path) -> None:
    spot = place(tmp_path)
    made = opened(spot)
    loop = LOOP.replace("budgets:", "context: {window: 1000, compact_at: 0.8, pin: [task]}\nbudgets:")
    assert begun(spot, made, (READ, DONE), loop=loop).reason == "input"
    lines = answer("/context", desk(made)).lines
    held = loaded(made).snapshot.usage.context
    share = held * 100 // 1000
    told = f"window {share} %, {held:,} of 1,000 tokens; pressed above 800, compacted to 400"
    assert lines[0] == told
    assert lines[1] == "[" + standing.bar(held, 1000, 40) + "]"
    said = text(answer("/context", desk(made)))
    assert "the model's replies (2)" in said and "results of read (1)" in said
    assert re.search(r"^  pinned +\d+  1\.0 user.*: Go$", said, re.MULTILINE), "the task is pinned"
    assert re.search(r"^  +\S+ +\d+  2\.0…4\.0 calls read", said, re.MULTILINE)
    assert "\npinned: task\n" in said
    assert said.endswith("/compact makes room; `loopspec context ID --full` shows every unit.")
    made.close()


def test_a_bar_shows_something_as_something() -> None:
    assert [standing.bar(n, 10, 5) for n in (0, 1, 5, 10, 30)] == [
        ".....",
        "#....",
        "##...",
        "#####",
        "#####",
    ]
    assert standing.bar(3, 0, 4) == "#..." and standing.bar(0, 0, 4) == "...."


def test_cost_is_told_by_model_and_what_is_unpriced_apart(tmp_path: Path) -> None:
    def entry(event: Kept, *effects: CallModel) -> Entry:
        return Entry(1, 1, "s", 0, 0, 0, "x", event, "moved", Record(), effects, Patch(), "", (), "")

    def asked(key: str, use: str) -> CallModel:
        return CallModel(key, "streaming", "main", use)

    failed = AttemptFailed("s:1:0", "cut", usage=TokenUsage(5, 1, 0, 7))
    some = [
        entry(UserMessage("a"), asked("s:1:0", "a/one")),
        entry(failed, asked("s:2:0", "b/two")),
        entry(ModelReplied("s:2:0", usage=TokenUsage(10, 2, 4, None)), asked("s:3:0", "b/two")),
        entry(ModelReplied("s:3:0", usage=TokenUsage(10, 2, 0, 9))),
    ]
    assert standing.spending(some) == {
        "a/one": standing.Spent(1, 5, 1, 0, 7, 0),
        "b/two": standing.Spent(2, 20, 4, 4, 9, 1),
    }


def test_cost_of_a_session(store: SqliteStore, tmp_path: Path) -> None:
    usage = loaded(store).snapshot.usage
    model = loaded(store).machine.models["main"].use
    assert answer("/cost", desk(store, width=300)).lines == (
        f"{model}: $0.00, 4 answers, {usage.input_tokens:,} tokens in, {usage.output_tokens:,} out",
        f"in all: $0.00, {usage.tokens:,} tokens",
    )
    spot = place(tmp_path)
    made = opened(spot)
    begun(spot, made, (DONE,), said=None)
    assert text(answer("/cost", desk(made))) == "No model has answered yet, so nothing was spent."
    made.close()


def test_what_has_no_known_price_is_never_told_as_nothing() -> None:
    store = MemoryStore()
    run = Written(store, "s")
    run.tell(UserMessage("go"))
    run.reply("read", usage=TokenUsage(1000, 50, 200, None))
    run.decide("allow")
    run.answer()
    run.reply(text="hm", usage=TokenUsage(10, 5, 0, 2_000_000))
    assert answer("/cost", desk(store, "s", width=200)).lines == (
        "sim/one: ≥ $0.002, 2 answers, 1,010 tokens in (200 from the provider's cache), 55 out; "
        "1 answer of unknown price",
        "in all: ≥ $0.002, 1,065 tokens",
        "What has no known price is in no sum above: the true cost is higher.",
    )


def test_approvals_lists_grants_and_what_waits(tmp_path: Path) -> None:
    _, made = waiting(tmp_path, RUN, {"reply": "", "calls": RUN["calls"]}, DONE)
    (call,) = loaded(made).snapshot.calls.values()
    said = text(answer("/approvals", desk(made)))
    assert said.startswith(f"waits: {call.id} `shell` is asked; rule ask at ")
    given = ApprovalGiven(call.id, call.args_hash, "grant", scope="limited", commands=("echo hi > *",))
    assert go_on(made, [given], yes=False).reason == "input"
    (grant,) = loaded(made).snapshot.grants.values()
    assert text(answer("/approvals", desk(made, width=200))).splitlines() == [
        f"{grant.id} `shell` (limited): commands echo hi > *; no limit of uses; by person",
        "Grants turn ask into allow; they end with the session. Denies hold.",
    ]
    made.close()


def test_an_exact_grant_shows_the_arguments_it_was_given_for(tmp_path: Path) -> None:
    _, made = waiting(tmp_path, RUN, DONE)
    (call,) = loaded(made).snapshot.calls.values()
    given = ApprovalGiven(call.id, call.args_hash, "grant", scope="exact")
    assert go_on(made, [given], yes=False).reason == "input"
    said = text(answer("/approvals", desk(made, width=200)))
    assert '(exact): these very arguments: {"command":"echo hi > b.txt"}; no limit of uses' in said
    made.close()


# ---------------------------------------------------------------- the work directory


def test_diff_since_the_newest_point_and_since_the_beginning(store: SqliteStore) -> None:
    newest = answer("/diff", desk(store)).lines
    assert re.sub(r"\(.*?\)", "()", newest[0]) == "2 paths changed since b12 ():"
    assert newest[1:3] == ("A b.txt +1 -0", "A mine.txt +1 -0")
    start = text(answer("/diff start", desk(store)))
    assert "M a.txt +1 -1" in start and "-one\n+two" in start and "+by hand" in start
    assert answer("/diff b6", desk(store)).lines[1] == "M a.txt +1 -1"


def test_diff_before_there_is_a_point(tmp_path: Path) -> None:
    spot = place(tmp_path)
    made = opened(spot)
    begun(spot, made, (READ, DONE))
    for line in ("/diff", "/diff start", "/diff b1", "/rewind", "/rewind b1"):
        assert text(answer(line, desk(made, width=200))) == (
            "No rollback point was taken yet: no call that writes has run, or the loop takes none"
        )
    made.close()


def test_rewind_lists_points_with_what_would_change_and_goes_back(tmp_path: Path) -> None:
    spot = place(tmp_path)
    made = opened(spot)
    assert begun(spot, made, TURNS, loop=BACK).reason == "input"
    listed = answer("/rewind", desk(made, width=200))
    assert listed.events == ()
    assert [c.line for c in listed.choose] == ["/rewind b12", "/rewind b6"]
    assert listed.choose[0].label.endswith("1 path would change: b.txt")
    assert listed.choose[1].label.endswith("2 paths would change: a.txt, b.txt")
    assert "in working.tool_running (entry 13)" in listed.choose[0].label
    chosen = answer("/rewind b6", desk(made, width=200))
    assert chosen.events == (RollbackChosen("b6"),)
    assert go_on(made, chosen.events).reason == "interrupted"
    assert (spot.work / "a.txt").read_text() == "one\n" and not (spot.work / "b.txt").exists()
    assert text(answer("/diff b6", desk(made))).startswith("Nothing has changed since b6 (")
    made.close()


class AtWork(Nobody):
    """Calls `when` once, in the middle of an effect, and remembers its driver."""

    def __init__(self, when: str) -> None:
        super().__init__(yes=True)
        self.when, self.begun = when, asyncio.Event()

    def live(self, event: Live) -> None:
        if isinstance(event, EffectStarted) and event.what.startswith(self.when):
            self.begun.set()


def at_work(store: SqliteStore, line: str, when: str, said: str = "Go") -> tuple[Reply, Rest]:
    """Give a line while an effect goes on, tell what it asks for, and run to the next rest."""

    async def run() -> tuple[Reply, Rest]:
        door = AtWork(when)
        driver = LocalDriver(loaded(store), installed(), door)
        running = asyncio.create_task(driver.run([(UserMessage(said), "person")]))
        await asyncio.wait_for(door.begun.wait(), 60)
        at = Desk(driver.session, driver, installed(), store, desk(store).style, 200)
        reply = await asyncio.to_thread(answer, line, at)
        for event in reply.events:
            await driver.tell(event)
        return reply, await running

    return asyncio.run(run())


def test_rewind_interrupts_work_first_and_waits_until_it_has_stopped(tmp_path: Path) -> None:
    slow = {"tool": "shell", "args": {"command": "echo late > b.txt; sleep 600"}}
    spot = place(tmp_path)
    made = opened(spot)
    loop = LOOP.replace("[{tools: [read,", "[{tools: [shell, read,").replace("[{tools: [shell]}]", "[]")
    turns = (EDIT, DONE, {"reply": "Slowly.", "calls": [slow]}, DONE)
    assert begun(spot, made, turns, loop=loop).reason == "input"
    point = loaded(made).snapshot.boundaries[-1].id
    reply, rest = at_work(made, f"/rewind {point}", "run")
    assert reply.events == (UserInterrupted("rewind"), RollbackChosen(point))
    assert reply.lines[-1] == (
        "The work is interrupted first; the rollback waits until it has stopped."
    )
    assert rest.reason == "interrupted"
    assert (spot.work / "a.txt").read_text() == "one\n" and not (spot.work / "b.txt").exists()
    events = [entry.event for entry in verified(made, "s1")]
    assert any(isinstance(event, RollbackDone) for event in events)
    made.close()


def test_model_lists_and_chooses(tmp_path: Path) -> None:
    spot = place(tmp_path)
    made = opened(spot)
    assert begun(spot, made, (DONE, DONE)).reason == "input"
    script = {"script": 1, "window": 5000, "turns": [DONE, {"reply": "Other."}]}
    other = spot.file("other.yaml", json.dumps(script))
    use = loaded(made).machine.models["main"].use
    listed = answer("/model", desk(made, width=300)).lines
    assert listed[0] == f"main: {use}; window unknown"
    picked = answer(f"/model main scripted/{other}", desk(made, width=300))
    assert picked.events == (ModelChosen("main", f"scripted/{other}", 5000, True),)
    assert answer(f"/model main=scripted/{other}", desk(made, width=300)) == picked
    assert answer(f"/model scripted/{other}", desk(made, width=300)) == picked
    assert picked.lines == (
        f"main is scripted/{other} from the next call on; window 5,000 tokens, its price is known.",
    )
    assert go_on(made, [*picked.events, UserMessage("again")]).reason == "input"
    assert loaded(made).items[-1].text == "Other."
    assert answer("/model", desk(made, width=300)).lines[0] == (
        f"main: scripted/{other} (declared: {use}); window 5,000 tokens"
    )
    assert answer("/model", desk(made)).choose == (Choice("main as declared", "/model main declared"),)
    back = answer("/model main declared", desk(made))
    assert back.events == (ModelChosen("main", "", 0, True),)
    go_on(made, back.events)
    assert loaded(made).snapshot.models == {}
    assert answer("/model main", desk(made)).fill == "/model main "
    made.close()


def test_a_model_that_could_not_be_used_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    spot = place(tmp_path)
    made = opened(spot)
    loop = LOOP.replace("turns: 20,", "turns: 20, usd: 1.00,")
    assert begun(spot, made, (DONE,), loop=loop).reason == "input"
    said = [text(answer(f"/model main {use}", desk(made, width=300))) for use in (
        "openai/gpt-5-mini", "ollama/nobody-knows-it", "scripted/nowhere.yaml",
    )]  # fmt: skip
    assert said[0].startswith("model `main` (openai/gpt-5-mini) needs a key: OPENAI_API_KEY is not set")
    assert said[1].startswith("the price of ollama/nobody-knows-it is unknown, so the usd budget")
    assert "there is no such script" in said[2]
    made.close()


def test_compact_asks_where_the_loop_routes_it(tmp_path: Path, store: SqliteStore) -> None:
    assert answer("/compact", desk(store, width=300)) == Reply(
        lines=(
            "Nothing was compacted: `compaction.requested` leads nowhere from `ready`. The loop must "
            "route `compaction.requested` where it stands; /explain shows its ways",
        )
    )
    spot = place(tmp_path)
    made = opened(spot)
    loop = LOOP.replace(READY, READY + ", compaction.requested: working.compacting")
    assert begun(spot, made, (READ, DONE), loop=loop).reason == "input"
    assert answer("/compact", desk(made)).events == (CompactionRequested(),)
    made.close()


# ---------------------------------------------------------------- other sessions


def test_sessions_lists_them_and_resume_opens_one(tmp_path: Path) -> None:
    spot = place(tmp_path)
    made = opened(spot)
    begun(spot, made, (DONE,), name="first")
    begun(spot, made, (DONE,), name="second")
    listed = answer("/sessions", desk(made, "second"))
    assert [re.sub(r"\d+ (ms|s)", "T", line) for line in listed.lines] == [
        "* second                     input       1 turn, $0.00, T ago",
        "  first                      input       1 turn, $0.00, T ago",
    ]
    assert [c.line for c in listed.choose] == ["/resume first"]
    assert [c.line for c in answer("/resume", desk(made, "second")).choose] == ["/resume first"]
    gone = answer("/resume fi", desk(made, "second"))
    assert gone == Reply(
        lines=("Leaving second; it stays as it is: /resume second",), open="first"
    )
    made.create("never", "small", 1)
    assert text(answer("/resume never", desk(made, "second"))) == "Session never was never begun"
    made.close()


def test_a_session_that_another_one_runs_or_that_works_is_not_left(tmp_path: Path) -> None:
    spot = place(tmp_path)
    made = opened(spot)
    slow = {"reply": "word " * 20, "chunk": 5, "delay": 0.02}
    begun(spot, made, (DONE,), name="other")
    begun(spot, made, (DONE, slow), name="s1")
    reply, rest = at_work(made, "/resume other", "call model")
    assert reply.lines == ("This session is at work. Interrupt it (Esc), then /resume again",)
    assert not reply.open and rest.reason == "input"
    made.close()


def test_fork_makes_a_session_to_go_on_in(tmp_path: Path) -> None:
    spot = place(tmp_path)
    made = opened(spot)
    begun(spot, made, TURNS)
    reply = answer("/fork", desk(made, width=300))
    (row,) = [r for r in made.sessions() if r.session != "s1"]
    assert reply.choose == (
        Choice(f"go on in {row.session}", f"/resume {row.session}"),
        Choice("stay here", ""),
    )
    assert reply.lines[0].startswith(f"Session {row.session} stands where s1 stood after entry 16.")
    assert answer(f"/resume {row.session}", desk(made)).open == row.session
    assert answer("/fork 3", desk(made, width=300)) == Reply(
        lines=(
            "No fork was made: an effect is pending here (s1:3:0), and both sessions would do it. The "
            "nearest entry before it that can: /fork 0",
        ),
        choose=(Choice("fork at entry 0", "/fork 0"), Choice("no fork", "")),
    )
    made.close()


def test_fork_on_the_command_line(where: Place, store: SqliteStore) -> None:
    ran = where.run("fork", "s1", "--session", "copy", "--format", "json")
    assert (ran.code, json.loads(ran.out)) == (0, {"session": "copy", "parent": "s1", "entry": 16})
    assert where.run("verify", "copy").code == 0
    assert where.run("replay", "copy", "--recompute").code == 0
    late = where.run("fork", "s1", "--at", "3")
    assert (late.code, late.out) == (1, "")
    assert late.err == (
        "loopspec: session s1, entry 3: an effect is pending here (s1:3:0), and both sessions would do "
        "it. fork at entry 0: loopspec fork s1 --at 0\n"
    )
    plain = where.run("fork", "s1", "--session", "plain")
    assert plain.out == (
        "session plain stands where s1 stood after entry 16\ngo on with: loopspec resume plain\n"
    )


def test_export_writes_a_new_file_and_nothing_else(tmp_path: Path, store: SqliteStore) -> None:
    file = tmp_path / "a b.jsonl"
    said = text(answer(f'/export "{file}"', desk(store, width=400)))
    assert said == f"Entries 0 to 16 are in {file}, {file.stat().st_size:,} bytes."
    assert file.stat().st_mode & 0o777 == 0o600
    again = text(answer(f"/export {file}", desk(store, width=400)))
    assert again == f"{file} is there already. Name another file: nothing is overwritten"
    dangling = tmp_path / "link"
    dangling.symlink_to(tmp_path / "nowhere")
    assert "is there already" in text(answer(f"/export {dangling}", desk(store, width=400)))
    nowhere = text(answer(f"/export {tmp_path}/x/y", desk(store, width=400)))
    assert "was not written: No such file" in nowhere
    assert sorted(os.listdir(tmp_path)) == ["a b.jsonl", "link"]


def test_quit_leaves_and_asks_for_nothing(store: SqliteStore) -> None:
    for line in ("/quit", "/q", "/exit"):
        assert answer(line, desk(store)) == Reply(leave=True)


# ---------------------------------------------------------------- completion


def offers(line: str, at: Desk) -> list[str]:
    return [c.text for c in complete(line, at)]


def test_commands_and_their_arguments_are_offered(store: SqliteStore) -> None:
    at = desk(store)
    assert offers("/", at) == [f"/{name}" for name in COMMANDS]
    assert offers("/re", at) == ["/rewind", "/resume"]
    assert complete("/sta", at) == [Completion("/status", 4, COMMANDS["status"].does)]
    assert offers("/rewind ", at) == ["b12", "b6"] and offers("/rewind b1", at) == ["b12"]
    assert offers("/diff ", at) == ["start", "b12", "b6"]
    assert offers("/help st", at) == ["status"]
    assert offers("/model ma", at) == ["main", "main declared"]
    assert complete("/model main d", at)[0].back == len("main d")
    assert offers("/status ", at) == [] and offers("/nothing x", at) == []
    assert offers("see @a", at)[0] == "@a.txt"


def test_sessions_are_offered_but_not_the_present_one(tmp_path: Path) -> None:
    spot = place(tmp_path)
    made = opened(spot)
    begun(spot, made, (DONE,), name="first")
    begun(spot, made, (DONE,), name="second")
    assert offers("/resume ", desk(made, "second")) == ["first"]
    made.close()

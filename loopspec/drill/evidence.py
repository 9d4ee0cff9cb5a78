"""Evidence: what a case has left behind, and in what it differs from an undisturbed run.

What a crash may add and take away, and nothing else:
- an unfinished reply in the view, and a note that a transition on a loss, an answer of a person or the
  host's going wrote there;
- the text and status of the result of a call that was lost, or that recovery answered by a probe;
- after a call that was interrupted (SIGTERM, a closed terminal), whatever the loop and its tools make
  of that: then only the exit code, the configuration and the rules of acts are compared;
- after a loss that the spec leads elsewhere without asking anybody, and after a reply that came in whole
  while the loop was being parked (the model is then asked once more), all but the rules of acts;
- further starts of an act that may be repeated; of another one, as many as a person or a probe asked
  for.

Rules of this file:
1. What already differs between two undisturbed runs is not held against a crash: texts are then
   compared without their digits, and not at all if that does not make them equal; so with files.
2. Paths of the case's own directory, the session's id and durations (`0.12s`, `3.4 seconds`) are taken
   out of every text first.
"""

import hashlib
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from loopspec.context import transcript
from loopspec.drill.acts import BEGUN, DONE, NOT_DONE, Act, count
from loopspec.drill.play import Ended, Home, newest
from loopspec.drivers.recovery import needs_claim
from loopspec.drivers.session import load_machine, stepper, verified
from loopspec.effects import Perform, RunTool
from loopspec.errors import LoopspecError
from loopspec.events import (
    ApprovalGiven,
    AttemptFailed,
    EffectCancelled,
    EffectLost,
    HostSuspended,
    HostWoke,
    ModelReplied,
    ToolAnswered,
    UserInterrupted,
    UserResumed,
)
from loopspec.journal import fold
from loopspec.journal.entry import Entry
from loopspec.machine.model import Machine
from loopspec.machine.step import NOTED
from loopspec.performers.snapshots import EXCLUDED
from loopspec.stores.sqlite import SqliteStore

CRASHLIKE: Final = (
    *(EffectLost, ApprovalGiven, AttemptFailed, HostSuspended, HostWoke),
    *(UserInterrupted, UserResumed),
)
ANY: Final = "(not compared)"
LOST: Final = "lost"
OVERTAKEN: Final = "overtaken"
INTERRUPTED: Final = "interrupted"
EXIT: Final = "exit code"
CONFIGURATION: Final = "configuration"
DURATION: Final = re.compile(r"\b\d+\.\d+ ?(?:s|ms|sec|seconds)\b")
MAX_SHOWN: Final = 300


class Evidence(msgspec.Struct, frozen=True):
    """A run's end: `facts` by place, all texts; `free` are the places a crash has touched, `broken`
    what is wrong whatever it is compared with. `routed`: a loss was led elsewhere by the spec."""

    facts: dict[str, str] = {}
    free: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    led: str = ""


class Difference(msgspec.Struct, frozen=True):
    """What differs, and where."""

    place: str
    expected: str
    found: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.place}: expected {self.expected or 'nothing'}, found {self.found or 'nothing'}"


def gather(home: Home, ended: Ended) -> Evidence:
    """Everything a case has left; a fault of the journal is in `broken`. Opens the store."""
    broken: list[str] = []
    store = SqliteStore(home.store, readonly=True)
    try:
        key, there = newest(store, home.session)
        if not there:
            return Evidence(broken=("no session was left",))
        entries: list[Entry] = []
        try:
            entries.extend(verified(store, key))
        except LoopspecError as err:
            broken.append(f"verify: {err}")
        snapshot = fold.fold(key, entries)
        machine = load_machine(store, snapshot.machine)
        broken += [f"recompute: {line}" for line in fold.recompute(key, entries, stepper(machine))]
    finally:
        store.close()
    broken += [f"pending after the end: {effect}" for effect in snapshot.pending]
    lost = _lost(entries)
    facts, free = _view(entries, lost)
    facts |= {EXIT: str(ended.code), CONFIGURATION: " ".join(snapshot.configuration)}
    facts |= {f"var {name}": str(value) for name, value in snapshot.vars.items()}
    facts = {place: _neutral(text, home, key) for place, text in facts.items()}
    facts |= {f"file {path}": what for path, what in tree(home.work).items()}
    broken += _overdone(machine, entries, home.acts.read())
    return Evidence(facts, tuple(free), tuple(broken), _led(entries, lost))


def _neutral(text: str, home: Home, key: str) -> str:
    return DURATION.sub("# s", text.replace(str(home.path), "<case>").replace(key, "<session>"))


# ---------------------------------------------------------------- the view


def _view(entries: Sequence[Entry], lost: set[str]) -> tuple[dict[str, str], list[str]]:
    """The view as facts by place, and the places that belong to lost calls.

    Results are placed by the reply and the position of their call: those of calls that ran together
    stand in the order of their answers, which nobody promises.
    """
    facts: dict[str, str] = {}
    free: list[str] = []
    by_seq = {entry.seq: entry for entry in entries}
    places: dict[str, str] = {}
    counts = {"message": 0, "reply": 0}
    for item in transcript.fold(entries):
        added_by = by_seq.get(int(item.id.split(".")[0]))
        if item.partial:
            continue
        if item.role == "result":
            place = places.get(item.call, f"result of {item.call}, which no reply proposes")
            facts[place] = f"{item.tool} {item.status}: {item.text}"
            if item.call in lost:
                free.append(place)
        elif item.role == "assistant":
            counts["reply"] += 1
            place = f"reply {counts['reply']}"
            calls = "".join(f" [{call.tool} {call.args}]" for call in item.calls)
            facts[place] = item.text + calls
            for n, call in enumerate(item.calls, 1):
                places[call.id] = f"result of call {n} of {place}"
        elif added_by is None or not isinstance(added_by.event, CRASHLIKE):
            counts["message"] += 1
            facts[f"message {counts['message']}"] = f"{item.role}: {item.text}"
    return facts, free


def _calls(entries: Sequence[Entry]) -> dict[str, str]:
    """The call behind each effect that runs a tool."""
    return {
        effect.id: effect.call
        for entry in entries
        for effect in entry.effects
        if isinstance(effect, RunTool)
    }


def _lost(entries: Sequence[Entry]) -> set[str]:
    """The calls (and other effects) that a crash has cost their own answer."""
    calls = _calls(entries)
    out: set[str] = set()
    for entry in entries:
        event = entry.event
        if isinstance(event, EffectLost):
            out.add(calls.get(event.effect, event.effect))
        elif isinstance(event, ToolAnswered) and entry.by == "recovery":
            out.add(event.call)
    return out


def _led(entries: Sequence[Entry], lost: set[str]) -> str:
    """Why the spec led the run another way, if it did."""
    answered = {e.event.call for e in entries if isinstance(e.event, ApprovalGiven)}
    probed = {e.event.call for e in entries if isinstance(e.event, ToolAnswered)}
    if lost - answered - probed:
        return LOST
    calls = _calls(entries)
    stopped = any(
        isinstance(e.event, EffectCancelled) and e.event.started and e.event.effect in calls
        for e in entries
    )
    if any(isinstance(e.event, ModelReplied) and e.outcome == NOTED for e in entries):
        return OVERTAKEN
    return INTERRUPTED if stopped else ""


# ---------------------------------------------------------------- the world


def tree(root: Path) -> dict[str, str]:
    """Every file, link and directory below `root` but those rollback points leave out: its kind,
    permission bits, and a digest of its content or its target."""
    out: dict[str, str] = {}
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in EXCLUDED)
        for name in (*folders, *files):
            path = Path(folder, name)
            about = path.lstat().st_mode
            mode = f"{stat.S_IMODE(about):o}"
            if stat.S_ISLNK(about):
                what = f"link to {os.readlink(path)}"
            elif stat.S_ISREG(about):
                what = f"{mode} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
            else:
                what = "directory" if stat.S_ISDIR(about) else "special"
            out[path.relative_to(root).as_posix()] = what
    return out


def _overdone(machine: Machine, entries: Sequence[Entry], acts: Sequence[Act]) -> list[str]:
    """Acts that were begun too often, and results without an act."""
    asked: dict[str, int] = {}
    for entry in entries:
        if isinstance(entry.event, ApprovalGiven) and entry.event.answer == "rerun":
            asked[entry.event.call] = asked.get(entry.event.call, 0) + 1
    what = {act.call: act.what for act in acts}
    begun = count(list(acts))
    out: list[str] = []
    for entry in entries:
        for effect in entry.effects:
            if not isinstance(effect, RunTool | Perform) or not needs_claim(machine, effect):
                continue
            key = effect.call if isinstance(effect, RunTool) else effect.id.partition(":")[2]
            phases = begun.get(key, {})
            allowed = 1 + asked.get(key, 0) + phases.get(NOT_DONE, 0)
            if phases.get(BEGUN, 0) > allowed:
                out.append(
                    f"begun {phases[BEGUN]} times, {allowed} allowed: {what[key]} (call {key})"
                )
    said = [e.event for e in entries if isinstance(e.event, ToolAnswered)]
    for answer in said:
        if answer.status == "ok" and not begun.get(answer.call, {}).get(DONE, 0):
            out.append(f"answered and never done: call {answer.call}")
    return sorted(set(out))


# ---------------------------------------------------------------- comparing


def steady(one: Evidence, two: Evidence) -> Evidence:
    """The first of two undisturbed runs, what is not the same in both made comparable or left out."""
    facts: dict[str, str] = {}
    for place in one.facts.keys() | two.facts.keys():
        a, b = one.facts.get(place, ""), two.facts.get(place, "")
        facts[place] = a if a == b else _masked(a) if _masked(a) == _masked(b) else ANY
    return msgspec.structs.replace(one, facts=facts)


def _masked(text: str) -> str:
    """A text whose numbers do not count."""
    return "\0" + re.sub(r"\d+", "#", text)


def compare(reference: Evidence, found: Evidence) -> list[Difference]:
    """Everything in which a disturbed run differs from the (steady) reference."""
    out = [Difference("the journal and the world", "", line) for line in found.broken]
    if found.led in (LOST, OVERTAKEN):
        return out  # where the spec leads it then, there is no undisturbed run to compare with
    free = {*found.free, *reference.free}
    places = reference.facts.keys() | found.facts.keys()
    for place in sorted(places if not found.led else places & {EXIT, CONFIGURATION}):
        wanted, got = reference.facts.get(place, ""), found.facts.get(place, "")
        masked = wanted.startswith("\0") and _masked(got) == wanted
        if wanted in (got, ANY) or masked or (place in free and wanted and got):
            continue
        out.append(Difference(place, _short(wanted), _short(got)))
    return out


def _short(text: str) -> str:
    """A text as a message shows it."""
    text = text.lstrip("\0").encode("unicode_escape").decode("ascii")
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"

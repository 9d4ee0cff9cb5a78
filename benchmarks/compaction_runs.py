"""Recorded runs as views, and what of them the rest of a run goes on to need.

The atoms of this file are told apart by a reading of its own, written without a look at the planner's:
words with a digit, an underscore, a dot, a slash or capitals inside, numbers of two digits and more, and
quoted strings. Whether a view still has one is asked of its plain text, so that it does not matter in
which form a method keeps it.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopspec.context.transcript import Item, ViewCall
from loopspec.tokens import estimate

TRIM = ".,;:!?()[]{}<>*`'\"#=|&%$-"
QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”"}
LONGEST = 60


@dataclass(frozen=True)
class Run:
    """A recorded run: its data set, what it is about (runs of one task belong together), the system
    prompt, and every message as an item of a view."""

    data: str
    task: str
    system: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Point:
    """A point of a run: the view there, and the atoms that the rest needs from before it."""

    run: Run
    items: tuple[Item, ...]
    needed: tuple[str, ...]


def data_dir() -> Path:
    """Where the recorded runs are: `LOOPSPEC_DATA`, or a folder beside the project."""
    told = os.environ.get("LOOPSPEC_DATA")
    return Path(told) if told else Path(__file__).parents[2] / "shared" / "data"


def tau_runs(limit: int = 0) -> list[Run]:
    """The recorded airline conversations, `limit` of them (0: all)."""
    path = data_dir() / "tau_bench" / "gpt-4o-airline-tasks-0-29.json"
    if not path.is_file():
        return []
    found = json.loads(path.read_text())[: limit or None]
    return [_tau(one) for one in found]


def swe_runs(limit: int = 0) -> list[Run]:
    """The recorded repairs, `limit` of them (0: all)."""
    paths = sorted((data_dir() / "swe_agent").glob("*.traj"))[: limit or None]
    return [_swe(json.loads(path.read_text()), path.stem) for path in paths]


def item(n: int, role: str, text: str, **more: Any) -> Item:
    """An item of a view with its size."""
    size = estimate(text) + sum(estimate(call.args) for call in more.get("calls", ()))
    return Item(id=f"{n}.0", role=role, text=text, tokens=size, **more)


def _tau(one: dict[str, Any]) -> Run:
    """A conversation: its calls and results are recorded as a provider has them."""
    names: dict[str, tuple[str, str]] = {}
    made: list[Item] = []
    for n, message in enumerate(one["traj"][1:]):
        text = message.get("content") or ""
        if message["role"] == "tool":
            call, tool = names[message["tool_call_id"]]
            status = "error" if text.startswith("Error") else "ok"
            made.append(item(n, "result", text, call=call, tool=tool, status=status))
            continue
        calls = []
        for k, told in enumerate((message.get("tool_calls") or ())[:1]):
            names[told["id"]] = (f"c{n}_{k}", told["function"]["name"])
            calls.append(ViewCall(f"c{n}_{k}", told["function"]["name"], told["function"]["arguments"]))
        made.append(item(n, message["role"], text, calls=tuple(calls)))
    return Run("tau_bench", f"task {one['task_id']}", one["traj"][0]["content"], tuple(made))


def _swe(one: dict[str, Any], name: str) -> Run:
    """A repair: an action is a call, whether it was recorded as one or stands in the reply's text."""
    system, task, *rest = one["history"]
    made = [item(0, "user", task["content"])]
    waiting = ("", "")
    for n, message in enumerate(rest, 1):
        if message["role"] != "assistant":
            made.append(item(n, "result", message["content"], call=waiting[0], tool=waiting[1]))
            continue
        if told := message.get("tool_calls"):
            tool, args = told[0]["function"]["name"], told[0]["function"]["arguments"]
        else:
            tool, args = "command", json.dumps({"command": message["action"].strip()})
        waiting = (f"c{n}_0", tool)
        call = ViewCall(f"c{n}_0", tool, args)
        made.append(item(n, "assistant", message["thought"], calls=(call,)))
    return Run("swe_agent", name, system["content"], tuple(made))


def plain(text: str, keys: bool = True) -> str:
    """Arguments or a JSON result as a person would read them: without escapes; with the keys or not."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return "\n".join(_leaves(json.loads(text), keys))
    except ValueError:
        return text


def _leaves(value: Any, keys: bool) -> Iterator[str]:
    """Every value, strings in quotes; and every key, if they are wanted."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if keys:
                yield str(key)
            yield from _leaves(inner, keys)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, keys)
    elif isinstance(value, str):
        yield f'"{value}"' if len(value) <= LONGEST and '"' not in value else value
    else:
        yield json.dumps(value)


def text_of(one: Item) -> str:
    """Everything an item tells, in plain text."""
    return "\n".join([plain(one.text), *(plain(call.args) for call in one.calls)])


def raw(one: Item) -> str:
    """Everything an item tells, as it goes to a provider."""
    return "\n".join([one.text, *(call.args for call in one.calls)])


def written(one: Item) -> str:
    """What a model wrote: its text and the values of its arguments.

    The names of tools and parameters are not among it: a model has them from the tools' schemas.
    """
    return "\n".join([one.text, *(plain(call.args, keys=False) for call in one.calls)])


def atoms(text: str) -> set[str]:
    """Paths, identifiers, numbers and quoted strings of a text."""
    found = {atom for atom in _quoted(text) if any(c.isalnum() for c in atom)}
    for word in text.translate({ord(c): " " for c in "\"'`(){}[]<>,;=*|“”"}).split():
        bare = word.strip(TRIM)
        if len(bare) < 2 or len(bare) > LONGEST or (len(bare) == 2 and bare.isalpha()):
            continue
        number = any(c.isdigit() for c in bare)
        joined = any(c in "_/." and 0 < at < len(bare) - 1 for at, c in enumerate(bare))
        inner = any(c.isupper() for c in bare[1:]) and any(c.isalpha() for c in bare)
        if number or joined or inner or (bare.startswith("/") and len(bare) > 2):
            found.add(bare)
    return found


def _quoted(text: str) -> Iterator[str]:
    """Short strings between quotes on one line."""
    for line in text.split("\n"):
        at = 0
        while at < len(line):
            close = QUOTES.get(line[at])
            if close is None or (line[at] == "'" and at and line[at - 1].isalnum()):
                at += 1
                continue
            end = line.find(close, at + 1)
            if end < 0:
                at += 1
                continue
            inner = line[at + 1 : end].strip()
            if 2 < len(inner) <= LONGEST:
                yield inner
            at = end + 1


def holds(text: str, atom: str) -> bool:
    """Whether a text has an atom, not as a part of a longer word."""
    at = text.find(atom)
    while at >= 0:
        end = at + len(atom)
        before, after = text[at - 1 : at], text[end : end + 1]
        if not (_wordy(before) and _wordy(atom[0])) and not (_wordy(after) and _wordy(atom[-1])):
            return True
        at = text.find(atom, at + 1)
    return False


def _wordy(char: str) -> bool:
    return char.isalnum() or char == "_"


def groups(items: Sequence[Item]) -> list[tuple[Item, ...]]:
    """The messages that stay or leave together: a reply with the results of its calls, others alone."""
    made: list[list[Item]] = []
    for one in items:
        if one.role == "result" and made and any(c.id == one.call for c in made[-1][0].calls):
            made[-1].append(one)
        else:
            made.append([one])
    return [tuple(group) for group in made]


def points(run: Run, least: int, every: int = 1) -> Iterator[Point]:
    """Each point after `every` units where the view (without its first message) has `least` tokens.

    Needed is what the model goes on to write (texts and arguments) that stands in the view's messages
    after the first, neither in the system prompt nor in the first message, and that nobody tells it again
    before it first writes it.
    """
    units = groups(run.items)
    said = [atoms("\n".join(written(i) for i in unit if i.role == "assistant")) for unit in units]
    always = run.system + "\n" + text_of(run.items[0])
    for n in range(1, len(units) - 1, every):
        past = [one for unit in units[: n + 1] for one in unit]
        size = sum(one.tokens for one in past[1:])
        if size < least or past[-1].role == "assistant":
            continue
        before = "\n".join(text_of(one) for one in past[1:])
        needed, told = [], ""
        seen: set[str] = set()
        for unit, wrote in zip(units[n + 1 :], said[n + 1 :], strict=True):
            for atom in sorted(wrote - seen):
                if holds(before, atom) and not holds(told, atom) and not holds(always, atom):
                    needed.append(atom)
            seen |= wrote
            told += "\n" + "\n".join(text_of(one) for one in unit if one.role != "assistant")
        if needed:
            yield Point(run, tuple(past), tuple(needed))


def kept(needed: Iterable[str], view: Iterable[str]) -> int:
    """How many of the needed atoms are in a view of these texts."""
    text = "\n".join(view)
    return sum(holds(text, atom) for atom in needed)

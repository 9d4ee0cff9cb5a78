"""Scripted: the offline provider. A YAML file plays the model, through the same litellm code path.

A spec or `--model main=scripted/FILE` names it; `scripted/demo:NAME` is a script that loopspec
ships. A relative FILE is looked up in the current directory; `~` is the home directory.

```yaml
script: 1
window: 32000          # tokens; optional
loop: false            # after the last turn: false ends with an error, true starts again
prefill: false         # true: a reply that broke off goes on where it stopped
turns:
  - reply: "text"      # or thinking:, calls: [{tool: read_file, args: {path: a.py}}]
    chunk: 12          # characters per piece, 24 unless told
    delay: 0.01        # seconds before each piece
    usage: {input: 100, output: 20, cost_usd: "0.001"}
  - error: {status: 429, message: "slow down", retry_after: 1}
    times: 2           # 1 unless told
  - reply: "after two refusals"
  - when: "regex"      # looked for in the last user message or tool result
    once: true         # once per process; any number of times unless told
    reply: "…"
```

Other keys of a turn: `finish` (the reason given, e.g. `length`), `signature` (of the thinking),
`raw_args` (argument text as it stands, beside `tool` in a call or for every call of the turn), and
the faults `hang: true` (nothing ever comes), `truncate: true` (ends without a finish reason) and
`stall_after: N` (falls silent after N characters).

Rules of this file:
1. A *fault* is an entry with `error`, `hang`, `truncate` or `stall_after`. It serves `times`
   attempts per process and is passed over from then on. An entry without one is a *reply*.
2. Entries without `when` form turns, in order: a turn is any number of faults and the reply behind
   them. The turn played is the number of assistant messages in the request, so a resumed session
   goes on where it was. A reply that was interrupted does not count: its turn is played again.
   (Compaction may take assistant messages away; scripts for such sessions use `when`.)
3. Entries with `when` are tried first, in order.
   With `prefill`, a request may end with the beginning of a reply: a turn whose reply begins so plays
   what follows it, any other turn its whole reply.
4. No litellm here: this file yields pieces, `model_litellm` turns them into its chunks.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

from loopspec.context.transcript import estimate
from loopspec.errors import LoopspecError, UsageError
from loopspec.performers.script_file import Content, ScriptedUsage, Turn, parse

PREFIX: Final = "scripted/"
DEMO: Final = "demo:"
INTERRUPTED: Final = "[interrupted here; the rest of this reply was never received]"


@dataclass(frozen=True)
class Piece:
    """A piece of a scripted stream; one of its parts is set.

    `call` is the call's index with its tool name (first piece only) and argument text.
    """

    text: str = ""
    thinking: str = ""
    signature: str = ""
    call: tuple[int, str, str] | None = None
    usage: ScriptedUsage | None = None
    finish: str = ""


class ScriptedFault(Exception):
    """The HTTP-like error a script asks for; `retry_after` is seconds, 0 for none."""

    def __init__(self, status: int, message: str, retry_after: float = 0.0) -> None:
        """Say what the provider is to answer."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after


@dataclass
class Script:
    """A loaded script and how often its limited entries have served in this process."""

    file: str
    content: Content
    served: dict[int, int] = field(default_factory=dict)

    def choose(self, messages: Sequence[Mapping[str, Any]]) -> Turn:
        """The entry that serves this request; raises `ScriptedFault` 400 when none is left."""
        last = _last_said(messages)
        for index, turn in enumerate(self.content.turns):
            if turn.when is not None and turn.when.search(last) and self._take(index):
                return turn
        groups = self._groups()
        said = messages[:-1] if self.content.prefill and _begun(messages) else messages
        played = sum(1 for m in said if _counts(m))
        if groups and self.content.loop:
            played %= len(groups)
        for index in groups[played] if played < len(groups) else ():
            if self._take(index):
                return self.content.turns[index]
        raise ScriptedFault(400, f"the script {self.file} has no more replies (turn {played + 1})")

    def _take(self, index: int) -> bool:
        """Count one more use of an entry, if its limit allows one."""
        limit, used = self.content.turns[index].limit, self.served.get(index, 0)
        if limit is not None and used >= limit:
            return False
        self.served[index] = used + 1
        return True

    def _groups(self) -> list[list[int]]:
        """The turns (rule 2) as indexes of their entries; faults at the very end form one too."""
        groups: list[list[int]] = [[]]
        for index, turn in enumerate(self.content.turns):
            if turn.when is None:
                groups[-1].append(index)
                if not turn.fault:
                    groups.append([])
        return groups if groups[-1] else groups[:-1]

    async def play(self, messages: Sequence[Mapping[str, Any]]) -> AsyncGenerator[Piece, None]:
        """The reply to `messages` in pieces; raises the `ScriptedFault` the script asks for."""
        turn = self.choose(messages)
        if self.content.prefill and (begun := _begun(messages)):
            turn = replace(turn, reply=turn.reply.removeprefix(begun))
        if turn.error is not None:
            raise ScriptedFault(*turn.error)
        if turn.hang:
            await asyncio.Event().wait()
        said = 0
        for piece in _pieces(turn):
            if turn.stall_after >= 0 and said >= turn.stall_after:
                await asyncio.Event().wait()
            if turn.delay:
                await asyncio.sleep(turn.delay)
            yield piece
            said += len(piece.text)
        if turn.stall_after >= 0:
            await asyncio.Event().wait()
        if turn.truncate:
            return
        yield Piece(usage=turn.usage or _estimated(turn, messages))
        yield Piece(finish=turn.finish or ("tool_calls" if turn.calls else "stop"))


_LOADED: dict[str, tuple[tuple[int, int], Script]] = {}


def load(use: str) -> Script:
    """The script that `scripted/…` names, loaded once per process and version of the file.

    Raises `LoopspecError`, naming the file and the key, for a script that cannot be played.
    """
    name = use.removeprefix(PREFIX)
    if name.startswith(DEMO):
        return _shipped(name)
    return _load(Path(name).expanduser())


def _shipped(name: str) -> Script:
    """A script inside the package."""
    short = name.removeprefix(DEMO)
    found = resources.files("loopspec").joinpath("demo", f"{short}.yaml")
    if not re.fullmatch(r"[\w-]+", short) or not found.is_file():
        raise LoopspecError(
            f"loopspec ships no script '{short}'",
            place=PREFIX + name,
            remedy="Name a file instead: scripted/FILE",
        )
    with resources.as_file(found) as path:
        return _load(path)


def forget() -> None:
    """Forget every loaded script and its counters, as a new process would."""
    _LOADED.clear()


def _load(path: Path) -> Script:
    """The script in a file."""
    from loopspec.spec.source import load_plain

    try:
        stat = path.stat()
    except (OSError, ValueError):
        raise UsageError(
            "there is no such script",
            place=str(path),
            remedy="scripted/FILE names a file beside the spec, else below the current directory",
        ) from None
    key, version = str(path.absolute()), (stat.st_mtime_ns, stat.st_size)
    known = _LOADED.get(key)
    if known is None or known[0] != version:
        known = (version, Script(str(path), parse(load_plain(path), str(path))))
        _LOADED[key] = known
    return known[1]


def _counts(message: Mapping[str, Any]) -> bool:
    """Whether a message is a complete reply of the assistant (rule 2)."""
    content = message.get("content")
    return message.get("role") == "assistant" and not (
        isinstance(content, str) and content.endswith(INTERRUPTED)
    )


def _begun(messages: Sequence[Mapping[str, Any]]) -> str:
    """The beginning of a reply that the request ends with, empty without one."""
    last = messages[-1] if messages else {}
    content = last.get("content")
    return content if last.get("role") == "assistant" and isinstance(content, str) else ""


def _last_said(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text of the last user message or tool result."""
    for message in reversed(messages):
        if message.get("role") in ("user", "tool"):
            content = message.get("content")
            return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return ""


def _pieces(turn: Turn) -> list[Piece]:
    """An entry cut into the pieces of its stream."""
    out = [Piece(thinking=part) for part in _cut(turn.thinking, turn.chunk)]
    if turn.signature:
        out.append(Piece(signature=turn.signature))
    limit = turn.stall_after if turn.stall_after >= 0 else len(turn.reply)
    out += [Piece(text=part) for part in _cut(turn.reply[:limit], turn.chunk)]
    if turn.stall_after < 0 or limit > len(turn.reply):
        for index, call in enumerate(turn.calls):
            parts = _cut(call.args, turn.chunk) or [""]
            out.append(Piece(call=(index, call.tool, parts[0])))
            out += [Piece(call=(index, "", part)) for part in parts[1:]]
    return out


def _cut(text: str, size: int) -> list[str]:
    """`text` in parts of at most `size` characters."""
    return [text[i : i + size] for i in range(0, len(text), size)]


def _estimated(turn: Turn, messages: Sequence[Mapping[str, Any]]) -> ScriptedUsage:
    """A token-like usage for a reply whose script gives none."""
    asked = sum(estimate(json.dumps(m, ensure_ascii=False)) for m in messages)
    said = estimate(turn.thinking + turn.reply + "".join(c.tool + c.args for c in turn.calls))
    return ScriptedUsage(asked, said)

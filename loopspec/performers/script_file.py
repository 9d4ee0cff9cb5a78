"""Script files: plain data becomes the entries that the scripted provider plays.

Rules of this file:
1. Pure: no disk, no clock. Whatever the data is, the answer is a script or a `LoopspecError` that
   names the file and the key.
2. The format is described once, at the head of `scripted`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from loopspec.errors import BadSpec

CHUNK: Final = 24
NANO: Final = 1_000_000_000
_TOP: Final = {"script": int, "window": int, "loop": bool, "prefill": bool, "turns": list}
_TURN: Final[dict[str, Any]] = {
    "reply": str,
    "thinking": str,
    "signature": str,
    "calls": list,
    "chunk": int,
    "delay": (int, float),
    "usage": dict,
    "finish": str,
    "raw_args": str,
    "when": str,
    "once": bool,
    "error": dict,
    "times": int,
    "hang": bool,
    "truncate": bool,
    "stall_after": int,
}
_CALL: Final = {"tool": str, "args": dict, "raw_args": str}
_ERROR: Final = {"status": int, "message": str, "retry_after": (int, float)}
_USAGE: Final = {"input": int, "output": int, "cost_usd": (str, int, float)}
_TYPES: Final[dict[Any, str]] = {
    int: "a whole number",
    str: "text",
    bool: "true or false",
    list: "a list",
    dict: "a map",
    (int, float): "a number",
    (str, int, float): "an amount",
}


@dataclass(frozen=True)
class ScriptedCall:
    """A tool call as the script proposes it; `args` is the exact argument text."""

    tool: str
    args: str


@dataclass(frozen=True)
class ScriptedUsage:
    """What a reply is said to have cost: tokens, and nano-USD."""

    input_tokens: int
    output_tokens: int
    cost: int = 0


@dataclass(frozen=True)
class Turn:
    """One entry of a script. `error` is status, message and Retry-After in seconds."""

    reply: str = ""
    thinking: str = ""
    signature: str = ""
    calls: tuple[ScriptedCall, ...] = ()
    chunk: int = CHUNK
    delay: float = 0.0
    usage: ScriptedUsage | None = None
    finish: str = ""
    when: re.Pattern[str] | None = None
    once: bool = False
    error: tuple[int, str, float] | None = None
    times: int = 1
    hang: bool = False
    truncate: bool = False
    stall_after: int = -1

    @property
    def fault(self) -> bool:
        """Whether this entry ends an attempt without a reply (rule 1)."""
        return self.error is not None or self.hang or self.truncate or self.stall_after >= 0

    @property
    def limit(self) -> int | None:
        """How many attempts this entry may serve in one process; None for any number."""
        if self.fault:
            return self.times
        return 1 if self.once else None


@dataclass(frozen=True)
class Content:
    """What a script file says. `window` is tokens, 0 if unknown; `loop` starts over at the end.

    `prefill`: it goes on from the beginning of its own reply.
    """

    turns: tuple[Turn, ...]
    window: int = 0
    loop: bool = False
    prefill: bool = False


def parse(data: Any, file: str) -> Content:
    """A script from plain data; raises `LoopspecError` that names `file` and the key."""
    top = _checked(data, _TOP, file, "the script")
    if top.get("script") != 1:
        raise _wrong(file, "script", "must be 1, the only version there is")
    if not top.get("turns"):
        raise _wrong(file, "turns", "must hold at least one entry")
    turns = tuple(_turn(entry, file, f"turns[{n}]") for n, entry in enumerate(top["turns"]))
    window, loop = _natural(top, "window", file), top.get("loop", False)
    return Content(turns, window, loop, top.get("prefill", False))


def _turn(data: Any, file: str, at: str) -> Turn:
    """One entry."""
    given = _checked(data, _TURN, file, at)
    faults = [k for k in ("error", "hang", "truncate", "stall_after") if given.get(k)]
    if "stall_after" in given and "stall_after" not in faults:
        faults.append("stall_after")
    if len(faults) > 1:
        raise _wrong(file, at, f"has more than one fault: {', '.join(faults)}")
    if "times" in given and not faults:
        raise _wrong(file, f"{at}.times", "counts faults; a reply has no use for it")
    calls = _calls(given, file, at)
    if not faults and not given.keys() & {"reply", "calls", "thinking"}:
        raise _wrong(file, at, "needs a reply, thinking, calls or a fault")
    for name in ("chunk", "times"):
        if given.get(name, 1) < 1:
            raise _wrong(file, f"{at}.{name}", "must be 1 or more")
    _natural(given, "delay", file, at)
    _natural(given, "stall_after", file, at)
    return Turn(
        reply=given.get("reply", ""),
        thinking=given.get("thinking", ""),
        signature=given.get("signature", ""),
        calls=calls,
        chunk=given.get("chunk", CHUNK),
        delay=float(given.get("delay", 0)),
        usage=_usage(given, file, at),
        finish=given.get("finish", ""),
        when=_pattern(given.get("when"), file, f"{at}.when"),
        once=given.get("once", False),
        error=_error(given, file, at),
        times=given.get("times", 1),
        hang=given.get("hang", False),
        truncate=given.get("truncate", False),
        stall_after=given.get("stall_after", -1),
    )


def _calls(given: Mapping[str, Any], file: str, at: str) -> tuple[ScriptedCall, ...]:
    """The calls of an entry."""
    out = []
    for n, item in enumerate(given.get("calls", [])):
        place = f"{at}.calls[{n}]"
        call = _checked(item, _CALL, file, place)
        if not call.get("tool"):
            raise _wrong(file, f"{place}.tool", "must name a tool")
        raw = call.get("raw_args", given.get("raw_args"))
        args = json.dumps(call.get("args", {}), ensure_ascii=False) if raw is None else raw
        out.append(ScriptedCall(call["tool"], args))
    if "raw_args" in given and not out:
        raise _wrong(file, f"{at}.raw_args", "needs `calls` beside it")
    return tuple(out)


def _error(given: Mapping[str, Any], file: str, at: str) -> tuple[int, str, float] | None:
    """The error of an entry."""
    if "error" not in given:
        return None
    error = _checked(given["error"], _ERROR, file, f"{at}.error")
    status = error.get("status", 500)
    if not 400 <= status <= 599:
        raise _wrong(file, f"{at}.error.status", "must be an HTTP status from 400 to 599")
    after = _natural(error, "retry_after", file, f"{at}.error")
    return status, error.get("message", f"scripted error {status}"), float(after)


def _usage(given: Mapping[str, Any], file: str, at: str) -> ScriptedUsage | None:
    """The usage of an entry."""
    if "usage" not in given:
        return None
    place = f"{at}.usage"
    usage = _checked(given["usage"], _USAGE, file, place)
    try:
        cost = Decimal(str(usage.get("cost_usd", 0))) * NANO
        if not cost.is_finite() or cost < 0:
            raise InvalidOperation
    except InvalidOperation:
        raise _wrong(file, f"{place}.cost_usd", 'must be an amount such as "0.001"') from None
    asked, said = (_natural(usage, name, file, place) for name in ("input", "output"))
    return ScriptedUsage(asked, said, int(cost))


def _pattern(text: str | None, file: str, at: str) -> re.Pattern[str] | None:
    """A compiled `when`."""
    if text is None:
        return None
    try:
        return re.compile(text)
    except re.error as error:
        raise _wrong(file, at, f"is not a regular expression: {error}") from None


def _checked(data: Any, keys: Mapping[str, Any], file: str, at: str) -> dict[str, Any]:
    """`data` as a map with only these keys and their types."""
    if not isinstance(data, dict):
        raise _wrong(file, at, "must be a map")
    for key, value in data.items():
        place = key if at == "the script" else f"{at}.{key}"
        if key not in keys:
            raise _wrong(file, place, f"is unknown here; known: {', '.join(keys)}")
        kind = keys[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise _wrong(file, place, f"must be {_TYPES[kind]}")
    return data


def _natural(given: Mapping[str, Any], key: str, file: str, at: str = "") -> Any:
    """A number that is not below zero, 0 when absent."""
    value = given.get(key, 0)
    if not 0 <= value < float("inf"):
        raise _wrong(file, f"{at}.{key}" if at else key, "must be 0 or more")
    return value


def _wrong(file: str, at: str, fault: str) -> BadSpec:
    """A fault of a script."""
    return BadSpec(f"{at} {fault}", place=file)

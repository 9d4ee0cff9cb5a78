"""Conforming: the final answer must be JSON that fits a schema, or the run has failed.

Rules of this file:
1. The model is told the schema, and what is wrong with an answer, by messages like any other: they
   are journaled, and the loop routes them as it routes a person's.
2. It is told at most `TRIES` times in one run what is wrong. Then the run has failed, with the faults.
3. Nothing is fetched: a schema that refers to another document is refused before anything starts.
4. Only an answer at a rest without trouble (finished, at rest, idle) is looked at.
"""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Final

from loopspec.drivers.door import Door
from loopspec.drivers.outcome import answer_of
from loopspec.drivers.schemas import applied, references
from loopspec.drivers.session import Session
from loopspec.drivers.through import Through
from loopspec.errors import UsageError
from loopspec.events import Kept, UserMessage
from loopspec.machine.rest import Rest
from loopspec.machine.step import routable

TRIES: Final = 2
MAX_BYTES: Final = 256 * 1024
DEPTH: Final = 100
QUIET: Final = ("finished", "input", "idle")
TOLD: Final = (
    "Your final answer must be one JSON value that conforms to the JSON Schema below, "
    "and nothing else: no sentence before or after it.\n\n{schema}"
)
WRONG: Final = (
    "Your answer does not conform to the JSON Schema it must conform to:\n{faults}\n"
    "Answer again with the corrected JSON value and nothing else."
)


@dataclass(frozen=True)
class Verdict:
    """What came of an answer: its value, or the faults that keep it from conforming."""

    value: Any = None
    faults: tuple[str, ...] = ()


class Wanted:
    """What the final answer must conform to."""

    def __init__(self, schema: Any, name: str = "the output schema") -> None:
        """`schema` is a JSON Schema (draft 2020-12 unless it says otherwise); raises `UsageError`."""
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import validator_for

        if not isinstance(schema, dict) or not isinstance(schema.get("$schema", ""), str):
            raise UsageError("a schema is a JSON object, its `$schema` a text", place=name)
        kind = validator_for(schema, default=Draft202012Validator)
        try:
            kind.check_schema(schema)
            found = list(references(schema))
            self.text = json.dumps(schema, ensure_ascii=False, indent=2, allow_nan=False)
            self.text.encode()
        except SchemaError as err:
            where = "/".join(map(str, err.absolute_path)) or "the schema"
            raise UsageError(f"it is no JSON Schema: {where}: {err.message[:200]}", place=name) from None
        except RecursionError:
            raise UsageError("it is nested too deeply", place=name) from None
        except (TypeError, ValueError) as err:
            raise UsageError(f"it could not be told as JSON: {err}"[:300], place=name) from None
        for ref in found:
            if not ref.startswith("#"):
                raise UsageError(
                    f"it refers to `{ref[:100]}`, and nothing is fetched",
                    place=name,
                    remedy="Put that schema into this one, below $defs",
                )
        self._schema = schema

    @classmethod
    def read(cls, path: Path) -> "Wanted":
        """The schema in a file; raises `UsageError`."""
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)  # of a device there is no end
        except OSError as err:
            raise UsageError(
                f"the schema cannot be read: {err.strerror or err}", place=str(path)
            ) from None
        if len(data) > MAX_BYTES:
            raise UsageError(f"the schema is larger than {MAX_BYTES // 1024} KiB", place=str(path))
        try:
            return cls(json.loads(data), str(path))
        except (ValueError, RecursionError) as err:
            raise UsageError(f"the schema is no JSON: {err}", place=str(path)) from None

    @property
    def told(self) -> str:
        """The message that tells the model what is wanted."""
        return TOLD.format(schema=self.text)

    def verdict(self, answer: str) -> Verdict:
        """Whether an answer conforms. May take `schemas.SECONDS`: not for an event loop."""
        if not answer.strip():
            return Verdict(faults=("there was no answer",))
        try:
            value = json.loads(bare(answer), parse_constant=_refuse)
            _shallow(value)
        except (ValueError, RecursionError) as err:
            return Verdict(faults=(f"the answer is no JSON value: {err}",))
        faults = applied(self._schema, value)
        return Verdict(faults=faults) if faults else Verdict(value=value)


def bare(answer: str) -> str:
    """The answer without a code fence around all of it."""
    lines = answer.strip().splitlines()
    fenced = len(lines) > 2 and lines[0].startswith("```") and lines[-1].strip() == "```"
    return "\n".join(lines[1:-1]) if fenced else answer.strip()


class Conforming(Through):
    """Holds the answer of a resting session against what is wanted, and says what is wrong with it."""

    def __init__(self, door: Door, wanted: Wanted, first: int) -> None:
        """`first` is the sequence of the run's first entry."""
        super().__init__(door)
        self._wanted = wanted
        self._first = first
        self._left = TRIES

    async def at_rest(self, session: Session, rest: Rest) -> Kept | None:
        """The faults of a wrong answer, while there are tries left."""
        takes = "user.message" in routable(session.machine, session.snapshot)
        if rest.reason in QUIET and takes and not session.snapshot.spent:
            found = await asyncio.to_thread(self.verdict, session)
            if found.faults and self._left > 0:
                self._left -= 1
                return UserMessage(text=WRONG.format(faults=_list(found.faults)))
        return await self._door.at_rest(session, rest)

    def verdict(self, session: Session) -> Verdict:
        """What came of the newest answer."""
        return self._wanted.verdict(answer_of(session, self._first))


def _list(faults: Iterable[str]) -> str:
    """Faults as a list of lines."""
    return "\n".join(f"- {fault}" for fault in faults)


def _paired(text: str) -> None:
    """Refuse half a surrogate pair, which has no bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half a surrogate pair, which is no character") from None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _shallow(value: Any, depth: int = 0) -> None:
    """Refuse what others stumble over: deep nesting, and what no JSON text could hold again."""
    if depth > DEPTH:
        raise ValueError(f"it is nested more than {DEPTH} deep")
    if isinstance(value, float) and not isfinite(value):
        raise ValueError("it holds a number that is too large")
    if isinstance(value, str) and not value.isascii():
        _paired(value)
    for key in value if isinstance(value, dict) else ():
        _paired(key)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        _shallow(item, depth + 1)

"""Launch: from a spec's name to a machine, and from a machine to a session ready to run."""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec

from loopspec.check.spec import check_spec
from loopspec.codec import canonical_json
from loopspec.drivers.fitting import preflight as preflight
from loopspec.drivers.fitting import used_models as used_models
from loopspec.errors import BadInput, UsageError
from loopspec.events import SessionStarted
from loopspec.machine.model import Field, Machine
from loopspec.machine.tiering import undeclared
from loopspec.registry import Registry
from loopspec.spec.diagnose import Diagnostic
from loopspec.spec.parse import Compiled, ToolInfo

NUMBERS: Final = {"int": int, "number": float}
SCRIPTED: Final = "scripted/"
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Loaded:
    """A spec that was read: its machine (None when it is wrong), what was found, its text.

    `accepted` are the warnings that it accepts with a reason.
    """

    machine: Machine | None
    diagnostics: Sequence[Diagnostic]
    source: str
    name: str
    accepted: Sequence[Diagnostic] = ()


def shipped(name: str) -> Path | None:
    """The path of a loop that travels with loopspec, None if there is none of that name."""
    package = Path(str(files("loopspec")))
    for folder in (package / "shipped" / "specs", package.parent / "specs"):
        found = folder / f"{name}.yaml"
        if "/" not in name and found.is_file():
            return found
    return None


def shipped_names() -> list[str]:
    """The names of the loops that travel with loopspec."""
    package = Path(str(files("loopspec")))
    folders = (package / "shipped" / "specs", package.parent / "specs")
    return sorted({p.stem for folder in folders for p in folder.glob("*.yaml")})


def find(spec: str) -> Path:
    """The file of a spec given by path or shipped name; raises `UsageError`."""
    path = Path(spec)
    if path.is_file():
        return path
    found = shipped(spec)
    if found is not None:
        return found
    if path.exists():
        return path  # a directory, a pipe: reading it says so
    raise UsageError(
        f"there is no file `{spec}` and no shipped loop of that name",
        remedy=f"shipped loops: {', '.join(shipped_names())}",
    )


def tool_infos(registry: Registry) -> dict[str, ToolInfo]:
    """The registry's tools as the spec reader knows them."""
    return {
        name: ToolInfo(
            name=tool.name,
            description=tool.description,
            parameters=tool.parameters,
            effect=tool.effect,
            after_crash=tool.after_crash,
            paths=tool.paths,
            command=tool.command,
            total=tool.total,
            silence=tool.silence,
            config_schema=tool.config_schema,
            probes=tool.probe is not None,
        )
        for name, tool in registry.tools.items()
    }


def load(spec: str, registry: Registry) -> Loaded:
    """Read and compile a spec; its faults are in the diagnostics. Raises `UsageError`."""
    path = find(spec)
    name = spec if path == Path(spec) else path.name
    made: Compiled = check_spec(
        path, kinds=registry.kinds, tools=tool_infos(registry), name=name
    )
    return Loaded(made.machine, made.diagnostics, made.source, name, made.accepted)


def load_path(path: Path, registry: Registry) -> Loaded:
    """Read and compile the file of a spec; that it cannot be read is one of its faults."""
    made = check_spec(path, kinds=registry.kinds, tools=tool_infos(registry), name=str(path))
    return Loaded(made.machine, made.diagnostics, made.source, str(path), made.accepted)


def load_text(text: str, registry: Registry, name: str = "<stdin>") -> Loaded:
    """Compile the text of a spec, called `name` in messages; its faults are in the diagnostics."""
    made = check_spec(text, kinds=registry.kinds, tools=tool_infos(registry), name=name)
    return Loaded(made.machine, made.diagnostics, made.source, name, made.accepted)


def with_models(machine: Machine, choices: Sequence[str]) -> Machine:
    """The machine with models replaced by `name=provider/model`; raises `UsageError`."""
    models = dict(machine.models)
    for choice in choices:
        name, sep, use = choice.partition("=")
        if not sep or not use:
            raise UsageError(f"`--model {choice}` is not of the form NAME=PROVIDER/MODEL")
        if name not in models:
            known = ", ".join(models) or "none"
            raise UsageError(f"the spec declares no model `{name}`", remedy=f"declared: {known}")
        decl = models[name]
        if decl.tiers:  # what is to be kept from a model is kept from this one, too
            found = tuple(tier for tier in decl.tiers if tier.use == use)
            models[name] = msgspec.structs.replace(decl, tiers=found or (undeclared(use),))
        else:
            models[name] = msgspec.structs.replace(decl, use=use, fallbacks=())
    return msgspec.structs.replace(machine, models=models)


def anchored(machine: Machine, folder: Path) -> Machine:
    """The machine with scripts named by relative paths found: beside the spec, else from here.

    A session resumed from another directory must still find its script.
    """
    models = {}
    for name, decl in machine.models.items():
        tiers = tuple(msgspec.structs.replace(t, use=_anchor(t.use, folder)) for t in decl.tiers)
        others = tuple(_anchor(use, folder) for use in decl.fallbacks)
        use = _anchor(decl.use, folder)
        models[name] = msgspec.structs.replace(decl, use=use, fallbacks=others, tiers=tiers)
    return msgspec.structs.replace(machine, models=models)


def _anchor(use: str, folder: Path) -> str:
    """A scripted model's file as an absolute path; other models as they are."""
    name = use.removeprefix(SCRIPTED)
    if name == use or name.startswith(("demo:", "~")) or Path(name).is_absolute():
        return use
    beside = (folder / name).absolute()
    return SCRIPTED + str(beside if beside.is_file() else Path(name).absolute())


def parse_inputs(machine: Machine, given: Sequence[str]) -> str:
    """The session's inputs as canonical JSON text; raises `BadInput`, naming all that is wrong."""
    faults: list[str] = []
    values: dict[str, Any] = {}
    for item in given:
        if not _is_text(item):
            faults.append("an input is no UTF-8 text")
            continue
        name, sep, text = item.partition("=")
        if not sep:
            faults.append(f"`--input {item}` is not of the form NAME=VALUE")
        elif name not in machine.inputs:
            known = ", ".join(machine.inputs) or "none"
            faults.append(f"the spec has no input `{name}` (it has: {known})")
        else:
            try:
                values[name] = _value(machine.inputs[name], text)
            except ValueError as err:
                faults.append(f"input `{name}`: {err}")
    for name, field in machine.inputs.items():
        if name in values:
            continue
        if field.default is None:
            faults.append(f"input `{name}` ({field.type}) is missing: add --input {name}=…")
        else:
            values[name] = json.loads(field.default)
    if faults:
        raise BadInput("; ".join(faults))
    return canonical_json(values)


def _is_text(text: str) -> bool:
    """Whether the bytes of an argument were UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _value(field: Field, text: str) -> Any:
    """One input's value; raises `ValueError` in plain words."""
    match field.type:
        case "string":
            return text
        case "int" | "number":
            try:
                value = NUMBERS[field.type](text)
            except ValueError:
                raise ValueError(f"`{text}` is no {field.type}") from None
            if value != value or value in (float("inf"), float("-inf")):
                raise ValueError(f"`{text}` is no finite number")
            return value
        case "bool":
            if text not in ("true", "false"):
                raise ValueError(f"`{text}` is not true or false")
            return text == "true"
        case _:
            try:
                return json.loads(text)
            except ValueError as err:
                raise ValueError(f"it is not JSON: {err}") from None


def check_id(given: str) -> str:
    """A session id somebody chose; raises `UsageError` when it could not be used in files and ids."""
    if given == "last":
        raise UsageError("`last` always means the newest session", remedy="choose another id")
    if not _ID.fullmatch(given):
        raise UsageError(
            f"`{given}` is no session id",
            remedy="use 1 to 64 letters, digits, dots, dashes or underscores, a letter or digit first",
        )
    return given


def new_id(machine: Machine) -> str:
    """A fresh session id: the spec's name and six random hex digits."""
    return f"{machine.name}-{secrets.token_hex(3)}"


def started(
    machine: Machine,
    registry: Registry,
    inputs: str,
    workdir: Path,
    windows: Mapping[str, int],
    version: str,
) -> SessionStarted:
    """Entry 0's event."""
    return SessionStarted(
        machine=machine.digest,
        inputs=inputs,
        workdir=str(workdir),
        windows=dict(windows),
        versions={"loopspec": version, **registry.versions},
    )

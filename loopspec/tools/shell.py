"""`shell.run`: one command line in the work directory.

Rules of this file:
1. The command sees a small environment that is spelled out here, and never a secret.
2. It has no terminal and no input: what would ask a person ends at once instead of waiting.
3. What it leaves in the background is ended when it ends (see `process`).
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from loopspec.hooks import Tool, ToolContext, ToolFailed
from loopspec.tools import process

_KEPT: Final = ("HOME", "LANG", "LC_ALL", "TMPDIR", "USER", "VIRTUAL_ENV")
_SECRET_NAME: Final = re.compile(
    r"(KEY|KEYS|TOKEN|TOKENS|SECRET|SECRETS|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|CREDENTIALS)(_|$)"
    r"|(^|_)(PASS|AUTH|COOKIE|PAT|PRIVATE)(_|$)",
    re.IGNORECASE,
)
_SECRET_VALUE: Final = re.compile(
    r"sk-|gh[opsu]_|github_pat_|glpat-|xox[abpr]-|AKIA|eyJ|-----BEGIN"
)


def environment(names: Sequence[str], outside: Mapping[str, str]) -> dict[str, str]:
    """The command's environment: the small fixed one, and `names` taken from `outside`.

    The interpreter's own directory comes first on PATH, so that `python` and `pytest` are the ones
    that run loopspec. Raises `ToolFailed` when a name in `names` or its value looks like a secret.
    """
    env = {name: outside[name] for name in _KEPT if name in outside}
    path = outside.get("PATH") or os.defpath
    env["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), path])
    env["TERM"] = "dumb"
    for name in names:
        if name not in outside:
            continue
        if _SECRET_NAME.search(name) or _SECRET_VALUE.match(outside[name]):
            raise ToolFailed(
                f"the tool's `env` lists {name}, which looks like a secret; commands of a model "
                "get no secrets: take the name off the list"
            )
        env[name] = outside[name]
    return env


async def _run(ctx: ToolContext, args: dict[str, Any]) -> str:
    ended = await process.run(
        ["/bin/sh", "-c", _command(args)],
        workdir=ctx.workdir,
        env=environment(ctx.config.get("env", ()), os.environ),
        emit=ctx.emit,
        call=ctx.call,
    )
    output = ended.output.decode("utf-8", "replace")
    if output and not output.endswith("\n"):
        output += "\n"
    if ended.left:
        some = "1 background process was" if ended.left == 1 else f"{ended.left} processes were"
        output += f"[{some} still running and ended]\n"
    return output + ended.meaning


def _command(args: dict[str, Any]) -> str:
    command = str(args["command"])
    if "\0" in command:
        raise ToolFailed("the command holds a NUL byte; give a plain command line")
    return command


def _preview(ctx: ToolContext, args: dict[str, Any]) -> str:
    return str(args["command"])


RUN: Final = Tool(
    name="shell.run",
    description=(
        "Run a command line with /bin/sh in the work directory. There is no terminal and no input. "
        "Background processes are ended when the command ends. The last line is its exit code."
    ),
    parameters={
        "type": "object",
        "properties": {"command": {"type": "string", "minLength": 1}},
        "required": ["command"],
        "additionalProperties": False,
    },
    run=_run,
    effect="write",
    after_crash="ask",
    command="command",
    total=600.0,
    preview=_preview,
    config_schema={
        "type": "object",
        "properties": {
            "env": {
                "type": "array",
                "items": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
                "description": "names of environment variables that commands may see",
            }
        },
        "additionalProperties": False,
    },
)

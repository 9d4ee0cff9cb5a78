"""Offers: sensible limits for a grant, made from the very call that asks. Pure.

Rules of this file:
1. An offer covers the call it was made from, and says no more than its neighbourhood: a directory, a
   command with other arguments.
2. What starts other programs (`sh`, `sudo`, `python -c`) or deletes is offered word by word only.
3. The person sees and may change every offer before it is sent.
"""

import shlex
from pathlib import PurePosixPath
from typing import Final

from loopspec.governance.authority import Target

OPERATORS: Final = frozenset(";&|`<>\n\r$()")
_NEVER: Final = frozenset(
    {"sh", "bash", "zsh", "dash", "fish", "env", "sudo", "su", "doas", "xargs", "eval", "exec", "rm"}
    | {"rmdir", "dd", "mkfs", "chmod", "chown", "kill", "curl", "wget", "ssh", "scp", "perl", "ruby"}
    | {"find", "awk", "sed", "docker", "mv", "nohup", "time", "timeout", "nice", "watch", "parallel"}
)
_RUNS_CODE: Final = frozenset({"python", "python3", "node", "deno", "bun", "uv", "uvx", "npx", "pipx"})
_WITH_WORD: Final = frozenset(
    {"git", "npm", "yarn", "pnpm", "cargo", "go", "make", "poetry", "hatch", "tox", "nox", "just"}
)


def path_offers(target: Target) -> tuple[str, ...]:
    """Globs that cover the call's paths: each file's directory, a file at the top itself."""
    found: list[str] = []
    for path in target.paths:
        parent = PurePosixPath(path).parent.as_posix()
        found.append(path if parent == "." else f"{parent}/**")
    return tuple(dict.fromkeys(found))


def command_offers(target: Target) -> tuple[str, ...]:
    """Globs that cover the call's command line: the command with any arguments, or its very words."""
    command = target.command.strip()
    if not command:
        return ()
    stem = _stem(command)
    return (command,) if not stem else (stem, f"{stem} *")


def _stem(command: str) -> str:
    """The words that name what a command does; empty when only the whole line says it."""
    if any(char in OPERATORS for char in command) or "*" in command or "?" in command:
        return ""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    if len(words) < 2 or command.split()[: len(words)] != words:  # one word, or quoted ones
        return command if words and words[0] not in _NEVER | _RUNS_CODE and len(words) == 1 else ""
    name = PurePosixPath(words[0]).name
    if name in _NEVER or "=" in words[0]:
        return ""
    if name in _RUNS_CODE:
        if len(words) > 2 and words[1] == "-m" and not words[2].startswith("-"):
            return " ".join(words[:3])
        return ""
    if name in _WITH_WORD:
        return " ".join(words[:2]) if not words[1].startswith("-") else ""
    return words[0]


def globs_of(text: str) -> tuple[str, ...]:
    """The globs of an edited line: commas part them, and a comma in a glob is written `\\,`."""
    parts = text.replace("\\,", "\0").split(",")
    return tuple(dict.fromkeys(p.replace("\0", ",").strip() for p in parts if p.strip()))


def line_of(globs: tuple[str, ...]) -> str:
    """Globs on one line, as `globs_of` reads it."""
    return ", ".join(glob.replace(",", "\\,") for glob in globs)

"""`loopspec completion`: the script that makes a shell complete commands, options, specs and sessions.

Rules of this file:
1. Completing changes nothing and says nothing: a store that cannot be read has no sessions.
2. Other commands know nothing of this: their arguments are completed by what they are called.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem, get_completion_class

from loopspec.errors import LoopspecError

WHERE: Final = {
    "bash": '# Put this into ~/.bashrc: eval "$(loopspec completion bash)"',
    "zsh": '# Put this into ~/.zshrc: eval "$(loopspec completion zsh)"',
    "fish": "# Put this into ~/.config/fish/completions/loopspec.fish",
}
MOST: Final = 200
Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


@click.command()
@click.argument("shell", type=click.Choice(sorted(WHERE)))
def completion(shell: str) -> None:
    """Print the completion script of SHELL."""
    from loopspec.cli.main import COMPLETING, cli

    found = get_completion_class(shell)
    assert found is not None, "click knows every shell that is named above"
    script = found(cli, {}, "loopspec", COMPLETING)
    text = script.source_template % script.source_vars()
    click.echo(f"{WHERE[shell]}\n{text}")


def completed(command: click.Command) -> click.Command:
    """The command, its arguments completed by what they are called."""
    for param in command.params:
        completer = COMPLETERS.get(param.name or "")
        made_up = isinstance(param, click.Option) and param.name == "session"  # a new session's id
        path = param.name == "target" and param.metavar is not None and "ID" not in param.metavar
        if completer is not None and not made_up and not path:
            param._custom_shell_complete = completer
    return command


def specs(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Shipped loops, and documents below the directory that is being typed."""
    from loopspec.drivers.launch import shipped_names

    folder = Path(begun.rpartition("/")[0] + "/") if "/" in begun else Path()
    found = [name for name in shipped_names() if "/" not in begun]
    with suppress(OSError):
        found += sorted(map(str, _documents(folder)))
    return _fitting(found, begun)


def _documents(folder: Path) -> Iterable[Path]:
    """YAML files in a directory and in those below it."""
    for entry in sorted(folder.iterdir())[:2000]:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from (p for p in sorted(entry.glob("*.y*ml"))[:50])
        elif entry.suffix in (".yaml", ".yml"):
            yield entry


def sessions(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """The newest sessions of the store, each with its loop's name."""
    from loopspec.cli.options import open_store

    outer: click.Context | None = ctx
    given = None
    while outer is not None and given is None:
        given, outer = outer.params.get("store"), outer.parent
    try:
        store: Any = open_store(given, readonly=True)
        try:
            rows = [row for row in store.sessions() if row.head >= 0]
        finally:
            store.close()
    except (LoopspecError, OSError):
        return []
    rows.sort(key=lambda row: row.updated, reverse=True)
    fitting = [r for r in rows if r.session.startswith(begun)][:MOST]
    last = [CompletionItem("last", help="the newest")] if rows and "last".startswith(begun) else []
    return last + [CompletionItem(row.session, help=row.name) for row in fitting]


def either(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Specs and sessions."""
    return specs(ctx, param, begun) + sessions(ctx, param, begun)


def codes(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """The checker's codes."""
    from loopspec.spec.codes import CODES

    return _fitting(list(CODES), begun.upper())


def _fitting(found: Iterable[str], begun: str) -> list[CompletionItem]:
    """What begins as it is typed."""
    return [CompletionItem(text) for text in found if text.startswith(begun)][:MOST]


COMPLETERS: Final[dict[str, Completer]] = {
    "spec": specs,
    "specs": specs,
    "session": sessions,
    "again_id": sessions,
    "target": either,
    "code": codes,
}

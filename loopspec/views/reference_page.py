"""Reference page: the small pieces of Markdown that every page of the reference is made of."""

from collections.abc import Iterable, Sequence
from typing import Final

NOTE: Final = "<!-- Written by `python -m loopspec.cli.generated`. Change the tables, not this page. -->"


def head(title: str, *paragraphs: str) -> str:
    """A page's title, the note that it is generated, and its first paragraphs."""
    return "\n\n".join([f"# {title}", NOTE, *paragraphs])


def fence(what: str, text: str) -> str:
    """A block of YAML; `what` says of which part it is, so that a test can put it in its place."""
    return f"```yaml {what}\n{text.rstrip()}\n```"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, empty when it has no rows."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join(["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *lines])


def bullets(items: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"- {item}" for item in items)


def code(names: Iterable[str]) -> str:
    """Names as code, between commas; `none` for none."""
    return ", ".join(f"`{name}`" for name in names) or "none"


def page(parts: Iterable[str]) -> str:
    """The parts as one text, empty ones left out."""
    return "\n\n".join(part for part in parts if part) + "\n"

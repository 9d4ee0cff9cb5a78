"""Fmt: a spec file in its one order and layout, with every comment. Pure: text in, text out.

Rules of this file:
1. The result is read again before it is given back. It must mean what the source means, with every
   comment; if it does not, nothing is given back.
2. Formatting what was formatted changes nothing.
3. Any readable YAML can be formatted; only a spec has sections, and records with an order.
"""

from typing import Any

from loopspec.errors import LoopspecError
from loopspec.spec.comments import Unit, attach, comment_texts
from loopspec.spec.fmt_order import arrange
from loopspec.spec.fmt_print import print_document
from loopspec.spec.source import Node, Read, plain, scan_text

_SIGNS_OF_A_SPEC = ("loopspec", "states")


class FormatFault(LoopspecError):
    """Formatting would have changed what a file says: a fault of ours."""

    def __init__(self, name: str, what: str) -> None:
        """`what` would have changed in the file called `name`."""
        super().__init__(
            f"formatting would have changed {what}, so it was left alone",
            place=name,
            remedy="this is a fault in loopspec; please report it with the file",
        )


def format_read(read: Read, name: str) -> str:
    """The text of a document in order and layout; `name` is the file's name in messages.

    `read` is what reading gave, without faults. Raises `FormatFault` if the result would say
    something else than the source, `ValueError` if `read` has faults.
    """
    if read.node is None or read.diagnostics:
        raise ValueError("only what was read without faults can be formatted")
    document = attach(read.source, read.node)
    spec = any(read.node.get(key) is not None for key in _SIGNS_OF_A_SPEC)
    if spec:
        arrange(document.root)
    meant = _sense(document.root)
    made = print_document(read.source, document, spec=spec)
    again = scan_text(made, name)
    if again.node is None or again.diagnostics:
        raise FormatFault(name, "the file into something unreadable")
    if plain(again.node) != plain(read.node) or _sense_of(again.node) != meant:
        raise FormatFault(name, "what the file means")
    if sorted(comment_texts(made, again.node)) != sorted(comment_texts(read.source, read.node)):
        raise FormatFault(name, "its comments")
    return made


def _sense(unit: Unit) -> Any:
    """What a value says, in the order of its entries."""
    if unit.value.kind == "scalar":
        return _scalar(unit.value)
    names = [child.key.text if child.key is not None else None for child in unit.children]
    return unit.value.kind, [(n, _sense(c)) for n, c in zip(names, unit.children, strict=True)]


def _sense_of(node: Node) -> Any:
    """The same of what was read."""
    if node.kind == "scalar":
        return _scalar(node)
    if node.kind == "map":
        return node.kind, [(entry.key, _sense_of(entry.value)) for entry in node.entries]
    return node.kind, [(None, _sense_of(item)) for item in node.items]


def _scalar(node: Node) -> Any:
    return node.text, type(node.value).__name__

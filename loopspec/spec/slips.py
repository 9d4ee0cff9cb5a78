"""Slips: what the YAML parser says of the usual mistakes, in our words.

Rules of this file:
1. A fault names what was written, a remedy what to write; neither speaks of tokens.
"""

from typing import Final

_QUOTE: Final = "close it, or put a text that holds brackets, braces, commas or quotes between quotes"


def slip(problem: str, context: str) -> tuple[str, str]:
    """The fault and the remedy of the usual slips, by what the YAML parser says of them.

    `context` ends with the character found where a flow collection does not go on; it is nothing but
    the bracket where one stands that nothing opens. `problem` is `indentation` for a line that stands
    deeper than the one before it, which holds a value.
    """
    if problem == "indentation":
        return (
            "this line is indented like a part of the value above it",
            "align it with the key it stands beside",
        )
    if context in ("}", "]"):
        return f"nothing opens this `{context}`", "remove it"
    if "document start" in problem:
        return "something stands after the end of the document", "remove it, or the `...` above it"
    if "alphabetic or numeric" in problem:
        return (
            "outside of quotes `*` and `&` begin aliases and anchors",
            'put the text between quotes, such as "*"',
        )
    if "mapping values are not allowed" in problem:
        return (
            "a second `:` in one line",
            "put the text between quotes, or check the indentation of this line",
        )
    if "escape" in problem:
        return (
            "between double quotes a backslash begins an escape, and this is not one",
            "write two backslashes, or use single quotes",
        )
    if "quoted scalar" in context or "quoted scalar" in problem:
        return "a quoted text has no end", "close the quotes"
    if "flow mapping" in context and not context.endswith("mapping"):
        return "here a `,` or a `}` is expected", _QUOTE
    if "flow sequence" in context and not context.endswith("sequence"):
        return "here a `,` or a `]` is expected", _QUOTE
    if "flow mapping" in context:
        return "a `{` has no matching `}`, or a comma is missing", "close the braces"
    if "flow sequence" in context:
        return "a `[` has no matching `]`, or a comma is missing", "close the brackets"
    if "block mapping" in context or "simple key" in context or "simple key" in problem:
        return (
            "this line does not fit its surroundings",
            "check its indentation and that each key is followed by `: `",
        )
    if "cannot start any token" in problem:
        return "a value cannot begin with this character", "put the text between quotes"
    return f"the YAML does not parse: {problem or context}", "correct it here or just above"

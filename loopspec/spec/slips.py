"""Slips: what the YAML parser says of the usual mistakes, in our words.

Rules of this file:
1. A fault names what was written, a remedy what to write; neither speaks of tokens.
"""


def slip(problem: str, context: str) -> tuple[str, str]:
    """The fault and the remedy of the usual slips, by what the YAML parser says of them."""
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

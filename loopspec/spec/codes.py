"""Diagnostic codes: one number per fault, for ever. A code is never reused for another fault.

Groups: LS0xx reading YAML, LS1xx keys and types, LS2xx names and references, LS3xx states and
transitions, LS4xx guards and texts, LS5xx kinds, tools and models, LS6xx budgets and authority,
LS7xx the loop as a whole, LS9xx not in this version.

The codes of LS7xx are warnings: the loop could run, and yet it is hardly what its author wants. A
warning can be accepted where it stands, with a reason (`accept`); an error cannot.
"""

from typing import Final

CODES: Final[dict[str, str]] = {
    "LS001": "the file cannot be read",
    "LS002": "the file is too large",
    "LS003": "the file is not UTF-8",
    "LS004": "a character that YAML does not allow",
    "LS005": "the YAML does not parse",
    "LS006": "a tab in the indentation",
    "LS007": "nested too deeply",
    "LS008": "an anchor or an alias",
    "LS009": "a tag",
    "LS010": "more than one document",
    "LS011": "a key twice",
    "LS012": "a key that is not text",
    "LS013": "the document is empty",
    "LS101": "an unknown key",
    "LS102": "a key is missing",
    "LS103": "a value of the wrong shape",
    "LS104": "a value that is not one of the choices",
    "LS105": "not a duration",
    "LS106": "not a whole number in range",
    "LS107": "not an amount of money",
    "LS108": "not a share between 0 and 1",
    "LS109": "a language version this program does not read",
    "LS110": "not a semantic version",
    "LS111": "a name that may not be used",
    "LS112": "a default that does not fit its type",
    "LS113": "a code that cannot be accepted",
    "LS114": "not a size",
    "LS201": "an unknown state",
    "LS202": "an unknown model",
    "LS203": "an unknown prompt",
    "LS204": "an unknown tool",
    "LS205": "an unknown event",
    "LS206": "an unknown var",
    "LS301": "no initial state",
    "LS302": "the initial state is not a child",
    "LS303": "a key that does not fit the state's type",
    "LS304": "a parallel state with fewer than two regions",
    "LS305": "a history state without a default",
    "LS306": "guarded transitions without an unguarded end",
    "LS307": "a transition that can never be taken",
    "LS308": "an ending that is not routed",
    "LS309": "two conversations in parallel regions",
    "LS310": "a transition that does nothing",
    "LS311": "an event name that may not be raised",
    "LS312": "an unknown action",
    "LS313": "a transition that an earlier one shadows",
    "LS314": "`always` transitions that go round for ever",
    "LS401": "a guard or an assigned value that does not compile",
    "LS402": "a text that does not compile",
    "LS403": "a text that reads an unknown name",
    "LS501": "an unknown kind",
    "LS502": "a kind's configuration does not fit",
    "LS503": "an unknown tool implementation",
    "LS504": "a tool's configuration does not fit",
    "LS505": "no model to call",
    "LS506": "a key that does not fit the state's kind",
    "LS507": "an effect weaker than the tool's own",
    "LS508": "a tool that cannot be probed",
    "LS509": "a smaller profile that is not smaller",
    "LS510": "tiers that cannot be",
    "LS601": "a rule for an undeclared tool",
    "LS602": "context shares out of order",
    "LS603": "a secret written in the spec",
    "LS701": "a state that is never entered",
    "LS702": "a state without a way out",
    "LS703": "no budget",
    "LS704": "work without a deadline",
    "LS705": "an approval that never expires",
    "LS706": "an interrupt that nobody handles",
    "LS707": "writes without a rollback point",
    "LS708": "a circle that spends no budget",
    "LS709": "declared and never used",
    "LS710": "a guard that always gives the same",
    "LS711": "`always` transitions that may go round",
    "LS712": "a route that is never taken",
    "LS713": "calls that are never run",
    "LS714": "a tool that no rule lets run",
    "LS715": "a question that nobody answers",
    "LS716": "a circle without a rest or an end",
    "LS790": "an `accept` without a warning",
    "LS901": "not in this version",
}

ACCEPTABLE: Final = frozenset(c for c in CODES if c.startswith("LS7") and c != "LS790")
"""The codes of warnings that a spec may accept."""


def severity(code: str) -> str:
    """`error` or `warning`; raises `KeyError` for an unknown code."""
    CODES[code]
    return "warning" if code.startswith("LS7") else "error"

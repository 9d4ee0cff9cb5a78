"""Keys: every key of the language, in tables. The parser and the JSON Schema both come from here.

Rules of this file:
1. A key that is not in a table does not exist; each has a meaning and an example that is accepted.
2. What a table cannot say (references, routing, types of states) is checked by the later steps.
"""

from typing import Final

from loopspec.spec.forms import (
    NAME,
    SLUG,
    Bag,
    Duration,
    Json,
    Key,
    Many,
    Named,
    Record,
    Share,
    Table,
    Text,
    Usd,
    Version,
    Whole,
)
from loopspec.spec.statekeys import STATE_TABLES, STATES, TARGET, TEXT, VARIABLES

_NAME: Final = Text("a name of letters, digits, `_` and `-`", NAME, code="LS111")
_GLOBS: Final = Many(Text("a glob"), least=1)

_TOP: Final = Table(
    "spec",
    "A loopspec document: an agent's loop as a machine of states.",
    (
        Key("loopspec", Version(), "The version of the language.", "1", True),
        Key(
            "name",
            Text("a slug such as `coding-agent`", SLUG, code="LS111"),
            "The spec's name: small letters, digits and hyphens.",
            '"coding-agent"',
            True,
        ),
        Key(
            "version",
            Text("a semantic version such as `1.0.0`", code="LS110"),
            "The spec's own semantic version.",
            '"1.0.0"',
            True,
        ),
        Key("description", TEXT, "What the loop is for.", '"Repairs a failing test."'),
        Key(
            "inputs",
            Named(VARIABLES, Record("input")),
            "What a run is given at its start; guards and texts read it as `inputs.NAME`.",
            '{"task": {"type": "string"}}',
        ),
        Key(
            "vars",
            Named(VARIABLES, Record("var")),
            "Values that `assign` changes; guards and texts read them as `vars.NAME`.",
            '{"attempts": {"type": "int", "default": 0}}',
        ),
        Key(
            "models",
            Named(_NAME, Record("model")),
            "The models that states of kind `model` call.",
            '{"main": {"use": "anthropic/claude-sonnet-4-5"}}',
        ),
        Key(
            "tools",
            Named(_NAME, Record("tool")),
            "The tools the model may propose, by the name the model sees.",
            '{"read_file": {"use": "files.read"}}',
        ),
        Key(
            "prompts",
            Named(_NAME, TEXT),
            "Jinja2 texts that states name as `prompt`.",
            '{"system": "Your task: {{ inputs.task }}"}',
        ),
        Key(
            "budgets",
            Record("budgets"),
            "What one session may consume; a spent budget raises `budget.exhausted`.",
            '{"turns": 60, "usd": 3.0}',
        ),
        Key(
            "context",
            Record("context"),
            "When and how far what the model sees is compacted.",
            '{"compact_at": 0.8, "target": 0.4}',
        ),
        Key(
            "authority",
            Record("authority"),
            "Which calls are allowed, asked and denied; what no rule names is denied.",
            '{"allow": [{"tools": ["read_file"]}]}',
        ),
        Key("initial", TARGET, "The state in which a session starts.", '"ready"', True),
        Key(
            "states",
            STATES,
            "The states of the machine, by name.",
            '{"done": {"type": "final"}}',
            True,
        ),
    ),
    reserved=("include", "overlay", "properties", "migrations", "tiers", "children"),
)

_TYPES: Final = Text("a type", choices=("string", "int", "bool", "number", "json"))
_INPUT: Final = Table(
    "input",
    "A declared input.",
    (
        Key("type", _TYPES, "The type of the value.", '"string"', True),
        Key("default", Json(), "The value when none is given; without it one must be.", '"x"'),
        Key("description", TEXT, "What the value is for.", '"The task to do."'),
    ),
)
_VAR: Final = Table(
    "var",
    "A declared var.",
    (
        Key("type", _TYPES, "The type of the value.", '"int"', True),
        Key("default", Json(), "The value at the start.", "0", True),
        Key("description", TEXT, "What the value is for.", '"How often it was tried."'),
    ),
)

_MODEL: Final = Table(
    "model",
    "A declared model.",
    (
        Key("use", Text("a model"), "The provider's model.", '"openai/gpt-5-mini"', True),
        Key(
            "fallbacks",
            Many(Text("a model")),
            "Models to go on with, in order, when every attempt of this one failed.",
            '["openai/gpt-5-mini"]',
        ),
        Key("deadlines", Record("deadlines"), "How long to wait for it.", '{"total": "10m"}'),
        Key("retry", Record("retry"), "How often to try again, and when.", '{"attempts": 5}'),
        Key(
            "window",
            Whole(least=1, units=True),
            "The context window in tokens, where the provider's tables do not know it.",
            "200000",
        ),
        Key(
            "params",
            Bag(),
            "Further parameters for the provider, such as `temperature`.",
            '{"temperature": 0.2}',
        ),
        Key(
            "unpriced",
            Text("a choice", choices=("allow", "refuse")),
            "Whether a USD budget may run with this model if its price is unknown.",
            '"allow"',
        ),
        Key("cache", Duration(), "How long a reply may be replayed from the cache.", '"24h"'),
    ),
    reserved=("tiers",),
)
_DEADLINES: Final = Table(
    "deadlines",
    "How long to wait for a model.",
    (
        Key("connect", Duration(), "Until the connection stands.", '"15s"'),
        Key("first_chunk", Duration(), "Until the first piece of the reply.", '"60s"'),
        Key("between_chunks", Duration(), "Between two pieces of the reply.", '"90s"'),
        Key("total", Duration(), "For the whole reply.", '"10m"'),
    ),
)
_RETRY: Final = Table(
    "retry",
    "How often a failed attempt is repeated, with full jitter and never before Retry-After.",
    (
        Key("attempts", Whole(1, 100), "Attempts per model, the first included.", "5"),
        Key("base", Duration(), "The longest wait before the second attempt; doubles.", '"1s"'),
        Key("cap", Duration(), "The longest wait at all.", '"60s"'),
    ),
)

_TOOL: Final = Table(
    "tool",
    "A declared tool.",
    (
        Key("use", Text("a tool"), "Which installed tool this is.", '"files.read"', True),
        Key("description", TEXT, "What the model is told instead.", '"Reads a file."'),
        Key(
            "effect",
            Text("a choice", choices=("read", "write", "irreversible")),
            "What it may change; it may only be made stricter than the tool says of itself.",
            '"write"',
        ),
        Key(
            "after_crash",
            Text("a choice", choices=("rerun", "probe", "ask")),
            "What a restart does with a call that had begun and has no answer.",
            '"ask"',
        ),
        Key("deadlines", Record("tool_deadlines"), "How long it may take.", '{"total": "10m"}'),
        Key("with", Bag(), "The tool's own configuration.", '{"env": ["CI"]}'),
    ),
    reserved=("on_stall",),
)
_TOOL_DEADLINES: Final = Table(
    "tool_deadlines",
    "How long a tool may take.",
    (
        Key("total", Duration(), "For the whole call.", '"10m"'),
        Key("silence", Duration(0), "Without any output; `0s` is off.", '"60s"'),
    ),
)

_BUDGETS: Final = Table(
    "budgets",
    "What one session may consume; a missing key is no limit.",
    (
        Key("turns", Whole(least=1), "Replies of models.", "60"),
        Key("tokens", Whole(least=1, units=True), "Tokens in and out.", "500000"),
        Key("usd", Usd(), "Money in USD.", "3.5"),
        Key("elapsed", Duration(), "Time while the machine was awake.", '"45m"'),
    ),
)
_CONTEXT: Final = Table(
    "context",
    "When and how far what the model sees is compacted.",
    (
        Key("compact_at", Share(), "The share of the window at which to compact.", "0.8"),
        Key("target", Share(), "The share of the window to come down to.", "0.4"),
        Key(
            "pin",
            Many(Text("a choice", choices=("task", "constraints", "approvals", "open_calls"))),
            "What is never dropped.",
            '["task", "constraints"]',
        ),
        Key(
            "window",
            Whole(least=1, units=True),
            "The window in tokens to reckon with, if smaller than the model's.",
            "32000",
        ),
    ),
)

_RULES: Final = Many(Record("rule"))
_AUTHORITY: Final = Table(
    "authority",
    "The envelope: deny wins over ask, ask over allow.",
    (
        Key("allow", _RULES, "Calls that run at once.", '[{"tools": ["read_file"]}]'),
        Key("ask", _RULES, "Calls a person is asked about.", '[{"tools": ["shell"]}]'),
        Key("deny", _RULES, "Calls that never run.", '[{"tools": ["*"], "paths": ["**/.env"]}]'),
    ),
)
_RULE: Final = Table(
    "rule",
    "A rule of the envelope: all of its keys must match.",
    (
        Key("tools", _GLOBS, "Globs over the names of declared tools.", '["read_file"]', True),
        Key("paths", _GLOBS, "Globs over the paths a call names.", '["src/**"]'),
        Key("commands", _GLOBS, "Globs over the command line of a call.", '["git status*"]'),
        Key("reason", TEXT, "Why; shown to the person and to the model.", '"holds secrets"'),
    ),
)

TABLES: Final[dict[str, Table]] = {
    table.name: table
    for table in (
        _TOP,
        _INPUT,
        _VAR,
        _MODEL,
        _DEADLINES,
        _RETRY,
        _TOOL,
        _TOOL_DEADLINES,
        _BUDGETS,
        _CONTEXT,
        _AUTHORITY,
        _RULE,
        *STATE_TABLES,
    )
}

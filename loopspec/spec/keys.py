"""Keys: every key of the language, in tables. The parser and the JSON Schema both come from here.

Rules of this file:
1. A key that is not in a table does not exist; each has a meaning and an example that is accepted.
2. What a table cannot say (references, routing, types of states) is checked by the later steps.
3. Editors and the language reference show these words: each meaning is a sentence that stands alone.
"""

from typing import Final

from loopspec.spec.forms import (
    FILE,
    NAME,
    SLUG,
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
    choice,
)
from loopspec.spec.statekeys import ACCEPT, PRIVACY, STATE_TABLES, STATES, TARGET, TEXT, VARIABLES
from loopspec.spec.workkeys import WORK_TABLES

_NAME: Final = Text("a name of letters, digits, `_` and `-`", NAME, code="LS111")
_GLOBS: Final = Many(Text("a glob"), least=1)

_TOP: Final = Table(
    "spec",
    "A loopspec document: an agent's loop as a machine of states.",
    (
        Key("loopspec", Version(), "The version of the language this document is written in.", "1", True),
        Key(
            "name",
            Text("a slug such as `coding-agent`", SLUG, code="LS111"),
            "The spec's name, of small letters, digits and hyphens; sessions are named after it.",
            '"coding-agent"',
            True,
        ),
        Key(
            "version",
            Text("a semantic version such as `1.0.0`", code="LS110"),
            "The spec's own semantic version; raise it when the loop changes.",
            '"1.0.0"',
            True,
        ),
        Key("description", TEXT, "What the loop is for, in a sentence.", '"Repairs a failing test."'),
        Key(
            "inputs",
            Named(VARIABLES, Record("input")),
            "What a run is given at its start (`--input NAME=VALUE`); guards and texts read it as "
            "`inputs.NAME`.",
            '{"task": {"type": "string"}}',
        ),
        Key(
            "vars",
            Named(VARIABLES, Record("var")),
            "Values that the action `assign` changes; guards and texts read them as `vars.NAME`.",
            '{"attempts": {"type": "int", "default": 0}}',
        ),
        Key(
            "models",
            Named(_NAME, Record("model")),
            "The models that states of kind `model` call, by a name of your own.",
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
            "System prompts as Jinja2 texts; a state names one as its `prompt`.",
            '{"system": "Your task: {{ inputs.task }}"}',
        ),
        Key(
            "guidance",
            Record("guidance"),
            "What a repository tells every agent (`AGENTS.md`); texts read it as `guidance`.",
            '{"files": ["AGENTS.md"]}',
        ),
        Key(
            "budgets",
            Record("budgets"),
            "What one session may consume; a spent budget raises `budget.exhausted` before further work.",
            '{"turns": 60, "usd": 3.0}',
        ),
        Key(
            "context",
            Record("context"),
            "When and how far what the model sees is made smaller.",
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
        ACCEPT,
    ),
    reserved=("include", "overlay", "properties", "migrations", "tiers", "children"),
)

_TYPES: Final = choice(
    {
        "string": "A text.",
        "int": "A whole number of at most 64 bits.",
        "bool": "`true` or `false`.",
        "number": "A number that may have a fraction; CEL calls it a double.",
        "json": "Any JSON value; what is inside is not checked at load.",
    },
    "a type",
)
_INPUT: Final = Table(
    "input",
    "A declared input: what a run is given once, at its start.",
    (
        Key("type", _TYPES, "The type of the value; guards are checked against it.", '"string"', True),
        Key(
            "default",
            Json(),
            "The value when none is given. An input without a default must be given.",
            '"x"',
        ),
        Key("description", TEXT, "What the value is for, for whoever starts the loop.", '"The task."'),
        Key(
            "privacy",
            PRIVACY,
            "The class of the value, and so of the whole conversation: a tier that may not see it is not "
            "asked.",
            '"secret"',
        ),
        ACCEPT,
    ),
)
_VAR: Final = Table(
    "var",
    "A declared var: a value the loop remembers and changes.",
    (
        Key("type", _TYPES, "The type of the value; guards are checked against it.", '"int"', True),
        Key("default", Json(), "The value at the start of a session.", "0", True),
        Key("description", TEXT, "What the value is for.", '"How often it was tried."'),
        ACCEPT,
    ),
)

_GUIDANCE: Final = Table(
    "guidance",
    "Files that tell agents how to work here, looked for when a session starts: in the work directory "
    "and in each folder above it, up to the one that holds `.git`. The nearest stands last.",
    (
        Key(
            "files",
            Many(Text("the name of a file such as `AGENTS.md`", FILE), least=1),
            "The names to look for; in one folder the first that is there counts.",
            '["AGENTS.md", "CLAUDE.md"]',
            default='["AGENTS.md"]',
        ),
        Key(
            "max_bytes",
            Whole(least=1, most=1_000_000, units=True),
            "The most bytes all files may hold together; what is farther away is cut first.",
            '"64k"',
            default="32000",
        ),
        ACCEPT,
    ),
)
_BUDGETS: Final = Table(
    "budgets",
    "What one session may consume; a missing key is no limit.",
    (
        Key("turns", Whole(least=1), "The most replies of models.", "60"),
        Key("tokens", Whole(least=1, units=True), "The most tokens, sent and received.", "500000"),
        Key("usd", Usd(), "The most money, in USD.", "3.5"),
        Key("elapsed", Duration(), "The longest time in which the machine was awake.", '"45m"'),
    ),
)
_CONTEXT: Final = Table(
    "context",
    "When and how far what the model sees is made smaller.",
    (
        Key(
            "compact_at",
            Share(),
            "The share of the window at which `context.pressed` is raised before a model call.",
            "0.8",
            default="0.8",
        ),
        Key(
            "target",
            Share(),
            "The share of the window to come down to; smaller than `compact_at`.",
            "0.4",
            default="0.4",
        ),
        Key(
            "pin",
            Many(
                choice(
                    {
                        "task": "The first thing said to the model.",
                        "constraints": "What the loop itself told the model (`say` with `to: model`).",
                        "approvals": "Results that a person decided.",
                        "authority": "Results that say what the rules forbid.",
                        "open_calls": "Calls that wait for a result.",
                        "plan": "The newest plan, as long as something of it is still to be done.",
                    }
                )
            ),
            "What compaction never drops.",
            '["task", "constraints"]',
            default='["task", "constraints", "approvals", "authority", "open_calls", "plan"]',
        ),
        Key(
            "window",
            Whole(least=1, units=True),
            "The window in tokens to reckon with, if it is to be smaller than the model's.",
            "32000",
        ),
        Key(
            "failures",
            Whole(1, 100),
            "After so many compactions in a row that came to nothing, the next ones are `context.stuck` "
            "at once, until a reply comes or a person asks.",
            "3",
            default="3",
        ),
        Key(
            "reserve",
            Whole(least=1, units=True),
            "The tokens that prompt and tools must leave for a message and its reply. Without it an "
            "eighth of the window, and at most 1024.",
            "1024",
        ),
        Key(
            "summary_share",
            Share(),
            "The most that a summary takes of the room beside the pins.",
            "0.5",
            default="0.9",
        ),
        Key(
            "mask_over",
            Whole(least=1, units=True),
            "Outputs of tools of more tokens are shown shorter before anything leaves the view.",
            "200",
            default="200",
        ),
        Key("keep_newest", Whole(1, 1_000), "So many of the newest units stay.", "1", default="1"),
        Key(
            "max_lines",
            Whole(1, 10_000),
            "The most lines of a summary; more are counted and not shown.",
            "200",
            default="200",
        ),
        Key(
            "half_life",
            Whole(1, 1_000_000),
            "After so many units half of the worth of being new is gone.",
            "8",
            default="8",
        ),
        Key(
            "weights",
            Record("weights"),
            "What each sort of unit is worth when it is chosen what stays.",
            '{"error": 0.5}',
        ),
    ),
)
_WEIGHTS: Final = Table(
    "weights",
    "What each sort of unit is worth when compaction chooses what stays, between 0 and 1.",
    (
        Key("instruction", Share(), "What a person said.", "0.5", default="0.5"),
        Key("constraint", Share(), "What must, or must never, be done.", "0.7", default="0.7"),
        Key("approval", Share(), "What a person decided about a call.", "0.7", default="0.7"),
        Key("plan", Share(), "A plan of which something is still to be done.", "0.6", default="0.6"),
        Key("open_task", Share(), "Work that is not done.", "0.5", default="0.5"),
        Key("error", Share(), "A failure that nothing later has made good.", "0.3", default="0.3"),
        Key("decision", Share(), "What the model decided, and why.", "0.2", default="0.2"),
        Key("referred", Share(), "What later work refers to; the most of it.", "0.4", default="0.4"),
        Key("recency", Share(), "What is new; the newest unit gets all of it.", "0.2", default="0.2"),
    ),
)

_RULES: Final = Many(Record("rule"))
_AUTHORITY: Final = Table(
    "authority",
    "The authority envelope: deny wins over ask, ask over allow.",
    (
        Key("allow", _RULES, "Calls that run at once.", '[{"tools": ["read_file"]}]', default="[]"),
        Key("ask", _RULES, "Calls a person is asked about.", '[{"tools": ["shell"]}]', default="[]"),
        Key(
            "deny",
            _RULES,
            "Calls that never run, whatever else allows them.",
            '[{"tools": ["*"], "paths": ["**/.env"]}]',
            default="[]",
        ),
    ),
)
_RULE: Final = Table(
    "rule",
    "A rule of the envelope: all of its keys must match. `*` and `?` are wildcards.",
    (
        Key("tools", _GLOBS, "Globs over the names of declared tools.", '["read_file"]', True),
        Key(
            "paths",
            _GLOBS,
            "Globs over the paths a call names, below the work directory; `**` is any number of folders.",
            '["src/**"]',
        ),
        Key("commands", _GLOBS, "Globs over the command line of a call.", '["git status*"]'),
        Key("reason", TEXT, "Why; shown to the person and to the model.", '"holds secrets"'),
        ACCEPT,
    ),
)

TABLES: Final[dict[str, Table]] = {
    table.name: table
    for table in (
        _TOP,
        _INPUT,
        _VAR,
        *WORK_TABLES,
        _GUIDANCE,
        _BUDGETS,
        _CONTEXT,
        _WEIGHTS,
        _AUTHORITY,
        _RULE,
        *STATE_TABLES,
    )
}

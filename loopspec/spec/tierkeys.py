"""Tier keys: the tables of a model's tiers, their rules, and the outbox.

Rules of this file: those of `keys`, which joins these tables with its own.
"""

from typing import Final

from loopspec.spec import literals
from loopspec.spec.forms import (
    Bag,
    Duration,
    Either,
    Flag,
    Key,
    Many,
    Record,
    Share,
    Table,
    Text,
    Whole,
    choice,
)
from loopspec.spec.statekeys import ACCEPT, PRIVACY, TEXT

_REASON: Final = choice(
    {
        "schema": "The reply is no JSON that fits `reply_schema`.",
        "refusal": "The model, or its provider's filter, would not answer.",
        "low_confidence": "The confidence that was told is below `confidence`.",
        "tool_need": "The reply asks for a tool that was not offered.",
    },
    "a reason",
)
MODEL_KEYS: Final = (
    Key(
        "tiers",
        Many(Record("tier"), least=1),
        "Instead of `use`: several models, the cheapest first, of which the first is asked that may see "
        "the conversation and can be asked now.",
        '[{"name": "device", "use": "local/qwen3-1.7b"}]',
    ),
    Key(
        "escalate",
        Many(Either(scalar=_REASON, map=Record("escalation"))),
        "Why the next tier is asked after one has answered, or has failed so often. By default for every "
        "reason, and after two failures.",
        '["schema", {"failures": 2}]',
    ),
    Key(
        "reply_schema",
        Bag(),
        "A JSON Schema that a reply without calls must fit, as JSON; one that does not has the fault "
        "`schema`.",
        '{"type": "object", "required": ["total"]}',
    ),
    Key(
        "confidence",
        Share(),
        "The least confidence of a reply, where one is told; less is the fault `low_confidence`.",
        "0.6",
    ),
    Key(
        "privacy",
        PRIVACY,
        "The least class of what this model is asked, whatever the inputs say.",
        '"internal"',
    ),
    Key(
        "outbox",
        Record("outbox"),
        "Lets work that only lacks the network wait for it. Without this key it fails at once.",
        '{"expires": "24h"}',
    ),
)

_TIER: Final = Table(
    "tier",
    "One tier of a model: a model, or rules that answer without one, and what it takes to ask it.",
    either=("use", "rules"),
    keys=(
        Key("name", TEXT, "What people call the tier.", '"device"', True),
        Key("use", Text("a model"), "The provider and its model.", '"local/qwen3-1.7b"'),
        Key(
            "rules",
            Many(Record("tier_rule"), least=1),
            "Instead of `use`: patterns and what is answered, tried in order against the last message of "
            "a person. What no rule answers goes to the next tier.",
            '[{"match": "(?i)^ping$", "reply": "pong"}]',
        ),
        Key(
            "privacy",
            PRIVACY,
            "The highest class it may see. By default rules and scripted models may see everything, all "
            "others only what is public.",
            '"secret"',
        ),
        Key(
            "network",
            Flag(),
            "Whether it needs the network. By default all do but rules, scripted and local models.",
            "true",
        ),
        Key(
            "memory",
            Text("a size such as `2GB`", literals.SIZE, code="LS114", loose=True),
            "How much memory must be free to ask it.",
            '"2GB"',
        ),
        Key(
            "latency",
            Duration(),
            "How long it usually takes; it is passed over when less is left of the budget `elapsed`.",
            '"20s"',
        ),
        Key(
            "tools",
            Flag(),
            "Whether it can propose calls; one that cannot is passed over in states that offer tools.",
            "false",
            default="true",
        ),
        Key("window", Whole(least=1, units=True), "Its context window in tokens.", "8192"),
        Key(
            "params",
            Bag(),
            "Further parameters for its provider, over those of the model.",
            '{"temperature": 0}',
            default="{}",
        ),
    ),
)
_RULE: Final = Table(
    "tier_rule",
    "A rule of a tier: when it matches, it answers.",
    (
        Key(
            "match",
            TEXT,
            "A regular expression, looked for anywhere in the message; `(?i)` in front ignores case. It "
            "takes linear time: there are no references to groups and no looking ahead.",
            '"(?i)^what time"',
            True,
        ),
        Key(
            "reply",
            TEXT,
            "What is answered, as a Jinja2 text over `groups` and, after a call, its `result`.",
            '"It is {{ result }}."',
        ),
        Key("call", Record("tier_call"), "The call that is proposed first.", '{"tool": "read_file"}'),
        Key("confidence", Share(), "How sure the rule is of itself.", "0.9"),
    ),
)
_CALL: Final = Table(
    "tier_call",
    "A call that a rule proposes. It goes through the gate like any other.",
    (
        Key("tool", Text("a tool"), "The declared tool.", '"read_file"', True),
        Key(
            "args",
            Bag(),
            "Its arguments; texts in them are Jinja2 over `groups`.",
            '{"path": "{{ groups.path }}"}',
            default="{}",
        ),
    ),
)
_ESCALATION: Final = Table(
    "escalation",
    "After how many failed attempts the next tier is asked.",
    (Key("failures", Whole(1, 100), "Failed attempts of one tier.", "2", True),),
)
_OUTBOX: Final = Table(
    "outbox",
    "How long work waits for the network, and how often it looks for it.",
    (
        Key(
            "expires",
            Duration(),
            "After so long it has failed: `model.failed` with the reason `expired`.",
            '"24h"',
            default='"24h"',
        ),
        Key(
            "poll",
            Duration(1_000_000),
            "How often the network is looked for; a wake or a resume looks at once.",
            '"30s"',
            default='"30s"',
        ),
        ACCEPT,
    ),
)
TIER_TABLES: Final = (_TIER, _RULE, _CALL, _ESCALATION, _OUTBOX)

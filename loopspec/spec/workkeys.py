"""Work keys: the tables of models and tools, and of how long they may take.

Rules of this file: those of `keys`, which joins these tables with its own.
"""

from typing import Final

from loopspec.spec.forms import Bag, Duration, Key, Many, Record, Table, Text, Whole, choice
from loopspec.spec.statekeys import ACCEPT, TEXT
from loopspec.spec.tierkeys import MODEL_KEYS, TIER_TABLES

_MODEL: Final = Table(
    "model",
    "A declared model: which one to call, how long to wait, how often to try again.",
    (
        Key(
            "use",
            Text("a model"),
            "The provider and its model, as `provider/model`; `scripted/FILE` replays written replies.",
            '"openai/gpt-5-mini"',
        ),
        Key(
            "fallbacks",
            Many(Text("a model")),
            "Models to go on with, in order, when every attempt of this one has failed.",
            '["openai/gpt-5-mini"]',
            default="[]",
        ),
        Key("deadlines", Record("deadlines"), "How long to wait for the model.", '{"total": "10m"}'),
        Key("retry", Record("retry"), "How often to try again after a failure.", '{"attempts": 5}'),
        Key(
            "breaker",
            Record("breaker"),
            "When a model that fails again and again is left out for a while.",
            '{"failures": 5, "cooldown": "5m"}',
        ),
        Key(
            "window",
            Whole(least=1, units=True),
            "The context window in tokens, where the provider's tables do not know it.",
            "200000",
        ),
        Key(
            "params",
            Bag(),
            "Further parameters for the provider, passed on as they are.",
            '{"temperature": 0.2}',
            default="{}",
        ),
        Key(
            "unpriced",
            choice(
                {
                    "allow": "Runs; the budget counts the calls whose price is known.",
                    "refuse": "Refuses to start, because the budget could not be kept.",
                }
            ),
            "What a USD budget does with this model if its price is unknown.",
            '"allow"',
            default='"refuse"',
        ),
        Key(
            "cache",
            Duration(),
            "How long a reply to the very same request may be replayed from the cache; without it never.",
            '"24h"',
        ),
        *MODEL_KEYS,
        ACCEPT,
    ),
    either=("use", "tiers"),
)
_DEADLINES: Final = Table(
    "deadlines",
    "How long to wait for a model; a missed deadline is a failed attempt.",
    (
        Key("connect", Duration(), "The longest wait for the connection.", '"15s"', default='"15s"'),
        Key(
            "first_chunk",
            Duration(),
            "The longest wait from the request to the first piece of the reply.",
            '"60s"',
            default='"60s"',
        ),
        Key(
            "between_chunks",
            Duration(),
            "The longest silence between two pieces of the reply.",
            '"90s"',
            default='"90s"',
        ),
        Key("total", Duration(), "The longest time for the whole reply.", '"10m"', default='"10m"'),
    ),
)
_RETRY: Final = Table(
    "retry",
    "How often a failed attempt is repeated: after its Retry-After and, with full jitter, a wait that "
    "doubles.",
    (
        Key("attempts", Whole(1, 100), "Attempts per model, the first included.", "5", default="5"),
        Key(
            "base",
            Duration(),
            "The longest wait before the second attempt, besides what the server asks for; it doubles "
            "with each further one.",
            '"1s"',
            default='"1s"',
        ),
        Key(
            "cap",
            Duration(),
            "The longest wait before any attempt, besides what the server asks for.",
            '"60s"',
            default='"60s"',
        ),
        Key(
            "longest",
            Duration(0),
            "The longest Retry-After that is waited for; after a longer one the next fallback is asked.",
            '"5m"',
            default='"5m"',
        ),
        Key(
            "budget",
            Duration(0),
            "How long all waits of one call may take together while the machine is awake.",
            '"10m"',
            default='"10m"',
        ),
    ),
)
_BREAKER: Final = Table(
    "breaker",
    "When a model that fails again and again is left out for a while, if another one can be asked.",
    (
        Key(
            "failures",
            Whole(0, 1000),
            "After how many failures of the service in a row; `0` is never.",
            "5",
            default="5",
        ),
        Key(
            "cooldown",
            Duration(),
            "How long the model is left out; then one attempt shows whether it is back.",
            '"5m"',
            default='"5m"',
        ),
    ),
)

_TOOL: Final = Table(
    "tool",
    "A declared tool: what the model may propose under this name.",
    (
        Key("use", Text("a tool"), "Which installed tool this is.", '"files.read"', True),
        Key(
            "description",
            TEXT,
            "What the model is told about the tool, instead of the tool's own words.",
            '"Reads a file of the project."',
        ),
        Key(
            "effect",
            choice(
                {
                    "read": "Changes nothing; neighbouring reads run together.",
                    "write": "Changes the workspace, which a boundary can put back.",
                    "irreversible": "Changes what nobody can put back.",
                }
            ),
            "What a call may change. It may only be made stricter than the tool says of itself, which is "
            "the default.",
            '"write"',
        ),
        Key(
            "after_crash",
            choice(
                {
                    "rerun": "Runs the call again.",
                    "probe": "Asks the tool whether the call happened.",
                    "ask": "Asks a person: `effect.lost` is raised.",
                }
            ),
            "What a restart does with a call that had begun and has no answer; by default what the tool "
            "says of itself.",
            '"ask"',
        ),
        Key(
            "deadlines",
            Record("tool_deadlines"),
            "How long a call may take; by default what the tool says of itself.",
            '{"total": "10m"}',
        ),
        Key(
            "with",
            Bag(),
            "The tool's own configuration; its keys are those of the tool in `use`.",
            '{"env": ["CI"]}',
            default="{}",
        ),
        ACCEPT,
    ),
    reserved=("on_stall",),
)
_TOOL_DEADLINES: Final = Table(
    "tool_deadlines",
    "How long a call of a tool may take; a call that misses one is ended and its output kept.",
    (
        Key("total", Duration(), "The longest time for the whole call.", '"10m"'),
        Key("silence", Duration(0), "The longest time without any output; `0s` is off.", '"60s"'),
    ),
)

WORK_TABLES: Final = (_MODEL, _DEADLINES, _RETRY, _BREAKER, *TIER_TABLES, _TOOL, _TOOL_DEADLINES)

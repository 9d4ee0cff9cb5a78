"""State keys: the tables of states, transitions and actions, and the forms they share with others.

Rules of this file: those of `keys`, which joins these tables with its own.
"""

from collections.abc import Mapping
from typing import Any, Final

from loopspec.spec.forms import (
    DESCRIPTOR,
    EVENT,
    STATE,
    VARIABLE,
    Either,
    Flag,
    Key,
    Many,
    Named,
    Record,
    Table,
    Text,
    choice,
)

CEL: Final = Text("a CEL expression", loose=True)
TEXT: Final = Text("a text", loose=True)
VARIABLES: Final = Text("a name of letters, digits and `_`", VARIABLE, code="LS111")
TARGET: Final = Text("the name of a state")
STATES: Final = Named(
    Text("a state name of small letters, digits and `_`", STATE, code="LS111"),
    Record("state"),
    least=1,
)
ACCEPT: Final = Key(
    "accept",
    Named(Text("a warning's code such as `LS706`", "LS[0-9]{3}", code="LS113"), TEXT, least=1),
    "Warnings that are accepted here, each with the reason.",
    '{"LS706": "a rollback is finished once begun"}',
)
DESCRIPTORS: Final = Text(
    "an event such as `model.replied`, `rollback.*` or `*`", DESCRIPTOR, code="LS205"
)
_SAY: Final = Either(scalar=TEXT, map=Record("say"))
_MOVE: Final = Either(scalar=TARGET, map=Record("transition"))
MOVES: Final = Either(scalar=TARGET, map=Record("transition"), list=Many(_MOVE, least=1))
_ACTIONS: Final = Many(Record("action"))

_TYPES: Final = choice(
    {
        "compound": "Has children, one of which is active; the type of every state with `states`.",
        "parallel": "Has at least two regions, all active at once.",
        "history": "Leads back to where the state around it was when it was left.",
        "final": "Ends the state around it, or the session.",
    }
)

PRIVACY: Final = choice(
    {
        "public": "Anybody may see it.",
        "internal": "It stays with services that the spec trusts with it.",
        "secret": "It stays on this machine, or with a service that is trusted with everything.",
    },
    "a class of privacy",
)

_STATE: Final = Table(
    "state",
    "A state: what happens while it is active, and where events lead from it. Further keys belong "
    "to its kind.",
    (
        Key(
            "kind",
            Text("a kind"),
            "What the state does while it is active; a state without a kind does nothing and waits.",
            '"model"',
        ),
        Key(
            "type",
            _TYPES,
            "The type of the state. Left out, a state with `states` is compound and any other atomic.",
            '"final"',
        ),
        Key("description", TEXT, "What the state is for, in a sentence.", '"Waits for a person."'),
        Key(
            "initial",
            TARGET,
            "The child that is entered first; every compound state names one.",
            '"streaming"',
        ),
        Key(
            "states",
            STATES,
            "The children of a compound state or the regions of a parallel one, by name.",
            '{"inner": {"type": "final"}}',
        ),
        Key(
            "on",
            Named(DESCRIPTORS, MOVES),
            "Where events lead: an event's name (`model.replied`), a family (`rollback.*`) or any event "
            "(`*`), each with a state or with transitions tried in order. Inner states go first.",
            '{"user.message": "working"}',
        ),
        Key(
            "always",
            MOVES,
            "Transitions taken without an event, as soon as the state is entered and a guard holds.",
            '{"target": "ready"}',
        ),
        Key(
            "after",
            Named(
                Text("a duration such as `90s`", code="LS105"),
                Either(scalar=TARGET, map=Record("after"), list=Many(_MOVE, least=1)),
            ),
            "Transitions taken when the state has been active for so long without a break.",
            '{"24h": "streaming"}',
        ),
        Key(
            "entry",
            _ACTIONS,
            "Actions done each time the state is entered.",
            '[{"mark": "begun"}]',
        ),
        Key("exit", _ACTIONS, "Actions done each time the state is left.", '[{"log": "over"}]'),
        Key(
            "done",
            MOVES,
            "Where a compound state leads when a final child is reached, or a parallel one when every "
            "region has ended.",
            '"ready"',
        ),
        Key(
            "model",
            Text("a model"),
            "The declared model to call, in a state that calls one; needed when several are declared.",
            '"main"',
        ),
        Key(
            "prompt",
            Text("a prompt"),
            "The declared prompt the model is called with, rendered anew for each call.",
            '"system"',
        ),
        Key(
            "tools",
            Many(Text("a tool")),
            "The declared tools the model may propose here. Left out, it may propose all of them.",
            '["read_file"]',
        ),
        Key(
            "smaller",
            Either(map=Record("smaller"), list=Many(Record("smaller"), least=1)),
            "How to ask a model whose window the prompt and the tools do not fit: a smaller profile, or "
            "several, of which the first that fits is taken.",
            '{"tools": ["read_file"]}',
        ),
        Key(
            "boundary",
            choice({"workspace": "The files of the work directory."}),
            "Takes a rollback point on entry, before anything writes, in a state that runs tools.",
            '"workspace"',
        ),
        Key(
            "deep",
            Flag(),
            "Whether a history state restores every descendant that was active, not the child alone.",
            "true",
            default="false",
        ),
        Key(
            "target",
            TARGET,
            "Where a history state leads when there is no history yet; every history state names it.",
            '"streaming"',
        ),
        Key(
            "outcome",
            choice({"done": "The work succeeded.", "failed": "It did not: `loopspec run` exits with 1."}),
            "How a session that ends or rests here has gone, for whoever started it.",
            '"failed"',
            default='"done"',
        ),
        Key(
            "privacy",
            PRIVACY,
            "The class that the conversation has from here on, for good: tiers that may not see it "
            "are asked no more.",
            '"secret"',
        ),
        ACCEPT,
    ),
    open=True,
)

WORK_KEYS: Final = {
    "model": "call_model",
    "prompt": "call_model",
    "tools": "call_model",
    "smaller": "call_model",
    "boundary": "run_tool",
}
"""Keys that only a kind with this effect has, unless another kind's own schema declares them."""


def keys_apart(effect: str, schema: Mapping[str, Any]) -> frozenset[str]:
    """The keys of work that a kind has as keys of its own: its schema (of its configuration) declares
    them, and its effect does not bring them."""
    own = schema.get("properties", {})
    return frozenset(key for key, brings in WORK_KEYS.items() if key in own and brings != effect)


_SMALLER: Final = Table(
    "smaller",
    "A smaller profile of a state that calls a model. What is left out is as in the state.",
    (
        Key(
            "prompt",
            Text("a prompt"),
            "The declared prompt to call the model with, a shorter one.",
            '"short"',
        ),
        Key(
            "tools",
            Many(Text("a tool")),
            "The declared tools the model may propose, fewer than in the state.",
            '["read_file"]',
        ),
    ),
)
_TRANSITION_KEYS: Final = (
    Key(
        "target",
        TARGET,
        "The state to go to: one beside this state or beside a state around it, or a path such as "
        "`working.resume`. Without it no state is left.",
        '"ready"',
    ),
    Key(
        "guard",
        CEL,
        "A CEL condition over `event`, `vars`, `inputs` and `usage`; the transition is taken only if it "
        "is true. A guard that errs raises `error.execution`.",
        '"vars.attempts < 3"',
    ),
    Key(
        "actions",
        _ACTIONS,
        "Actions done, in order, between leaving the old state and entering the new one.",
        '[{"assign": {"attempts": "0"}}]',
    ),
    Key(
        "internal",
        Flag(),
        "Whether the state itself stays active, unleft and unentered, when the target is inside it.",
        "true",
        default="false",
    ),
    Key(
        "say",
        _SAY,
        "A text to show after the actions; written as a map it can go to the model too.",
        '"Here we go."',
    ),
    ACCEPT,
)
_TRANSITION: Final = Table(
    "transition",
    "One transition. Of several, the first whose guard holds is taken; a list ends with one that has "
    "no guard.",
    _TRANSITION_KEYS,
)
_AFTER: Final = Table(
    "after",
    "A transition after a time; it has the keys of a transition and a clock.",
    (
        *_TRANSITION_KEYS,
        Key(
            "clock",
            choice(
                {
                    "wall": "Time passes as on the clock on the wall, also while the machine sleeps.",
                    "awake": "Only time in which the machine was awake counts.",
                }
            ),
            "Which clock measures the time.",
            '"awake"',
            default='"wall"',
        ),
    ),
)
_SAY_TABLE: Final = Table(
    "say",
    "A text to show, with its reader.",
    (
        Key(
            "text",
            TEXT,
            "A Jinja2 text over `event`, `vars`, `inputs`, `usage` and `session`.",
            '"Done: {{ vars.attempts }} attempts."',
            True,
        ),
        Key(
            "to",
            choice(
                {
                    "person": "Shown to the person, unknown to the model.",
                    "model": "Shown, and put into the conversation as a message to the model.",
                }
            ),
            "Who reads the text.",
            '"model"',
            default='"person"',
        ),
    ),
)
_ACTION: Final = Table(
    "action",
    "One action: a map with exactly one of these keys.",
    (
        Key(
            "assign",
            Named(VARIABLES, CEL, least=1),
            "Gives declared vars the values of CEL expressions, in order; a later one sees the earlier.",
            '{"attempts": "vars.attempts + 1"}',
        ),
        Key("say", _SAY, "Shows a text.", '"Working on it."'),
        Key(
            "raise",
            Text("an event name such as `work.ready`", EVENT, (), "LS311"),
            "Raises an event of your own, which `on` can route; names of loopspec are taken.",
            '"work.ready"',
        ),
        Key(
            "mark",
            Text("a name", "[A-Za-z][A-Za-z0-9_.-]{0,63}", code="LS111"),
            "Notes in the journal that this point was passed.",
            '"tests-green"',
        ),
        Key(
            "log",
            TEXT,
            "Writes a Jinja2 text to the journal, and shows it to nobody.",
            '"attempt {{ vars.attempts }}"',
        ),
    ),
    single=True,
)

STATE_TABLES: Final = (_STATE, _SMALLER, _TRANSITION, _AFTER, _SAY_TABLE, _ACTION)

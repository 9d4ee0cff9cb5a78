"""State keys: the tables of states, transitions and actions, and the forms they share with others.

Rules of this file: those of `keys`, which joins these tables with its own.
"""

from typing import Final

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
_SAY: Final = Either(scalar=TEXT, map=Record("say"))
_MOVE: Final = Either(scalar=TARGET, map=Record("transition"))
_MOVES: Final = Either(scalar=TARGET, map=Record("transition"), list=Many(_MOVE, least=1))
_ACTIONS: Final = Many(Record("action"))

_STATE: Final = Table(
    "state",
    "A state. Further keys belong to its kind.",
    (
        Key("kind", Text("a kind"), "What the state does while it is active.", '"model"'),
        Key(
            "type",
            Text("a choice", choices=("compound", "parallel", "history", "final")),
            "The type of the state; a state with `states` is compound, any other atomic.",
            '"final"',
        ),
        Key("description", TEXT, "What the state is for.", '"Waits for a person."'),
        Key("initial", TARGET, "The child that is entered first.", '"streaming"'),
        Key(
            "states",
            STATES,
            "The children of a compound or parallel state.",
            '{"inner": {"type": "final"}}',
        ),
        Key(
            "on",
            Named(
                Text("an event such as `model.replied`, `tool.*` or `*`", DESCRIPTOR, (), "LS205"),
                _MOVES,
            ),
            "Where events lead.",
            '{"user.message": "working"}',
        ),
        Key("always", _MOVES, "Transitions taken without an event.", '{"target": "ready"}'),
        Key(
            "after",
            Named(
                Text("a duration such as `90s`", code="LS105"),
                Either(
                    scalar=TARGET,
                    map=Record("after"),
                    list=Many(_MOVE, least=1),
                ),
            ),
            "Transitions taken when the state has been active for so long.",
            '{"24h": "streaming"}',
        ),
        Key("entry", _ACTIONS, "Actions when the state is entered.", '[{"mark": "begun"}]'),
        Key("exit", _ACTIONS, "Actions when the state is left.", '[{"log": "over"}]'),
        Key("done", _MOVES, "Where a compound state leads when it is finished.", '"ready"'),
        Key("model", Text("a model"), "The declared model to call.", '"main"'),
        Key("prompt", Text("a prompt"), "The declared prompt to call it with.", '"system"'),
        Key("tools", Many(Text("a tool")), "The declared tools it may propose.", '["read_file"]'),
        Key(
            "boundary",
            Text("a choice", choices=("workspace",)),
            "Take a rollback point on entry, before anything writes.",
            '"workspace"',
        ),
        Key("deep", Flag(), "Whether history restores descendants too.", "true"),
        Key("target", TARGET, "Where history leads at first.", '"streaming"'),
        Key(
            "outcome",
            Text("a choice", choices=("done", "failed")),
            "How a session that ends or rests here has gone.",
            '"failed"',
        ),
    ),
    open=True,
)

_TRANSITION_KEYS: Final = (
    Key("target", TARGET, "The state to go to; without it nothing is left.", '"ready"'),
    Key("guard", CEL, "A CEL condition.", '"size(event.calls) > 0"'),
    Key("actions", _ACTIONS, "Actions, in order.", '[{"assign": {"attempts": "0"}}]'),
    Key("internal", Flag(), "Do not leave the state if the target is inside it.", "true"),
    Key("say", _SAY, "A text to show, after the actions.", '"Here we go."'),
)
_TRANSITION: Final = Table(
    "transition", "One transition; the first whose guard holds is taken.", _TRANSITION_KEYS
)
_AFTER: Final = Table(
    "after",
    "A transition after a time.",
    (
        *_TRANSITION_KEYS,
        Key(
            "clock",
            Text("a choice", choices=("wall", "awake")),
            "Whether time counts while the machine sleeps (`wall`, the default) or not.",
            '"awake"',
        ),
    ),
)
_SAY_TABLE: Final = Table(
    "say",
    "A text to show.",
    (
        Key("text", TEXT, "A Jinja2 text.", '"Done: {{ vars.attempts }} attempts."', True),
        Key(
            "to",
            Text("a choice", choices=("person", "model")),
            "Who reads it; `model` puts it into the conversation as well.",
            '"model"',
        ),
    ),
)
_ACTION: Final = Table(
    "action",
    "One action.",
    (
        Key(
            "assign",
            Named(VARIABLES, CEL, least=1),
            "Give vars the values of CEL expressions, in order.",
            '{"attempts": "vars.attempts + 1"}',
        ),
        Key("say", _SAY, "Show a text.", '"Working on it."'),
        Key(
            "raise",
            Text("an event name such as `work.ready`", EVENT, (), "LS311"),
            "Raise an event of your own.",
            '"work.ready"',
        ),
        Key(
            "mark",
            Text("a name", "[A-Za-z][A-Za-z0-9_.-]{0,63}", code="LS111"),
            "Note in the journal that this point was passed.",
            '"tests-green"',
        ),
        Key("log", TEXT, "Write a text to the journal only.", '"{{ event.reason }}"'),
    ),
    single=True,
)

STATE_TABLES: Final = (_STATE, _TRANSITION, _AFTER, _SAY_TABLE, _ACTION)

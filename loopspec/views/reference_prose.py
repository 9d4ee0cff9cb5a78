"""Reference prose: what the tables of the language cannot say, in words, with examples that run.

Rules of this file:
1. Only what no table, class or constant says is written here; numbers and names are read from them.
2. Every example is marked with what it is part of, and a test compiles it in its place.
"""

from typing import Final

from jinja2 import Environment

from loopspec.machine import guards, texts
from loopspec.machine.celtypes import MAX_DEPTH, USAGE_FIELDS
from loopspec.spec import literals
from loopspec.spec.helpwords import CEL_TYPES
from loopspec.spec.states import FITS
from loopspec.views.reference_page import bullets, code, fence, table
from loopspec.views.words import duration, usd

SESSION_FIELDS: Final = {
    "id": "the session's id",
    "name": "the spec's name",
    "workdir": "the directory in which the tools work",
}
_USAGE: Final = {
    "turns": "replies of models so far",
    "calls": "calls of tools so far",
    "input_tokens": "tokens sent",
    "output_tokens": "tokens received",
    "tokens": "both together",
    "context": "tokens of what the model sees now",
    "cost_usd": "what was spent, in USD",
    "priced": "whether the price of every call is known",
}
_DURATIONS: Final = ("500ms", "90s", "10m", "1.5h", "7d")
_COUNTS: Final = ("500000", "500k", "1.5M")
_AMOUNTS: Final = ("3.00", "0.0025")
_SHARES: Final = ("0.80", "1")

WHOLE: Final = """\
loopspec: 1
name: greeter
version: 1.0.0
models:
  main: {use: openai/gpt-5-mini}
prompts:
  system: Answer in one sentence.
initial: ready
states:
  ready:
    kind: input
    on: {user.message: answering}
  answering:
    kind: model
    prompt: system
    on:
      model.replied: ready
      model.overflowed: ready
      model.failed: {target: ready, say: "No reply: {{ event.reason }}"}
      context.pressed: ready
"""

_STATES: Final = {
    "atomic": """\
waiting:
  kind: wait
  for: 30s
  on: {wait.over: working}
""",
    "compound": """\
checking:
  initial: first
  done: ready
  states:
    first: {kind: wait, for: 30s, on: {wait.over: second}}
    second: {type: final}
""",
    "parallel": """\
watching:
  type: parallel
  done: ready
  states:
    clock:
      initial: ticking
      states:
        ticking: {after: {10m: rung}}
        rung: {type: final}
    person:
      initial: silent
      states:
        silent: {on: {user.message: heard}}
        heard: {type: final}
""",
    "history": """\
editing:
  initial: drafting
  states:
    drafting: {on: {user.message: reviewing}}
    reviewing: {on: {user.resumed: ready}}
    back: {type: history, deep: true, target: drafting}
""",
    "final": """\
given_up:
  type: final
  outcome: failed
""",
}
_TYPES: Final = {
    "atomic": "Has no children. It does what its kind does, or, without a kind, waits for events. A "
    "run may rest in a state without a kind, and `outcome` says what that means.",
    "compound": "Has children, exactly one of which is active. It is done when a final child is reached.",
    "parallel": "Has regions that are all active together. It is done when every region is done. Only "
    "one region may use the conversation.",
    "history": "Is never active itself: a transition to it leads to the child that was active when "
    "the state around it was last left, and, with `deep`, to all that was active inside. Before there "
    "is any history it leads to its `target`.",
    "final": "Ends the state around it; at the root it ends the session with its `outcome`.",
}


def literal_parts() -> list[str]:
    """The section about literals; each example's value is read by the reader itself."""
    rows = [(f"`{t}`", "a duration", duration(literals.duration(t) or 0)) for t in _DURATIONS]
    rows += [(f"`{t}`", "a count", f"{literals.count(t) or 0:,}") for t in _COUNTS]
    rows += [(f"`{t}`", "an amount of USD", usd(literals.usd(t) or 0)) for t in _AMOUNTS]
    rows += [(f"`{t}`", "a share", f"{(literals.share(t) or 0) / 10_000:g} %") for t in _SHARES]
    return [
        "## Literals",
        table(("Written", "Is", "Means"), rows),
        bullets(
            [
                "A duration has one of the units `ms`, `s`, `m`, `h` and `d`, and always has one. It "
                "may have a fraction, down to a whole microsecond.",
                "A count may end in `k` (thousands) or `M` (millions).",
                "Money is kept as whole nano-USD: at most nine places. A share has at most six places.",
                "Keys are text: `on`, `yes` and `24h` need no quotes. Values follow YAML 1.2: only "
                "`true` and `false` are truth values, and `010` or `1:30` are texts.",
                "Not accepted: anchors and aliases, tags, more than one document, a key twice, tabs as "
                "indentation.",
            ]
        ),
    ]


def type_parts() -> list[str]:
    """The section about the types of states."""
    parts = ["## Types of states", "A key that does not fit the state's type is refused, never ignored."]
    for name, words in _TYPES.items():
        parts += [f"### {name.capitalize()}", words, f"Its keys: {code(sorted(FITS[name]))}."]
        parts.append(fence("states", _STATES[name]))
    return parts


def transition_parts() -> list[str]:
    """The section about how transitions are chosen."""
    return [
        "## How transitions are chosen",
        bullets(
            [
                "An event is offered to the innermost active states first, then to the states around "
                "them. The first state with a transition for it that is enabled takes it.",
                "Transitions of one event are tried in order; the first whose guard holds is taken. A "
                "list under `on`, `after` or `done` ends with a transition without a guard, so that "
                "an event that was routed always counts.",
                "A guard that errs is not false: no later transition is tried and `error.execution` "
                "is raised. If nobody routes that, the session parks as stuck.",
                "Order of acts: `exit` of the states that are left, innermost first; the transition's "
                "`actions`, then its `say`; `entry` of the states that are entered, outermost first.",
                "A transition with a target inside its own state leaves and enters that state, unless "
                "it is `internal`. A transition without a target leaves nothing.",
                "`always` is asked after every event and whenever its state is entered, until none "
                "holds.",
                "`after` counts from the moment its state is entered; leaving the state ends the count.",
                "A target is looked for beside the state itself, then beside each state around it. A "
                "path such as `working.resume` names a state inside another.",
                "An ending carries the id of its effect, and is seen by the state whose work ended "
                "and by those around it. What comes too late, after its state was left, is noted and "
                "moves nothing.",
            ]
        ),
        fence(
            "states",
            """\
trying:
  entry: [{assign: {attempts: vars.attempts + 1}}]
  after: {5m: {target: ready, say: "Nobody came."}}
  on:
    user.message:
      - {guard: vars.attempts < 3, target: working}
      - {target: ready, actions: [{assign: {attempts: "0"}}, {mark: gave-up}]}
    rollback.*: {target: ready, say: "The rollback has ended."}
    "*": {actions: []}
""",
        ),
    ]


def guard_parts() -> list[str]:
    """The section about CEL."""
    words = sorted({(name, CEL_TYPES[name]) for name in ("string", "int", "bool", "number", "json")})
    return [
        "## Guards and assigned values: CEL",
        "A guard is an expression of the Common Expression Language that gives true or false; "
        "`assign` gives a var the value of one. All of them are compiled and their types checked when "
        f"the spec is read. An expression has at most {guards.MAX_SOURCE:,} characters; a var holds at "
        f"most {guards.MAX_VALUE:,} characters.",
        table(
            ("Name", "Holds"),
            [
                ("`event`", "the fields of the one event that leads here; see [events](events.md)"),
                ("`inputs`", "the declared inputs"),
                ("`vars`", "the declared vars, as the actions before have left them"),
                ("`usage`", "what the session has used so far"),
            ],
        ),
        "`event` is known under a single event's name. It is not known under a family such as "
        "`rollback.*`, under `*`, and in `always`, `after`, `entry` and `exit`: keep there in a var what "
        "you need.",
        table(("Declared type", "CEL type"), [(f"`{name}`", kind) for name, kind in words]),
        table(
            ("Field of `usage`", "Type", "Means"),
            [(f"`{n}`", CEL_TYPES[t], _USAGE[n]) for n, t in USAGE_FIELDS.items()],
        ),
        bullets(
            [
                "A field that does not exist is refused at load, with the fields that do.",
                "Whole numbers and doubles do not mix: compare a double with `1.0`, or write "
                "`double(…)`.",
                "A *list of calls* holds what the model proposed: `tool` (string), `args` (a map of "
                "any JSON), `problem` (string, empty if there is none).",
                "Any JSON is not checked inside: `event.calls[0].args.path` compiles whatever the "
                "tool takes, and errs when there is no such argument; ask "
                "`has(event.calls[0].args.path)` first.",
                f"JSON nested more than {MAX_DEPTH} deep cannot be read by guards.",
            ]
        ),
        fence(
            "on",
            """\
on:
  model.replied:
    - {guard: 'event.calls.exists(c, c.tool == "shell")', target: deciding}
    - {guard: usage.cost_usd > 1.0 && vars.attempts >= 2, target: ready}
    - {guard: 'inputs.task.contains("urgent") || size(event.text) == 0', target: working}
    - {target: ready, actions: [{assign: {attempts: vars.attempts + 1}}]}
""",
        ),
    ]


def text_parts() -> list[str]:
    """The section about Jinja2."""
    return [
        "## Texts: Jinja2",
        "Prompts, `say` and `log` are Jinja2 texts. They know `inputs`, `vars`, `usage` and "
        "`session`, and `event` where a guard knows it. A name that is not known is refused at load; "
        "a value that is not defined is an error when the text is made, never an empty text.",
        table(("Field of `session`", "Means"), [(f"`{n}`", m) for n, m in SESSION_FIELDS.items()]),
        bullets(
            [
                f"A text has at most {texts.MAX_SOURCE:,} characters and makes at most "
                f"{texts.MAX_OUTPUT:,}.",
                "Loops may be nested two deep. Texts include and import nothing.",
                "`*` and `%` are for numbers only, and there is no `**`.",
                f"Filters: {code(filters())}.",
                f"Methods of texts: {code(methods())}.",
            ]
        ),
        fence(
            "prompts",
            """\
briefing: |
  You work in {{ session.workdir }} on this task: {{ inputs.task | trim }}
  {% if vars.attempts > 0 %}
  {{ vars.attempts }} attempts have failed. Find another way.
  {% endif %}
""",
        ),
    ]


def filters() -> list[str]:
    """The filters that texts may use: those that compile."""
    every = Environment(autoescape=True).filters
    return sorted(n for n in every if texts.check(f"{{{{ inputs.x | {n} }}}}", {"inputs": "x"}) is None)


def methods() -> list[str]:
    """The methods of a string that texts may use: those that are not refused."""
    found = []
    for name in dir(str):
        try:
            texts.render("{{ x." + name + " }}", {"x": ""})
        except texts.TextError:
            continue
        found.append(name)
    return sorted(found)

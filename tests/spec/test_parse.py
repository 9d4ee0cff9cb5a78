"""What specs mean: targets, sugar, defaults, kinds, endings."""

import json
from pathlib import Path

import pytest

from loopspec.machine.model import Action, Machine, Place
from loopspec.spec.parse import Compiled

from .kit import HERE, KINDS, compiled

HEAD = "loopspec: 1\nname: small\nversion: 1.0.0\n"


def spec(body: str) -> Machine:
    """The machine of a spec that has no faults."""
    result = compiled(HEAD + body)
    assert result.diagnostics == []
    assert result.machine is not None
    return result.machine


def faults(body: str) -> list[tuple[str, int]]:
    """Codes and lines (of the body) of everything wrong with a spec."""
    return [(d.code, d.line - 3) for d in compiled(HEAD + body).diagnostics]


def bare(actions: tuple[Action, ...]) -> list[tuple[str, str, str, str]]:
    """Actions without their places."""
    return [(a.do, a.name, a.text, a.to) for a in actions]


def test_a_target_is_looked_for_beside_the_state_then_around_it() -> None:
    made = spec("""\
initial: a
states:
  a:
    initial: x
    on: {user.message: a.x}
    states:
      x: {on: {user.message: y, user.resumed: b, user.interrupted: b.x, host.woke: a}}
      y: {on: {user.message: x}}
  b:
    initial: x
    states:
      x: {on: {user.message: b, user.resumed: a.y}}
      b: {on: {user.message: x}}
""")
    assert [(t.source, t.target) for t in made.transitions] == [
        ("a", "a.x"),
        ("a.x", "a.y"),
        ("a.x", "b"),
        ("a.x", "b.x"),
        ("a.x", "a"),
        ("a.y", "a.x"),
        ("b.x", "b.b"),
        ("b.x", "a.y"),
        ("b.b", "b.x"),
    ]


def test_the_order_of_a_states_transitions_is_on_after_done_always() -> None:
    made = spec("""\
initial: work
states:
  work:
    initial: one
    always: {guard: usage.turns > 3, target: end}
    done: end
    after: {5m: end, 1h: {clock: awake, target: end, say: late}}
    on: {user.message: [{guard: usage.turns == 0, target: end}, work], user.resumed: end}
    states: {one: {on: {user.message: two}}, two: {type: final}}
  end: {type: final, outcome: failed}
""")
    assert [t.on for t in made.transitions] == [
        ("user.message",),
        ("user.message",),
        ("user.resumed",),
        ("after.work.0",),
        ("after.work.1",),
        ("done.state.work",),
        (),
        ("user.message",),
    ]
    assert made.states["work"].transitions == (0, 1, 2, 3, 4, 5, 6)
    assert made.states["work"].after == ("after.work.0", "after.work.1")
    timers = [(t.id, t.delay, t.clock) for t in made.timers.values()]
    assert timers == [
        ("after.work.0", 300_000_000, "wall"),
        ("after.work.1", 3_600_000_000, "awake"),
    ]
    assert made.states["end"].outcome == "failed"
    assert made.transitions[1].place == Place(11, 65)


def test_actions_keep_their_order_and_say_is_the_last() -> None:
    made = spec("""\
vars: {n: {type: int, default: 0}, s: {type: string, default: ""}}
initial: ready
states:
  ready:
    entry:
      - assign: {n: vars.n + 1, s: "'x'"}
      - raise: work.ready
      - mark: begun
      - log: "{{ vars.n }}"
    exit: [{say: bye}]
    on:
      work.ready: {actions: [{say: {text: hello, to: model}}], say: "{{ vars.s }}"}
      user.message: {actions: []}
""")
    ready = made.states["ready"]
    assert bare(ready.entry) == [
        ("assign", "n", "vars.n + 1", "person"),
        ("assign", "s", "'x'", "person"),
        ("raise", "work.ready", "", "person"),
        ("mark", "begun", "", "person"),
        ("log", "", "{{ vars.n }}", "person"),
    ]
    assert bare(ready.exit) == [("say", "", "bye", "person")]
    assert bare(made.transitions[0].actions) == [
        ("say", "", "hello", "model"),
        ("say", "", "{{ vars.s }}", "person"),
    ]
    assert (made.transitions[1].target, made.transitions[1].actions) == (None, ())


def test_defaults_are_canonical_json_of_the_declared_type() -> None:
    made = spec("""\
inputs:
  text: {type: string, default: 010}
  also_text: {type: string, default: true}
  none: {type: json, default: null}
  free: {type: json, default: {b: [1, 2.5, "3"], a: no}}
  whole: {type: int, default: -3}
  real: {type: number, default: 2}
  flag: {type: bool, default: false}
  must: {type: int}
initial: end
states: {end: {type: final}}
""")
    assert {name: field.default for name, field in made.inputs.items()} == {
        "text": '"010"',
        "also_text": '"true"',
        "none": "null",
        "free": '{"a":"no","b":[1,2.5,"3"]}',
        "whole": "-3",
        "real": "2.0",
        "flag": "false",
        "must": None,
    }


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", "1.0"),
        ("int", "'1'"),
        ("int", "true"),
        ("int", "99999999999999999999"),
        ("bool", "yes"),
        ("number", "one"),
        ("string", "[a]"),
        ("string", "~"),
    ],
)
def test_a_default_of_another_type_is_refused(kind: str, value: str) -> None:
    body = f"vars: {{x: {{type: {kind}, default: {value}}}}}\ninitial: e\nstates: {{e: {{}}}}\n"
    assert faults(body) == [("LS112", 1)]


def test_a_kinds_own_keys_become_its_configuration() -> None:
    made = spec("""\
initial: linting
states:
  linting: {kind: lint, level: low, files: [a, b], on: {lint.done: waiting, effect.failed: waiting}}
  waiting: {kind: wait, for: 90s, on: {wait.over: linting}}
""")
    assert made.states["linting"].config == '{"files":["a","b"],"level":"low"}'
    assert json.loads(made.states["waiting"].config) == {"for": 90_000_000}
    assert list(made.kinds) == ["lint", "wait"]
    assert made.kinds["lint"] == KINDS["lint"]


def test_a_plugins_ending_is_typed_by_its_schema() -> None:
    body = """\
initial: linting
states:
  linting:
    kind: lint
    level: low
    on:
      lint.done:
        - {guard: event.GUARD > 0, target: linting, say: "{{ event.worst }}"}
        - end
      effect.failed: end
  end: {type: final}
"""
    assert spec(body.replace("GUARD", "warnings")).transitions[0].guard == "event.warnings > 0"
    assert faults(body.replace("GUARD", "warning")) == [("LS401", 8)]


def test_the_only_model_is_the_default_and_tools_restrict() -> None:
    made = spec("""\
models: {main: {use: openai/x, params: {temperature: 0.2}, window: 32k, cache: 1h}}
tools: {read: {use: files.read}, edit: {use: files.edit}}
initial: ask
states:
  ask: {kind: model, tools: [read], on: {"model.*": end, context.pressed: end}}
  end: {type: final}
""")
    ask = made.states["ask"]
    assert (ask.model, ask.prompt, ask.config) == ("main", "", '{"tools":["read"]}')
    main = made.models["main"]
    assert (main.params, main.window, main.cache) == ('{"temperature":0.2}', 32_000, 3_600_000_000)


def test_a_tool_made_stricter_is_no_longer_run_again_by_itself() -> None:
    made = spec("""\
tools:
  same: {use: files.read, effect: read}
  strict: {use: files.read, effect: irreversible, description: Mine.}
  mine: {use: files.read, effect: write, after_crash: rerun}
  quiet: {use: shell.run, with: {env: [CI]}, deadlines: {total: 1m, silence: 0s}}
initial: end
states: {end: {type: final}}
""")
    assert {n: (t.effect, t.after_crash) for n, t in made.tools.items()} == {
        "same": ("read", "rerun"),
        "strict": ("irreversible", "ask"),
        "mine": ("write", "rerun"),
        "quiet": ("write", "ask"),
    }
    assert made.tools["strict"].description == "Mine."
    quiet = made.tools["quiet"]
    assert (quiet.config, quiet.total, quiet.silence) == ('{"env":["CI"]}', 60_000_000, 0)


ROUTED = """\
HEAD
models: {main: {use: openai/x}}
tools: {t: {use: TOOL}}
initial: ask
states:
  ask: {kind: model, on: {model.replied: run, "model.*": run, context.pressed: run}}
  run: {kind: tools, on: {tools.settled: ask EXTRA}}
"""


def routed(tool: str, head: str = "", extra: str = "") -> list[tuple[str, int]]:
    """The faults of a spec with one tool, one budget at most, and a further route."""
    body = ROUTED.replace("TOOL", tool).replace("HEAD", head).replace("EXTRA", extra)
    return faults(body)


def test_endings_are_required_only_where_they_can_come() -> None:
    assert routed("files.read") == []
    assert routed("files.edit") == [("LS308", 7)]
    assert routed("files.edit", extra=", effect.lost: ask") == []
    assert routed("files.read", "budgets: {turns: 1}") == [("LS308", 6), ("LS308", 7)]
    assert routed("shell.run", "budgets: {turns: 1}", ', "*": ask') == [("LS308", 6)]


def test_an_ending_may_be_routed_by_a_state_around() -> None:
    made = spec("""\
models: {main: {use: openai/x}}
initial: outer
states:
  outer:
    initial: ask
    on: {"model.*": end, "*": end}
    states: {ask: {kind: model}}
  end: {type: final}
""")
    assert made.states["outer.ask"].transitions == ()


def test_one_conversation_in_parallel_is_fine() -> None:
    made = spec("""\
initial: both
states:
  both:
    type: parallel
    on: {"*": end}
    states:
      left: {initial: one, states: {one: {kind: compact}, two: {kind: compact}}}
      right: {kind: input}
  end: {type: final}
""")
    assert made.states["both"].initial == ""


def test_guarded_always_needs_no_end_and_unguarded_single_transitions_are_enough() -> None:
    assert faults("""\
initial: a
states:
  a: {always: [{guard: usage.turns > 1, target: b}, {guard: usage.turns > 2, actions: []}]}
  b: {on: {user.message: {guard: usage.turns > 1, target: a}}}
""") == [("LS306", 4)]


def test_event_is_known_only_where_exactly_one_event_leads() -> None:
    body = """\
initial: a
states:
  a:
    on:
      EVENT: {target: a, say: "{{ event.text }}"}
"""
    assert faults(body.replace("EVENT", "user.message")) == []
    assert faults(body.replace("EVENT", "user.*")) == [("LS403", 5)]
    assert faults(body.replace("EVENT", '"*"')) == [("LS403", 5)]


def test_expressions_are_left_alone_while_names_are_wrong() -> None:
    assert faults("""\
vars: {in: {type: int, default: 0}}
initial: a
states: {a: {always: {guard: vars.in > 0, target: a}}}
""") == [("LS111", 1)]


def test_keys_without_a_kind_are_unknown_and_with_an_unknown_kind_are_left_alone() -> None:
    assert faults("initial: a\nstates: {a: {levle: low}}\n") == [("LS101", 2)]
    assert faults("initial: a\nstates: {a: {kind: lnit, levle: low}}\n") == [("LS501", 2)]


def test_a_missing_root_key_and_a_root_that_is_no_map() -> None:
    assert faults("states: {a: {}}\n") == [("LS102", -2)]
    assert [d.code for d in compiled("[1, 2]").diagnostics] == ["LS103"]
    assert [d.code for d in compiled("just words").diagnostics] == ["LS103"]


def test_the_name_in_messages_is_the_one_given(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a: 1\n")
    assert {d.file for d in compiled(file, "short.yaml").diagnostics} == {"short.yaml"}
    assert {d.file for d in compiled("a: 1").diagnostics} == {"spec.yaml"}


def test_the_digest_depends_on_the_meaning_and_not_on_what_is_installed() -> None:
    text = (HERE / "excerpt.yaml").read_text(encoding="utf-8")

    def digest(result: Compiled) -> str:
        assert result.machine is not None
        return result.machine.digest

    assert digest(compiled(text)) == digest(compiled(text))
    assert digest(compiled(text)) != digest(compiled(text.replace("60, tokens", "61, tokens")))
    assert digest(compiled(text)) == digest(compiled(text.replace("\n", "\r\n")))


def test_three_hundred_states_compile_in_a_moment() -> None:
    states = "".join(
        f"  s{n}: {{kind: input, on: {{user.message: s{(n + 1) % 300}}}}}\n" for n in range(300)
    )
    made = spec(f"initial: s0\nstates:\n{states}")
    assert len(made.states) == len(made.transitions) == 300

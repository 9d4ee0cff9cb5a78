"""Every rule of the lint in both directions: what it warns about, and what only looks like it.

A case is a whole small spec without its head, and everything that must be said about it: the code and
the text that stands at the place.
"""

from pathlib import Path

import pytest
from spec.kit import checked

from loopspec.spec.diagnose import LINE_BREAK
from loopspec.spec.parse import Compiled

Found = list[tuple[str, str]]
HEAD = "loopspec: 1\nname: small\nversion: 1.0.0\n"
AGENT = (Path(__file__).parents[1] / "spec" / "good" / "agent.yaml").read_text(encoding="utf-8")
MODEL = "models: {main: {use: openai/gpt-5-mini}}\n"
ENDINGS = "model.overflowed: end, context.pressed: end, user.interrupted: end"


def told(made: Compiled, width: int = 14) -> Found:
    """Each diagnostic as its code and the beginning of what stands at its place."""
    lines = LINE_BREAK.split(made.source)
    return [(d.code, lines[d.line - 1][d.col - 1 :][:width].strip()) for d in made.diagnostics]


def say(body: str, width: int = 14) -> Found:
    return told(checked(HEAD + body, lint="kind: lint" in body), width)


def agent(*changes: tuple[str, str]) -> Found:
    """What is said of the right agent with pieces of it replaced."""
    text = AGENT
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
        text = text.replace(old, new)
    return told(checked(text), 10)


def test_the_agent_is_right_as_it_is() -> None:
    assert agent() == []


# ------------------------------------------------------------ LS701

REACHED = {
    "by the initial state and transitions": "a: {on: {user.message: b}}, b: {on: {user.message: a}}",
    "by always": "a: {always: [{guard: usage.turns > 1, target: b}], on: {user.message: c}}, "
    "b: {on: {user.message: c}}, c: {type: final}",
    "by after": "a: {after: {5m: b}}, b: {type: final}",
    "by done": "a: {initial: x, done: b, states: {x: {on: {user.message: y}}, y: {type: final}}}, "
    "b: {type: final}",
    "by the default of a history": "a: {on: {user.message: b.back}}, "
    "b: {initial: x, on: {user.resumed: a}, "
    "states: {x: {on: {user.message: x}}, y: {on: {user.message: x}}, back: {type: history, target: y}}}",
    "as a region": "a: {type: parallel, on: {user.message: end}, states: {x: {on: {user.resumed: x}}, "
    "y: {on: {user.resumed: y}}}}, end: {type: final}",
    "as a region beside the target": "a: {on: {user.message: b.x}}, b: {type: parallel, "
    "on: {user.message: a}, states: {x: {on: {user.resumed: x}}, y: {initial: z, states: "
    "{z: {on: {user.resumed: z}}}}}}",
    "from a state around": "a: {initial: x, on: {user.interrupted: a.y}, "
    "states: {x: {on: {user.message: end}}, "
    "y: {on: {user.message: end}}}}, end: {type: final}",
}


@pytest.mark.parametrize("how", REACHED)
def test_what_is_entered_is_not_reported(how: str) -> None:
    assert say(f"initial: a\nstates: {{{REACHED[how]}}}\n") == []


def test_what_is_never_entered_is_told_once_without_its_children() -> None:
    states = (
        "a: {on: {user.message: end}}, lost: {initial: x, states: {x: {on: {user.message: y}}, y: {}}}"
    )
    assert say(f"initial: a\nstates: {{{states}, end: {{type: final}}}}\n", 4) == [("LS701", "lost")]
    states = (
        "a: {on: {user.message: end}}, one: {on: {user.message: two}}, two: {on: {user.message: one}}"
    )
    assert say(f"initial: a\nstates: {{{states}, end: {{type: final}}}}\n", 3) == [
        ("LS701", "one"),
        ("LS701", "two"),
    ]


def test_a_history_nobody_uses_is_no_state_that_is_never_entered() -> None:
    states = "a: {initial: x, states: {x: {on: {user.message: a.x}}, back: {type: history, target: x}}}"
    assert [c for c, _ in say(f"initial: a\nstates: {{{states}}}\n")] in ([], ["LS702"])


# ------------------------------------------------------------ LS702

LEFT = {
    "by its own route": "a: {on: {user.message: b}}, b: {type: final}",
    "by an ancestor": "w: {initial: a, on: {user.message: b}, states: {a: {}}}, b: {type: final}",
    "by a timer of an ancestor": "w: {initial: a, after: {5m: b}, states: {a: {}}}, b: {type: final}",
    "by always": "w: {initial: a, always: b, states: {a: {}}}, b: {type: final}",
    "by always under a guard, or by an event": "w: {initial: a, always: [{guard: usage.turns > 3, "
    "target: b}], states: {a: {on: {user.message: b}}}}, b: {type: final}",
    "by another region": "p: {type: parallel, states: {a: {}, b: {on: {user.message: end}}}}, "
    "end: {type: final}",
    "by a region of a region": "p: {type: parallel, states: {a: {initial: x, states: {x: {}}}, "
    "b: {type: parallel, states: {c: {}, d: {on: {user.message: end}}}}}}, end: {type: final}",
    "by being final": "a: {on: {user.message: b}}, b: {type: final}",
    "by going round through its parent": "w: {initial: a, on: {user.message: w}, states: "
    "{a: {on: {user.resumed: b}}, b: {}}}",
}
FIRST = {"w": "w", "p": "p"}


@pytest.mark.parametrize("how", LEFT)
def test_what_can_be_left_is_not_reported(how: str) -> None:
    assert say(f"initial: {LEFT[how][0]}\nstates: {{{LEFT[how]}}}\n") == []


TRAPS = {
    "nothing at all": ("a: {on: {user.message: b}}, b: {}", "b: {"),
    "actions only": ("a: {on: {user.message: {actions: [{mark: x}]}}}", "a: {"),
    "only itself": ("a: {on: {user.message: a}, after: {5m: a}}", "a: {"),
    "a kind that waits": ("a: {kind: input}", "a: {"),
    "a region whose own neighbour stays": (
        "p: {type: parallel, states: {a: {}, b: {initial: x, states: {x: {on: {user.message: y}}, "
        "y: {on: {user.message: x}}}}}}",
        "a: {",
    ),
    "its own way out is in its own region": (
        "p: {type: parallel, states: {a: {initial: x, states: {x: {on: {user.message: y}}, y: {}}}, "
        "b: {on: {user.resumed: b}}}}",
        "y: {",
    ),
}


@pytest.mark.parametrize("how", TRAPS)
def test_what_cannot_be_left_is_reported(how: str) -> None:
    states, place = TRAPS[how]
    found = say(f"initial: {states[0]}\nstates: {{{states}}}\n", 4)
    assert ("LS702", place) in found
    assert {code for code, _ in found} == {"LS702"}


# ------------------------------------------------------------ LS703 to LS707, LS713 to LS715


def test_no_budget_is_reported_once_and_only_where_something_is_spent() -> None:
    budget = ("budgets: {turns: 20, usd: 1.00, elapsed: 1h}\n", "")
    route = ("      budget.exhausted: working.ready\n", "")
    assert agent(budget, route) == [("LS703", "loopspec:")]
    assert (
        say("initial: a\nstates: {a: {kind: input, on: {user.message: end}}, end: {type: final}}\n") == []
    )


@pytest.mark.parametrize("kept", ["turns: 20", "usd: 1.00", "elapsed: 1h", "tokens: 1M"])
def test_any_budget_is_a_budget(kept: str) -> None:
    found = agent(("{turns: 20, usd: 1.00, elapsed: 1h}", f"{{{kept}}}"))
    assert "LS703" not in {code for code, _ in found}


def test_work_without_a_deadline() -> None:
    elapsed, after = (", elapsed: 1h", ""), ("        after: {2m: ready}\n", "")
    assert agent(elapsed, after) == [("LS704", "kind: comp")]
    assert agent(elapsed) == agent(after) == []
    around = ("    initial: ready\n", "    initial: ready\n    after: {2h: over}\n")
    over = ("states:\n  working:\n", "states:\n  over: {type: final}\n  working:\n")
    assert agent(elapsed, after, around, over) == []


def test_an_approval_that_never_expires() -> None:
    after = ("        after: {24h: asking}\n", "")
    assert agent(after) == [("LS705", "kind: appr")]
    around = ("    initial: ready\n", "    initial: ready\n    after: {2h: working.ready}\n")
    assert agent(after, around) == []


def test_an_interrupt_that_nobody_handles() -> None:
    gone = ("      user.interrupted: working.ready\n", "")
    assert {code for code, _ in agent(gone)} == {"LS706"}
    assert [place for _, place in agent(gone)] == ["kind: mode", "kind: gate", "kind: tool", "kind: comp"]
    assert agent(("      user.interrupted:", "      user.*:")) == []
    assert agent(gone, ("      budget.exhausted:", '      "*":')) == []


def test_writes_without_a_rollback_point() -> None:
    boundary, route = ("        boundary: workspace\n", ""), ("          boundary.failed: ready\n", "")
    assert agent(boundary, route) == [("LS707", "kind: tool")]
    reads = [("  edit_file: {use: files.edit}\n  shell: {use: shell.run}\n", "")]
    reads += [('[read_file, "edit_*"]', "[read_file]"), ("  ask: [{tools: [shell]}]\n", "")]
    lost, questions = (
        ("          effect.lost: questions\n", ""),
        ("gate.asked: questions", "gate.asked: asking"),
    )
    state = AGENT[AGENT.index("      questions:\n") : AGENT.index("      running:\n")]
    assert agent(boundary, route, *reads, lost, questions, (state, "")) == []


def test_a_denied_writer_needs_no_rollback_point() -> None:
    boundary, route = ("        boundary: workspace\n", ""), ("          boundary.failed: ready\n", "")
    deny = ("  ask: [{tools: [shell]}]\n", '  deny: [{tools: [shell, "edit_*"]}]\n')
    assert "LS707" not in {code for code, _ in agent(boundary, route, deny)}


def test_tools_without_a_gate() -> None:
    found = agent(("target: deciding", "target: running"))
    assert found == [("LS701", "deciding:"), ("LS713", "kind: tool")]


def test_tools_that_no_rule_lets_run() -> None:
    assert agent(('[read_file, "edit_*"]', '["edit_*"]')) == [("LS714", "read_file:")]
    assert agent(('[read_file, "edit_*"]', '["*_fil?"]')) == []
    deny = "  ask: [{tools: [shell]}]\n  deny: [{tools: [read_file]}]\n"
    assert agent(("  ask: [{tools: [shell]}]\n", deny)) == [("LS714", "read_file:")]
    narrow = "  ask: [{tools: [shell]}]\n  deny: [{tools: [read_file], paths: [x]}]\n"
    assert agent(("  ask: [{tools: [shell]}]\n", narrow)) == []


def test_questions_that_nobody_answers() -> None:
    assert agent(("gate.asked: questions", "gate.asked: asking")) == [("LS715", "gate.asked")]
    # Through a state that is not the model's they do come to a person.
    pause = "      pausing: {kind: wait, for: 1s, on: {wait.over: questions}}\n      running:\n"
    assert agent(("gate.asked: questions", "gate.asked: pausing"), ("      running:\n", pause)) == []


def test_a_route_around_the_gate_does_not_take_what_the_gate_takes_itself() -> None:
    around = ("      user.interrupted: working.ready\n", '      "*": working.ready\n')
    after = ("      budget.exhausted: working.ready\n", "")
    assert agent(around, after) == []


# ------------------------------------------------------------ LS708


def circle(budgets: str, routes: str, more: str = "", top: str = "") -> Found:
    """A model's state with these routes; `more` states, `top` declarations."""
    states = f"  ask: {{kind: model, on: {{{routes}, {ENDINGS}, budget.exhausted: end}}}}\n{more}"
    return say(
        f"{top}{MODEL}budgets: {{{budgets}}}\ninitial: ask\nstates:\n{states}  end: {{type: final}}\n", 12
    )


@pytest.mark.parametrize("budget", ["turns: 5", "tokens: 9k", "usd: 1.00", "elapsed: 1h"])
def test_a_reply_spends_every_budget_and_a_failure_none(budget: str) -> None:
    assert circle(budget, "model.replied: ask, model.failed: end") == []
    assert circle(budget, "model.replied: end, model.failed: ask") == [("LS708", "model.failed")]


def test_a_circle_over_several_states_is_told_once() -> None:
    pause = "  pause: {kind: wait, for: 1s, on: {wait.over: ask}}\n"
    assert circle("turns: 5", "model.replied: end, model.failed: pause", pause) == [
        ("LS708", "model.failed")
    ]
    assert circle("elapsed: 1h", "model.replied: end, model.failed: pause", pause) == []
    turn = "  turn: {always: ask}\n"
    assert circle("elapsed: 1h", "model.replied: end, model.failed: turn", turn) == [
        ("LS708", "model.failed")
    ]


COUNTED = {
    "a guard on the way round": (
        "model.failed: [{guard: vars.n < 3, target: ask, actions: [{assign: {n: vars.n + 1}}]}, end]",
        True,
    ),
    "a guard on the way out, tried before": (
        "model.failed: [{guard: vars.n > 3, target: end}, "
        "{target: ask, actions: [{assign: {n: vars.n + 1}}]}]",
        True,
    ),
    "a guard on a var that only another route assigns": (
        "model.failed: [{guard: vars.n < 3, target: ask}, end], "
        "user.message: {target: ask, actions: [{assign: {n: vars.n + 1}}]}",
        False,
    ),
    "a guard on an input": ("model.failed: [{guard: inputs.m < 3, target: ask}, end]", False),
}


@pytest.mark.parametrize("how", COUNTED)
def test_a_counting_var_ends_a_circle(how: str) -> None:
    routes, ends = COUNTED[how]
    top = "vars: {n: {type: int, default: 0}}\ninputs: {m: {type: int, default: 0}}\n"
    codes = {code for code, _ in circle("turns: 5", f"model.replied: end, {routes}", "", top)} - {"LS709"}
    assert codes == (set() if ends else {"LS708"})


def test_a_family_of_events_does_not_spend_what_an_earlier_route_takes() -> None:
    rest = "context.pressed: end, user.interrupted: end, budget.exhausted: end"
    for routes, wanted in (
        ("model.failed: end, model.overflowed: end, 'model.*': ask", []),
        ("model.failed: end, 'model.*': ask", [("LS708", "'model.*': a")]),
        ("model.replied: end, 'model.*': ask", [("LS708", "'model.*': a")]),
    ):
        body = f"{MODEL}budgets: {{turns: 5}}\ninitial: ask\nstates:\n"
        body += f"  ask: {{kind: model, on: {{{routes}, {rest}}}}}\n  end: {{type: final}}\n"
        assert say(body, 12) == wanted, routes


def test_compaction_may_come_round_again() -> None:
    compact = (
        "  small: {kind: compact, after: {5m: end}, on: {context.compacted: ask, context.stuck: end, "
    )
    compact += "user.interrupted: end, budget.exhausted: end}}\n"
    states = "  ask: {kind: model, on: {model.replied: end, model.failed: end, model.overflowed: small, "
    states += "context.pressed: small, user.interrupted: end, budget.exhausted: end}}\n"
    body = (
        f"{MODEL}budgets: {{turns: 5}}\ninitial: ask\nstates:\n{states}{compact}  end: {{type: final}}\n"
    )
    assert say(body) == []


def test_what_another_region_hears_is_no_way_of_the_model() -> None:
    body = f"""{MODEL}budgets: {{turns: 5}}
initial: p
states:
  p:
    type: parallel
    states:
      talk:
        kind: model
        on: {{model.replied: end, model.failed: end, {ENDINGS}, budget.exhausted: end}}
      watch: {{on: {{user.resumed: again, model.failed: again}}, accept: {{LS712: never}}}}
  again: {{always: p}}
  end: {{type: final}}
"""
    assert "LS708" not in {code for code, _ in say(body)}


# ------------------------------------------------------------ LS709


def test_what_is_declared_is_used_in_each_way_there_is() -> None:
    used = """\
inputs:
  a: {type: string}
  b: {type: int, default: 1}
  c: {type: json, default: 1}
  d: {type: int, default: 1}
vars: {n: {type: int, default: 0}, m: {type: int, default: 0}, k: {type: int, default: 0}}
initial: one
states:
  one:
    entry: [{say: "{{ inputs.a }}"}, {assign: {n: inputs.b + vars.m, m: "1"}}]
    exit: [{log: "{{ inputs['d'] }}"}]
    on:
      user.message: [{guard: vars.n > 1, target: end, say: "{{ vars }}"}, {target: end}]
      user.resumed: {target: end, actions: [{assign: {k: "2"}}]}
  end: {type: final, entry: [{log: "{% for x in inputs.c %}{{ x }}{% endfor %}"}]}
"""
    assert say(used) == []


UNUSED = {
    "an input": ("inputs: {a: {type: string}}\n", [("LS709", "a: {type: stri")]),
    "a var": ("vars: {a: {type: int, default: 0}}\n", [("LS709", "a: {type: int,")]),
    "a prompt": ("prompts: {a: Hello.}\n", [("LS709", "a: Hello.}")]),
    "a model": ("models: {a: {use: x/y}}\n", [("LS709", "a: {use: x/y}}")]),
    "a tool": ("tools: {a: {use: files.read}}\n", [("LS709", "a: {use: files")]),
}


@pytest.mark.parametrize("what", UNUSED)
def test_what_is_declared_and_never_used(what: str) -> None:
    top, wanted = UNUSED[what]
    assert say(f"{top}initial: end\nstates: {{end: {{type: final}}}}\n") == wanted


def test_a_var_that_only_feeds_itself_or_only_is_read() -> None:
    var = "vars: {n: {type: int, default: 0}}\ninitial: end\n"
    feeds = f"{var}states: {{end: {{type: final, entry: [{{assign: {{n: vars.n + 1}}}}]}}}}\n"
    read = f'{var}states: {{end: {{type: final, entry: [{{log: "{{{{ vars.n }}}}"}}]}}}}\n'
    assert say(feeds) == say(read) == [("LS709", "n: {type: int,")]


def test_a_tool_no_state_offers() -> None:
    offered = ("        prompt: system\n", "        prompt: system\n        tools: [read_file, shell]\n")
    assert agent(offered) == [("LS709", "edit_file:")]


# ------------------------------------------------------------ LS710

CONSTANT = {
    "true": True,
    "false": False,
    "1 < 2": True,
    "size('abc') == 3": True,
    "event.text == 'x' || true": True,
    "event.text == 'x' && 1 > 2": False,
    "!(1 == 1)": False,
    "duration('1h') > duration('60s')": True,
    "event.text == 'x'": None,
    "usage.turns > 3 || inputs.a": None,
    "inputs.a": None,
    "inputs.a == inputs.a": None,
    "size(event.text) >= 0": None,
    "[1, 2].exists(x, x > 1)": None,
}


@pytest.mark.parametrize("guard", CONSTANT)
def test_a_guard_that_always_gives_the_same(guard: str) -> None:
    body = f"""inputs: {{a: {{type: bool, default: false}}}}
initial: a
states:
  a:
    on:
      user.message:
        - guard: {guard!r}
          target: end
        - end
      user.resumed: [{{guard: inputs.a, target: end}}, {{actions: []}}]
  end: {{type: final}}
"""
    body = body.replace(f"{guard!r}", '"' + guard.replace('"', '\\"') + '"')
    found = [(code, place[:3]) for code, place in say(body)]
    assert found == ([] if CONSTANT[guard] is None else [("LS710", '"' + guard[:2])])


# ------------------------------------------------------------ LS711 and LS314

ALWAYS = {
    "a: {always: a}": {"LS314"},
    "a: {always: b}, b: {always: a}": {"LS314"},
    "a: {always: b}, b: {always: c}, c: {always: a}": {"LS314"},
    "a: {always: b}, b: {always: c}, c: {on: {user.message: a}}": set(),
    "a: {always: b}, b: {always: c}, c: {type: final}": set(),
    "a: {always: [{guard: inputs.x, target: b}, end]}, b: {always: a}, end: {type: final}": {"LS711"},
    "a: {always: [{guard: inputs.x, target: end}, b]}, b: {always: a}, end: {type: final}": {"LS711"},
    "a: {always: [{guard: vars.n < 3, target: b}, end]}, "
    "b: {entry: [{assign: {n: vars.n + 1}}], always: a}, end: {type: final}": set(),
    "a: {always: [{guard: vars.n > 3, target: end}, b]}, "
    "b: {entry: [{assign: {n: vars.n + 1}}], always: a}, end: {type: final}": set(),
    "a: {always: [{guard: vars.n < 3, target: a, actions: [{assign: {n: vars.n + 1}}]}, end]}, "
    "end: {type: final}": set(),
    "a: {always: [{guard: vars.n < 3, target: b}, end]}, b: {always: a, "
    "on: {user.message: {target: b, actions: [{assign: {n: vars.n + 1}}]}}}, end: {type: final}": {
        "LS711"
    },
    "a: {initial: x, always: b, states: {x: {}}}, b: {always: a}": {"LS314"},
    "a: {initial: x, always: b, states: {x: {always: y}, y: {}}}, b: {always: a}": {"LS314"},
    "a: {type: parallel, states: {x: {always: b}, y: {}}}, b: {always: a}": {"LS314"},
}


@pytest.mark.parametrize("states", ALWAYS)
def test_always_round_and_round(states: str) -> None:
    top = "inputs: {x: {type: bool, default: false}}\nvars: {n: {type: int, default: 0}}\n"
    codes = {code for code, _ in say(f"{top}initial: a\nstates: {{{states}}}\n")}
    assert codes - {"LS709", "LS716", "LS702"} == ALWAYS[states]
    if ALWAYS[states] == {"LS314"}:
        assert not codes & {"LS702", "LS716"}, "one fault is told once"


# ------------------------------------------------------------ LS712

DEAD = {
    "an ending of another kind": ("a: {kind: input, on: {user.message: end, model.replied: end}}", True),
    "an ending around kinds that have it": (
        "w: {initial: a, on: {wait.over: end}, states: {a: {kind: wait, for: 1s}}}",
        False,
    ),
    "an ending around kinds that have it not": (
        "w: {initial: a, on: {wait.over: end}, states: {a: {on: {user.message: end}}}}",
        True,
    ),
    "a family none of which can come": (
        "a: {kind: input, on: {user.message: end, 'tools.*': end}}",
        True,
    ),
    "a family one of which can come": ("a: {kind: wait, for: 1s, on: {'wait.*': end}}", False),
    "everything": ("a: {kind: input, on: {'*': end}}", False),
    "every state inside takes it": (
        "w: {initial: a, on: {user.message: end}, states: {a: {on: {user.message: b}}, "
        "b: {on: {user.message: end}}}}",
        True,
    ),
    "every state inside takes it by a pattern": (
        "w: {initial: a, on: {user.message: end}, states: {a: {on: {'user.*': end}}}}",
        True,
    ),
    "one state inside does not take it": (
        "w: {initial: a, on: {user.message: end}, states: {a: {on: {user.message: b}}, "
        "b: {on: {user.resumed: end}}}}",
        False,
    ),
    "a state inside takes it under a guard, and ends unguarded": (
        "w: {initial: a, on: {user.message: end}, states: {a: {on: {user.message: "
        "[{guard: size(event.text) > 3, target: end}, {actions: []}]}}}}",
        True,
    ),
    "a budget where none is declared": (
        "a: {kind: wait, for: 1s, on: {wait.over: end, budget.exhausted: end}}",
        True,
    ),
    "an event raised here": ("a: {entry: [{raise: work.over}], on: {work.over: end}}", False),
    "a command": (
        "a: {kind: wait, for: 1s, on: {wait.over: end, user.resumed: end, host.woke: end}}",
        False,
    ),
}


@pytest.mark.parametrize("how", DEAD)
def test_a_route_that_is_never_taken(how: str) -> None:
    states, dead = DEAD[how]
    found = say(f"initial: {states[0]}\nstates: {{{states}, end: {{type: final}}}}\n")
    assert {code for code, _ in found} == ({"LS712"} if dead else set())


# ------------------------------------------------------------ LS716

RESTLESS = {
    "a: {kind: wait, for: 1s, on: {wait.over: b}}, b: {kind: wait, for: 1s, on: {wait.over: a}}": True,
    "a: {kind: wait, for: 1s, on: {wait.over: a, user.message: a}}": False,  # LS702 says it
    "a: {kind: wait, for: 1s, on: {wait.over: b}}, b: {kind: wait, for: 1s, on: {wait.over: c}}, "
    "c: {type: final}": False,
    "a: {kind: wait, for: 1s, on: {wait.over: b}}, b: {on: {user.message: a}}": False,
    "a: {kind: wait, for: 1s, on: {wait.over: b}}, b: {kind: input, on: {user.message: a}}": False,
    "a: {kind: wait, for: 1s, on: {wait.over: b}}, b: {always: a}": True,
    "p: {type: parallel, states: {a: {kind: wait, for: 1s, on: {wait.over: b}}, "
    "b: {on: {user.message: p}}}}": None,
}


@pytest.mark.parametrize("states", [s for s, wanted in RESTLESS.items() if wanted is not None])
def test_a_circle_without_a_rest_or_an_end(states: str) -> None:
    codes = {code for code, _ in say(f"initial: a\nstates: {{{states}}}\n")}
    assert ("LS716" in codes) == RESTLESS[states]


# ------------------------------------------------------------ order and company


def test_a_broken_reference_is_told_alone() -> None:
    assert agent(("gate.allowed: running", "gate.allowed: runing")) == [("LS201", "runing, ga")]
    found = agent(("kind: approval", "kind: aproval"))
    assert [code for code, _ in found] == ["LS501"]


def test_a_misspelt_name_does_not_make_what_was_meant_unused() -> None:
    assert agent(("prompt: system", "prompt: sytem")) == [("LS203", "sytem")]
    prompt = ("session.workdir", "session.workdri")
    assert [code for code, _ in agent(prompt)] == ["LS403"]


def test_warnings_stand_beside_errors_that_leave_the_loop_readable() -> None:
    after = ("        after: {24h: asking}\n", "")
    assert agent(after, ("turns: 20", "turns: many")) == [
        ("LS106", "many, usd:"),
        ("LS705", "kind: appr"),
    ]


def test_a_timer_is_called_by_its_key() -> None:
    later = "  later: {after: {1h: ask}}\n"
    body = f"{MODEL}budgets: {{turns: 3}}\ninitial: later\nstates:\n{later}"
    body += f"  ask: {{kind: model, on: {{model.replied: end, model.failed: later, {ENDINGS}, "
    body += "budget.exhausted: end}}\n  end: {type: final}\n"
    (found,) = checked(HEAD + body).diagnostics
    assert (found.code, found.fault) == (
        "LS708",
        "`after` leads round through `later`, `ask` without spending a declared budget",
    )


def test_timers_of_states_that_rest_are_no_circle_of_work() -> None:
    body = "budgets: {turns: 3}\ninitial: a\nstates: {a: {kind: input, after: {1h: b}}, b: {always: a}}\n"
    assert say(body) == []


# ------------------------------------------------------------ what ends and leads nowhere


def test_the_end_of_a_region_or_a_part_must_lead_on() -> None:
    part = (
        "a: {initial: x, states: {x: {on: {user.message: y}}, y: {type: final}}DONE}, end: {type: final}"
    )
    assert ("LS702", "y: {type: fina") in say(f"initial: a\nstates: {{{part.replace('DONE', '')}}}\n")
    assert say(f"initial: a\nstates: {{{part.replace('DONE', ', done: end')}}}\n") == []


def test_guards_alone_may_leave_a_state_for_ever() -> None:
    lone = "inputs: {x: {type: bool}}\ninitial: a\nstates: {a: {always: ALWAYS}, end: {type: final}}\n"
    assert say(lone.replace("ALWAYS", "[{guard: inputs.x, target: end}]")) == [
        ("LS702", "a: {always: [{")
    ]
    assert say(lone.replace("ALWAYS", "[{guard: inputs.x, target: end}, end]")) == []


def test_work_that_is_done_leads_on() -> None:
    assert agent(("model.failed: ready", "model.failed: {say: No.}")) == [("LS702", "model.fail")]
    after = ("        entry: []\n", "        after: {1h: ready}\n")
    assert agent(("model.failed: ready", "model.failed: {say: No.}"), after) == []

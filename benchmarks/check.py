"""How long `check` takes, against the time PyYAML's C loader needs for parsing alone.

    python benchmarks/check.py            # prints a Markdown table; exit 1 if the target is missed

The target: a spec of 300 states is checked within ten times the time of parsing it, plus a second.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import yaml

from loopspec.check.spec import check_spec
from loopspec.drivers.launch import tool_infos
from loopspec.registry import installed
from loopspec.spec.parse import Compiled

ROUNDS: Final = 9
TIMES: Final = 10
PLUS: Final = 1.0
SIZES: Final = (300, 1_000, 3_000)
_HEAD: Final = """\
loopspec: 1
name: generated
version: 1.0.0
inputs: {task: {type: string}, limit: {type: int, default: 9}}
vars:
  tries: {type: int, default: 0}
  last: {type: string, default: ""}
models: {main: {use: openai/gpt-5-mini}, large: {use: openai/gpt-5, fallbacks: [openai/gpt-5-mini]}}
tools:
  read_file: {use: files.read}
  edit_file: {use: files.edit}
  shell: {use: shell.run}
prompts:
  system: |
    Do {{ inputs.task }} in {{ session.workdir }}. You have tried {{ vars.tries }} times.
budgets: {turns: 500, usd: 9.00, elapsed: 8h}
authority: {allow: [{tools: [read_file, edit_file]}], ask: [{tools: [shell]}]}
initial: group_0
states:
"""
_GROUP: Final = """\
  group_{g}:
    initial: asking
    on:
      user.interrupted: stopped_{g}
      host.suspended: stopped_{g}
      user.resumed: {{actions: [{{log: "resumed in group {g}"}}]}}
      rollback.*: {{actions: []}}
      host.woke: {{actions: [{{mark: woke}}]}}
      effect.lost: stopped_{g}
      work.paused:
        - {{guard: vars.tries > 2 && inputs.limit > 3, target: group_{g}.pausing}}
        - {{guard: usage.cost_usd > 2.5, target: stopped_{g}, say: "{{{{ usage.cost_usd }}}} USD"}}
        - {{actions: []}}
      budget.exhausted: {{target: stopped_{g}, say: "The budget for {{{{ event.which }}}} is spent."}}
      error.execution: {{target: stopped_{g}, say: "Stopped: {{{{ event.error }}}}"}}
    done: group_{n}
    states:
      asking:
        kind: model
        model: {model}
        prompt: system
        on:
          model.replied:
            - guard: size(event.calls) > 0
              target: deciding
              actions: [{{assign: {{tries: vars.tries + 1}}}}]
            - {{guard: 'event.text.startsWith("next")', target: over}}
            - {{guard: vars.tries > inputs.limit && usage.turns > {g}, target: stopped_{g}}}
            - {{target: ready, actions: [{{assign: {{last: event.text}}}}, {{mark: replied}}]}}
          model.overflowed: compacting
          context.pressed: compacting
          model.failed: {{target: stopped_{g}, say: "No model: {{{{ event.reason }}}}"}}
      ready:
        kind: input
        on:
          user.message:
            - {{guard: 'event.text == "stop"', target: stopped_{g}}}
            - {{guard: 'event.text.matches("^(wait|later)")', target: pausing}}
            - {{guard: size(event.text) > 10000, actions: [{{say: That is too long.}}]}}
            - {{target: asking}}
        after: {{12h: stopped_{g}}}
      deciding:
        kind: gate
        on: {{gate.allowed: running, gate.asked: questions, gate.denied: asking}}
      questions:
        kind: approval
        after: {{24h: asking}}
        on: {{approval.granted: running, approval.denied: asking}}
      running:
        kind: tools
        boundary: workspace
        on:
          tools.settled:
            - {{guard: vars.tries < 3, target: asking}}
            - {{guard: vars.tries % 10 == 9, target: choosing, say: "{{{{ vars.tries }}}} tries"}}
            - {{guard: vars.tries > 100, target: over, actions: [{{raise: work.over}}]}}
            - asking
          effect.lost: questions
          boundary.failed: {{target: stopped_{g}, say: "No rollback point: {{{{ event.reason }}}}"}}
      compacting:
        kind: compact
        after: {{5m: stopped_{g}, 2m: {{actions: [{{log: compacting takes long}}]}}}}
        on: {{context.compacted: asking, context.stuck: stopped_{g}}}
      pausing:
        kind: wait
        for: 30s
        on:
          wait.over:
            - {{guard: vars.tries > {g} && vars.tries < {g} + 4, target: choosing}}
            - {{guard: vars.tries > inputs.limit, target: over}}
            - asking
          user.message: asking
          work.over: {{target: over, actions: [{{assign: {{tries: "0", last: "'over'"}}}}]}}
      choosing:
        always:
          - {{guard: vars.tries == {g}, target: pausing}}
          - {{guard: 'vars.last == "x"', target: asking}}
          - {{guard: 'vars.last.contains("wait")', target: pausing, actions: [{{raise: work.paused}}]}}
          - {{guard: usage.turns > 7 && vars.tries < {g} + 5, target: asking, say: Again.}}
          - {{guard: 'inputs.task == "" || vars.last == inputs.task', target: ready}}
          - {{target: ready}}
      resume: {{type: history, deep: true, target: asking}}
      over: {{type: final}}
  stopped_{g}:
    entry: [{{log: "stopped in {g} after {{{{ vars.tries }}}}"}}]
    on:
      user.resumed: group_{g}.resume
      user.message: group_{g}.choosing
      budget.extended: group_{g}.resume
      work.over: group_{n}
"""


def generated(states: int) -> str:
    """A right spec of about so many states (a multiple of 12)."""
    groups = max(1, states // 12)
    parts = [
        _GROUP.format(g=g, n=(g + 1) % groups, model=("main", "large")[g % 2]) for g in range(groups)
    ]
    return _HEAD + "".join(parts)


def measured(run: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """Seconds of each round, after one that does not count."""
    run()
    out = []
    for _ in range(rounds):
        begun = time.perf_counter()
        run()
        out.append(time.perf_counter() - begun)
    return out


def rows() -> Iterator[tuple[str, list[float], list[float], bool]]:
    """Each row: what, the rounds of parsing, the rounds of checking, whether the target counts here."""
    registry = installed()
    kinds, tools = registry.kinds, tool_infos(registry)
    for size in SIZES:
        text = generated(size)

        def parse(text: str = text) -> object:
            return yaml.load(text, Loader=yaml.CSafeLoader)

        def check(text: str = text) -> Compiled:
            return check_spec(text, kinds=kinds, tools=tools)

        made = check()
        assert made.machine is not None and made.diagnostics == [], made.diagnostics[:3]
        what = (
            f"{len(made.machine.states)} states, {len(made.machine.transitions)} transitions, "
            f"{len(text) // 1024} KiB"
        )
        yield what, measured(parse), measured(check), size == SIZES[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.yaml"
        path.write_text(generated(SIZES[0]))
        load = f"import yaml; yaml.load(open({str(path)!r}), Loader=yaml.CSafeLoader)"

        def parse_process() -> object:
            return subprocess.run([sys.executable, "-c", load], check=True)

        def check_process() -> object:
            command = [sys.executable, "-m", "loopspec.cli.main", "check", str(path)]
            return subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

        yield "the first, as processes", measured(parse_process), measured(check_process), True


def main() -> int:
    """Print the table; 1 if the target is missed."""
    print("| spec | parse alone | check | ratio | target |")
    print("|---|---|---|---|---|")
    missed = False
    for what, parsing, checking, counts in rows():
        base, whole = statistics.median(parsing), statistics.median(checking)
        most = TIMES * base + PLUS
        missed |= counts and whole > most
        verdict = f"{'met' if whole <= most else 'missed'}: {most * 1000:.0f} ms" if counts else "–"
        print(f"| {what} | {_shown(parsing)} | {_shown(checking)} | {whole / base:.1f} | {verdict} |")
    return int(missed)


def _shown(rounds: list[float]) -> str:
    """The median, and the fastest and slowest round, in milliseconds."""
    low, middle, high = min(rounds), statistics.median(rounds), max(rounds)
    return f"{middle * 1000:.0f} ms ({low * 1000:.0f} to {high * 1000:.0f})"


if __name__ == "__main__":
    sys.exit(main())

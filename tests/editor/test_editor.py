"""The schema as an editor sees it: a real YAML language server completes, explains and marks faults.

Skipped where Node or the server (`npm install` in this folder) is absent.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopspec.cli.generated import shipped_registry
from loopspec.drivers.launch import tool_infos
from loopspec.spec.schema import build, render

from .lsp import Client

ROOT = Path(__file__).parents[2]
SERVER = Path(__file__).parent / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
NODE = shutil.which("node")
STORED = "loopspec-1.schema.json"
CURSOR = "▮"
HEAD = """\
# yaml-language-server: $schema=../schemas/{schema}
loopspec: 1
name: edited
version: 1.0.0
initial: ready
models:
  main: {{use: openai/gpt-5-mini}}
"""

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="Node is not installed"),
    pytest.mark.skipif(not SERVER.is_file(), reason="run `npm install` in tests/editor first"),
]


class Editor:
    """A language server with a folder of specs beside their schemas."""

    def __init__(self, client: Client, root: Path) -> None:
        self.client = client
        self.root = root
        self._opened = 0

    def open(self, text: str, schema: str) -> tuple[Path, list[tuple[int, str]], int, int]:
        """Open a spec; gives its path, the faults with their lines, and the cursor's place."""
        self._opened += 1
        path = self.root / "specs" / f"spec{self._opened}.yaml"
        whole = HEAD.format(schema=schema) + text
        before = whole.partition(CURSOR)[0]
        found = self.client.open(path, whole.replace(CURSOR, ""))
        faults = [(d["range"]["start"]["line"] + 1, d["message"]) for d in found]
        return path, faults, before.count("\n"), len(before) - before.rfind("\n") - 1

    def faults(self, text: str, schema: str) -> list[tuple[int, str]]:
        """What the server finds wrong, by line."""
        return self.open(text, schema)[1]

    def offers(self, text: str, schema: str) -> dict[str, Any]:
        """What the server offers at the cursor, by label."""
        path, _, line, character = self.open(text, schema)
        answer = self.client.at("textDocument/completion", path, line, character)
        return {item["label"]: item for item in answer["items"]}

    def hover(self, text: str, schema: str) -> str:
        """What the server says about what is under the cursor."""
        path, _, line, character = self.open(text, schema)
        answer = self.client.at("textDocument/hover", path, line, character)
        said: str = answer["contents"]["value"].replace("\\", "")
        return said


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    root = tmp_path_factory.mktemp("editor")
    (root / "specs").mkdir()
    (root / "schemas").mkdir()
    registry = shipped_registry()
    shutil.copy(ROOT / "schemas" / STORED, root / "schemas" / STORED)
    merged = render(build(registry.kinds, tool_infos(registry)))
    (root / "schemas" / "merged.json").write_text(merged, encoding="utf-8")
    assert NODE is not None
    with Client([NODE, str(SERVER), "--stdio"], root) as client:
        yield Editor(client, root)


SCHEMAS = pytest.mark.parametrize("schema", [STORED, "merged.json"])


@pytest.mark.parametrize("spec", sorted((ROOT / "specs").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_spec_has_no_fault(editor: Editor, spec: Path) -> None:
    assert editor.client.open(spec, spec.read_text(encoding="utf-8")) == []


@SCHEMAS
def test_a_state_completes_its_keys_and_whole_states(editor: Editor, schema: str) -> None:
    offers = editor.offers(f"states:\n  ready:\n    {CURSOR}\n", schema)
    assert {"kind", "on", "after", "type", "state of kind model"} <= set(offers)
    assert "for" not in offers
    assert offers["state of kind gate"]["insertText"] == (
        "kind: gate\non:\n  gate.allowed: ${1:tool_running}\n  gate.asked: ${2:awaiting_approval}\n"
        "  gate.denied: ${3:streaming}"
    )


@SCHEMAS
def test_a_state_completes_the_keys_of_its_kind(editor: Editor, schema: str) -> None:
    assert "for" in editor.offers(f"states:\n  ready:\n    kind: wait\n    {CURSOR}\n", schema)
    assert "for" not in editor.offers(f"states:\n  ready:\n    kind: input\n    {CURSOR}\n", schema)


@SCHEMAS
def test_kinds_tools_and_events_complete(editor: Editor, schema: str) -> None:
    kinds = editor.offers(f"states:\n  ready:\n    kind: {CURSOR}\n", schema)
    assert set(kinds) == set(shipped_registry().kinds)
    tools = editor.offers(f"tools:\n  sh:\n    use: {CURSOR}\nstates: {{a: {{type: final}}}}\n", schema)
    assert {"shell.run", "files.read"} <= set(tools)
    given = "tools:\n  sh:\n    use: shell.run\n    with:\n      "
    assert list(editor.offers(f"{given}{CURSOR}\nstates: {{a: {{type: final}}}}\n", schema)) == ["env"]
    events = editor.offers(f"states:\n  ready:\n    kind: model\n    on:\n      {CURSOR}\n", schema)
    assert {"model.replied", "budget.exhausted", "user.message", "error.execution"} <= set(events)
    assert "timer.fired" not in events
    moves = f"states:\n  ready:\n    on:\n      model.replied:\n        - {CURSOR}\n"
    assert {"target", "guard", "actions", "guarded transition"} <= set(editor.offers(moves, schema))


@SCHEMAS
@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            f"  more: {{use: x/y, deadlines: {{betw{CURSOR}een_chunks: 5s}}}}\n",
            ["The longest silence between two pieces of the reply. Default: 90s."],
        ),
        (
            f"states:\n  ready:\n    kind: tools\n    bound{CURSOR}ary: workspace\n",
            ["Takes a rollback point on entry", "`workspace`: The files of the work directory."],
        ),
        (
            f"states:\n  ready:\n    on:\n      budget.exh{CURSOR}austed: {{target: ready}}\n",
            ["A budget is spent: `turns`, `tokens`, `usd` or `elapsed`.", "Fields: `which` (string)."],
        ),
        (
            f"states:\n  ready:\n    kind: wait\n    fo{CURSOR}r: 30s\n",
            ["How long to wait, e.g. 30s; then `wait.over` is raised."],
        ),
        (
            f"states:\n  ready:\n    kind: ga{CURSOR}te\n",
            ["`gate`: Holds every proposed call against the authority envelope."],
        ),
        (
            f"states:\n  ready:\n    out{CURSOR}come: failed\n",
            ["`failed`: It did not: `loopspec run` exits with 1."],
        ),
    ],
)
def test_hovering_explains(editor: Editor, schema: str, text: str, says: list[str]) -> None:
    said = editor.hover(text, schema)
    for words in says:
        assert words in said


READY = "states:\n  ready:\n"
DURATION = "Write a duration such as 90s; the units are ms, s, m, h and d."


@SCHEMAS
@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (f"{READY}    type: final\n", []),
        (f"{READY}    intial: x\n", [(10, "Property intial is not allowed.")]),
        (f"{READY}    kind: wait\n    for: 10 minutes\n", [(11, DURATION)]),
        (f"{READY}    kind: wait\n    four: 1m\n    for: 1m\n", [(11, "Property four is not allowed.")]),
        (f"{READY}    kind: wait\n", [(9, 'Missing property "for".')]),
        (f"{READY}    after: {{10 minutes: x}}\n", [(10, DURATION)]),
        (f"{READY}    on: {{a: {{tagret: x}}}}\n", [(10, "Property tagret is not allowed.")]),
        (f"{READY}    type: final\n    on: {{a: x}}\n", [(11, "Property on is not allowed.")]),
        (f"{READY}    kind: gate\n    model: main\n", [(11, "Property model is not allowed.")]),
        (
            f"{READY}    type: final\ninclude: [x]\n",
            [
                (11, "Matches a schema that is not allowed."),
                (11, "This key is reserved and not in this version: remove it."),
            ],
        ),
        (
            f"{READY}    type: final\ntools: {{a: {{use: shell.run, with: {{envs: []}}}}}}\n",
            [(11, "Property envs is not allowed.")],
        ),
    ],
)
def test_a_fault_is_marked_at_its_line(
    editor: Editor, schema: str, text: str, faults: list[tuple[int, str]]
) -> None:
    assert editor.faults(text, schema) == faults


FOREIGN = f"{READY}    kind: lint\n    level: high\ntools: {{a: {{use: web.get, with: {{x: 1}}}}}}\n"


def test_only_the_stored_schema_lets_plugins_bring_kinds_and_tools(editor: Editor) -> None:
    assert editor.faults(FOREIGN, STORED) == []
    lines = {line for line, _ in editor.faults(FOREIGN, "merged.json")}
    assert lines == {10, 11, 12}

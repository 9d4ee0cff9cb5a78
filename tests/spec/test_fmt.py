"""`fmt`: golden pairs, and what holds for any text: meaning, comments, idempotence."""

import json
import random
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from loopspec.spec.comments import Unit, attach, comment_texts
from loopspec.spec.fmt import FormatFault, format_read
from loopspec.spec.fmt_order import ORDERS, arrange
from loopspec.spec.keys import TABLES
from loopspec.spec.source import Read, load_plain, plain, scan, scan_text

from .fmt_trees import KEYS, texts
from .kit import HERE

ROOT = HERE.parent.parent
GOLDEN = sorted(path.name.removesuffix(".before.yaml") for path in (HERE / "fmt").glob("*.before.yaml"))
SHIPPED = sorted((ROOT / "specs").glob("*.yaml"))
CODING = (ROOT / "specs" / "coding-agent.yaml").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "guide.md").read_text(), re.DOTALL)
GUIDE = [text for text in BLOCKS if not scan_text(text, "x").diagnostics]
BAD = [path for path in sorted((HERE / "bad").glob("*.yaml")) if not scan(path).diagnostics]
FREE = [key for key in KEYS if key not in {"loopspec", "states"}]
MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def formatted(text: str) -> str:
    """What `fmt` makes of a text that can be read."""
    return format_read(scan_text(text, "x"), "x")


def holds(read: Read) -> str:
    """Formats, and checks all that must hold for any text."""
    made = format_read(read, "x")
    again = scan_text(made, "x")
    assert again.diagnostics == []
    assert again.node is not None and read.node is not None
    assert plain(again.node) == plain(read.node)
    comments = (comment_texts(made, again.node), comment_texts(read.source, read.node))
    assert Counter(comments[0]) == Counter(comments[1])
    assert made == format_read(again, "x")
    assert made.endswith("\n") and "\r" not in made and "\ufeff" not in made
    return made


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_pair(name: str) -> None:
    after = (HERE / "fmt" / f"{name}.after.yaml").read_bytes().decode()
    assert holds(scan(HERE / "fmt" / f"{name}.before.yaml")) == after


def test_every_golden_pair_is_a_pair_and_they_are_many() -> None:
    names = {path.name for path in (HERE / "fmt").iterdir()}
    assert names == {f"{name}.{part}.yaml" for name in GOLDEN for part in ("before", "after")}
    assert len(GOLDEN) >= 30


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_loop_stands_in_the_layout(path: Path) -> None:
    assert holds(scan(path)) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_spec_that_is_wrong_but_readable_is_formatted(path: Path) -> None:
    holds(scan(path))


@pytest.mark.parametrize("text", GUIDE, ids=range(len(GUIDE)))
def test_a_block_of_the_guide_is_formatted(text: str) -> None:
    holds(scan_text(text, "x"))


@MANY
@given(texts())
def test_any_text_keeps_its_meaning_and_comments(text: str) -> None:
    read = scan_text(text, "x")
    assume(not read.diagnostics)
    holds(read)


@MANY
@given(texts(keys=FREE))
def test_nothing_moves_in_what_is_no_spec(text: str) -> None:
    read = scan_text(text, "x")
    assume(not read.diagnostics)
    assert read.node is not None
    made = scan_text(holds(read), "x")
    assert made.node is not None
    assert json.dumps(plain(made.node)) == json.dumps(plain(read.node))


@MANY
@given(st.randoms(use_true_random=False), st.booleans())
def test_a_spec_whose_records_were_shuffled_comes_out_in_one_order(
    dice: random.Random, brackets: bool
) -> None:
    tree = load_plain(ROOT / "specs" / "coding-agent.yaml")
    records = [tree, *tree["models"].values(), *tree["inputs"].values(), tree["budgets"]]
    records += [*states(tree), *(rule for rules in tree["authority"].values() for rule in rules)]
    for record in records:
        pairs = list(record.items())
        dice.shuffle(pairs)
        record.clear()
        record.update(pairs)
    text = json.dumps(tree) if brackets else json.dumps(tree, indent=dice.choice([1, 4]))
    again = scan_text(formatted(text), "x").node
    coding = scan_text(CODING, "x").node
    assert again is not None and coding is not None
    assert json.dumps(plain(again)) == json.dumps(plain(coding))


def states(owner: dict[str, Any]) -> list[dict[str, Any]]:
    """Every state of a tree, as plain data."""
    found: list[dict[str, Any]] = []
    for state in owner.get("states", {}).values():
        found += [state, *states(state)]
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 14), st.booleans()), max_size=12))
def test_comments_anywhere_in_a_shipped_loop_are_kept(places: list[tuple[int, int, bool]]) -> None:
    lines = CODING.split("\n")
    for number, (at, indent, beside) in enumerate(places):
        line = at % len(lines)
        if beside and lines[line].strip():
            lines[line] += f"{' ' * indent} # c{number}"
        else:
            lines.insert(line, " " * indent + f"# c{number}")
    read = scan_text("\n".join(lines), "x")
    assume(not read.diagnostics)
    holds(read)


@pytest.mark.parametrize("table", ORDERS)
def test_an_order_names_keys_that_exist_once_each(table: str) -> None:
    names = [name for name in ORDERS[table] if name not in {"...", "clock"}]
    assert len(names) == len(set(names))
    assert set(names) <= set(TABLES[table].names)


def test_only_what_was_read_without_faults_can_be_formatted() -> None:
    for text in ("", "a: [", "a: 1\na: 2\n", "a: &x 1\n"):
        with pytest.raises(ValueError, match="without faults"):
            formatted(text)


def test_a_result_that_says_something_else_is_never_given_back() -> None:
    node = scan_text("a: 1\n", "x").node
    assert node is not None
    [entry] = node.entries
    longer = replace(node, entries=(replace(entry, value=replace(entry.value, end=8)),))
    for text, forged, what in (
        ("a: 2\n", node, "what the file means"),
        ("a: [\n", node, "the file into something unreadable"),
        ("a: 1 # c\n", longer, "its comments"),
    ):
        with pytest.raises(FormatFault) as caught:
            format_read(Read(forged, [], text), "x")
        assert str(caught.value) == (
            f"x: formatting would have changed {what}, so it was left alone. "
            "this is a fault in loopspec; please report it with the file"
        )


def test_every_comment_gets_one_place() -> None:
    read = scan(HERE / "fmt" / "comments-of-items.before.yaml")
    assert read.node is not None
    document = attach(read.source, read.node)
    arrange(document.root)
    placed = [r.text for r in (*document.top, *document.end)] + list(comments_of(document.root))
    assert sorted(placed) == sorted(comment_texts(read.source, read.node))


def comments_of(unit: Unit) -> list[str]:
    """The comments of a unit and of what is inside."""
    mine = [remark.text for remark in (*unit.lead, *unit.inner, *unit.end)]
    mine += [side.text for side in (unit.head, unit.tail) if side is not None]
    return mine + [text for child in unit.children for text in comments_of(child)]


@pytest.mark.parametrize(
    "text",
    [
        "- \n\n\n#   b\n-   {b:: }\n",
        "-    a\n# b\n-   {#b:\n}\n",
        "  ---\n-   a\n# b\n",
        "a: 1\nb: |\n one\n two\n   \n\nc: 1\nloopspec: 1\n",
        "{--- a: 1, # c\n ? b : [?c, d: e, ? f]}\n",
        "a: |+\n\n\n# c\nloopspec: |+\n  x\n\n\n...\n# d\n",
        "x:  # c\n- # d\n",
        "%YAML 1.1\n# c\n--- |\n text\n# d\n",
        "a: [{b: 1 # c\n}] # d\n",
        "- - - a # b\n    # c\n  # d\n# e\n",
    ],
)
def test_what_once_went_wrong_stays_right(text: str) -> None:
    holds(scan_text(text, "x"))


def test_a_node_knows_where_it_was_written_and_how() -> None:
    text = "é: [1, {a: 'b'}]\n\"k\": |+ # c\n  x\n\nm:\n  - n\n"
    root = scan_text(text, "x").node
    assert root is not None
    found = [
        (entry.name.style, text[entry.name.start : entry.name.end], node.style, node.start, node.end)
        for entry in root.entries
        for node in (entry.value, *entry.value.items)
    ]
    assert found == [
        ("", "é", "flow", 3, 16),
        ("", "é", "", 4, 5),
        ("", "é", "flow", 7, 15),
        ('"', '"k"', "|", 22, 34),
        ("", "m", "block", 39, 43),
        ("", "m", "", 41, 42),
    ]


@pytest.mark.parametrize("sign", ["\x85", "\u2028", "\u2029"])
def test_line_separators_of_old_yaml_keep_their_meaning(sign: str) -> None:
    for text in (
        f'a: "one{sign}  two"\n',
        f"a: |\n  one{sign}  two{sign}b: 1\n",
        f"a: one{sign}  two\n# c{sign}b: 1 # d{sign}",
        f"a:{sign}  - b # c{sign}  - d\n",
    ):
        holds(scan_text(text, "x"))


def test_the_deepest_and_the_longest_documents_are_formatted() -> None:
    deep = "".join(f"{'  ' * n}a: # c{n}\n" for n in range(49)) + "  " * 49 + "- 1\n"
    assert holds(scan_text(deep, "x")) == deep.replace(": #", ":  #")
    assert holds(scan_text("[" * 50 + "]" * 50, "x")) == "[" * 50 + "]" * 50 + "\n"
    wide = "a: [" + ", ".join(str(n) for n in range(20_000)) + "]\n"
    assert holds(scan_text(wide, "x")) == "a:\n" + "".join(f"  - {n}\n" for n in range(20_000))

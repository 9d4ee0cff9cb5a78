"""`new spec` and `new plugin`: what they write is right, and nothing is overwritten."""

from pathlib import Path

import pytest
from cli.kit import Place
from cli.terminal import terminal

from loopspec.drivers.making import Wish, compose, sources, write_plugin
from loopspec.errors import UsageError
from loopspec.registry import installed

TOOLS = tuple(installed().tools)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("source", sources())
def test_a_spec_from_anything_there_is_has_no_fault_and_no_warning(source: str) -> None:
    # `compose` itself refuses a spec with a fault or a warning.
    if "review" in source and "review" not in installed().kinds:
        pytest.skip("needs a plugin that is not installed here")
    text = compose(Wish("mine", source, "scripted/x.yaml"), installed())
    assert "\nname: mine\nversion: 0.1.0\n" in text
    assert "scripted/x.yaml" in text
    assert "yaml-language-server" not in text


@pytest.mark.parametrize(
    "wish",
    [
        Wish("mine"),
        Wish("mine", "chat", tools=("files.read",)),
        Wish("mine", tools=TOOLS),
        Wish("mine", allow=TOOLS),
        Wish("mine", ask=TOOLS),
        Wish("mine", tools=("shell.run",), allow=("files.edit",), ask=("files.read",)),
        Wish("mine", tools=("ask.person",)),
    ],
)
def test_a_spec_with_any_tools_has_no_fault_and_no_warning(wish: Wish) -> None:
    text = compose(wish, installed())
    for tool in (*wish.tools, *wish.allow, *wish.ask):
        assert f"{tool.replace('.', '_')}: {{use: {tool}}}" in text


def test_what_reads_is_allowed_and_the_rest_is_asked_about() -> None:
    text = compose(Wish("mine", tools=("files.read", "shell.run")), installed())
    assert "  allow: [{tools: [files_read]}]\n  ask: [{tools: [shell_run]}]\n" in text
    text = compose(Wish("mine", ask=("files.read",), allow=("shell.run",)), installed())
    assert "  allow: [{tools: [shell_run]}]\n  ask: [{tools: [files_read]}]\n" in text


@pytest.mark.parametrize(
    ("wish", "fault"),
    [
        (Wish("Not a name"), "is no name for a spec"),
        (Wish("a--b"), "is no name for a spec"),
        (Wish("../up"), "is no name for a spec"),
        (Wish("x" * 41), "is no name for a spec"),
        (Wish("mine", "coding-agnet"), "did you mean `coding-agent`?"),
        (Wish("mine", tools=("files.raed",)), "did you mean `files.read`"),
        (Wish("mine", "coding-agent", tools=("files.read",)), "has tools of its own"),
        (Wish("mine", allow=("shell.run",), ask=("shell.run",)), "both allowed and asked about"),
    ],
)
def test_a_wish_that_cannot_be_is_refused(wish: Wish, fault: str) -> None:
    with pytest.raises(UsageError) as raised:
        compose(wish, installed())
    assert fault in str(raised.value)


@pytest.mark.slow
def test_a_new_spec_runs_with_a_scripted_model(place: Place) -> None:
    (place.work / "a.txt").write_text("seven\n")
    (place.work / "script.yaml").write_text(
        "script: 1\nturns:\n"
        "  - {reply: '', calls: [{tool: files_read, args: {path: a.txt}}]}\n"
        "  - {when: seven, reply: It is seven.}\n  - {reply: It is not there.}\n"
    )
    made = place.run("new", "spec", "mine", "--model", "scripted/script.yaml", "--tools", "files.read")
    assert (made.code, made.out.splitlines()[0]) == (0, "wrote mine.yaml"), made.err
    checked = place.run("check", "mine.yaml")
    assert (checked.code, "warning" in checked.out) == (0, False)
    ran = place.run("run", "mine.yaml", "-p", "How much?")
    assert (ran.code, ran.out) == (0, "It is seven.\n"), ran.err
    again = place.run("new", "spec", "mine")
    assert (again.code, again.err) == (
        2,
        "loopspec: mine.yaml: it is there already, and nothing is overwritten. give another name\n",
    )


def test_at_a_terminal_it_asks_for_what_was_not_given(place: Place) -> None:
    with terminal(place, "new", "spec") as term:
        term.until("Name [my-loop]: ")
        term.type("talk\n")
        term.until("[empty]: ")
        term.type("\n")
        term.until("Model [anthropic/claude-sonnet-4-5]: ")
        term.type("scripted/s.yaml\n")
        term.until("Tools [files.read,files.list,files.search]: ")
        term.type("none\n")
        assert term.ends() == 0, term.text
    text = (place.work / "talk.yaml").read_text()
    assert '  main: {use: "scripted/s.yaml"}\n' in text
    assert "tools:" not in text


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("Words", "is no name for a plugin"),
        ("words_2", "is no name for a plugin"),
        ("2words", "is no name for a plugin"),
        ("../words", "is no name for a plugin"),
        ("", "is no name for a plugin"),
        ("json", "`json` means something in Python"),
        ("class", "`class` means something in Python"),
        ("builtin", "there is a plugin builtin already"),
        ("model", "there is a kind model already"),
    ],
)
def test_a_plugin_gets_a_name_that_can_be_one(tmp_path: Path, name: str, fault: str) -> None:
    with pytest.raises(UsageError) as raised:
        write_plugin(name, tmp_path, installed())
    assert fault in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_plugin_overwrites_nothing_not_even_a_link(tmp_path: Path) -> None:
    (tmp_path / "loopspec-words").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="nothing is overwritten"):
        write_plugin("words", tmp_path, installed())
    where, written = write_plugin("loopspec-two-words", tmp_path, installed())
    assert where == tmp_path / "loopspec-two-words"
    assert "src/loopspec_two_words/__init__.py" in written
    leftover = [p for p in where.rglob("*") if p.is_file() and "@" in p.read_text().replace("@hook", "")]
    assert leftover == []

"""The envelope's answers: a table of cases, and what holds whatever the rules are."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopspec.events import Decision
from loopspec.governance.authority import Target, decide
from loopspec.machine.grants import MAX_TARGET
from loopspec.machine.model import Authority, Machine, Place, Rule, ToolDecl
from loopspec.snapshot import Call, Grant

TOOLS = {
    "read_file": ToolDecl(name="read_file", use="files.read", effect="read", paths=("path",)),
    "edit_file": ToolDecl(name="edit_file", use="files.edit", effect="write", paths=("path",)),
    "shell": ToolDecl(name="shell", use="shell.run", effect="write", command="command"),
    "ask": ToolDecl(name="ask", use="people.ask", effect="read"),
}

NOTHING = Target()


def rule(
    *tools: str,
    paths: tuple[str, ...] = (),
    commands: tuple[str, ...] = (),
    reason: str = "",
    line: int = 1,
) -> Rule:
    return Rule(
        tools=tools, paths=paths, commands=commands, reason=reason, place=Place(line=line, col=5)
    )


def machine(authority: Authority) -> Machine:
    return Machine(
        name="m",
        version="1.0.0",
        initial="a",
        states={},
        transitions=(),
        tools=TOOLS,
        authority=authority,
    )


def call(tool: str) -> Call:
    return Call(id="c1_0", tool=tool, args_hash="h", seq=1, index=0)


def verdict(
    authority: Authority,
    tool: str,
    target: Target = NOTHING,
    grants: dict[str, Grant] | None = None,
    at: int = 100,
) -> Decision:
    return decide(machine(authority), call(tool), target, grants or {}, at)


ENVELOPE = Authority(
    allow=(
        rule("read_file", line=10),
        rule("edit_file", paths=("src/**", "tests/**"), line=11),
        rule("shell", commands=("pytest*", "ls", "git log* | head*"), line=12),
        rule("as*", line=13),
    ),
    ask=(rule("shell", commands=("git *",), reason="it may publish", line=20),),
    deny=(
        rule("*", paths=(".git/**", "**/.env"), reason="never", line=30),
        rule("shell", commands=("rm *", "*curl*"), line=31),
    ),
)


@pytest.mark.parametrize(
    ("tool", "target", "answer", "by", "reason"),
    [
        ("read_file", Target(paths=("a.txt",)), "allow", "allow at 10:5 (read_file)", ""),
        ("read_file", Target(paths=(".",)), "allow", "allow at 10:5 (read_file)", ""),
        ("read_file", Target(paths=(".git",)), "deny", "deny at 30:5 (*)", "never"),
        ("read_file", Target(paths=(".git/config",)), "deny", "deny at 30:5 (*)", "never"),
        ("read_file", Target(paths=(".GIT/config",)), "deny", "deny at 30:5 (*)", "never"),
        ("read_file", Target(paths=(".gitignore",)), "allow", "allow at 10:5 (read_file)", ""),
        ("read_file", Target(paths=("a.txt", "x/.env")), "deny", "deny at 30:5 (*)", "never"),
        ("edit_file", Target(paths=("src/a.py",)), "allow", "allow at 11:5 (edit_file)", ""),
        (
            "edit_file",
            Target(paths=("src/a.py", "tests/b.py")),
            "allow",
            "allow at 11:5 (edit_file)",
            "",
        ),
        (
            "edit_file",
            Target(paths=("src/a.py", "README.md")),
            "deny",
            "default",
            "no rule allows it",
        ),
        ("edit_file", Target(paths=("Src/a.py",)), "deny", "default", "no rule allows it"),
        ("ask", Target(), "allow", "allow at 13:5 (as*)", ""),
        ("shell", Target(command="ls"), "allow", "allow at 12:5 (shell)", ""),
        ("shell", Target(command=" ls \n"), "allow", "allow at 12:5 (shell)", ""),
        ("shell", Target(command="ls -l"), "deny", "default", "no rule allows it"),
        ("shell", Target(command="pytest -q"), "allow", "allow at 12:5 (shell)", ""),
        ("shell", Target(command="pytest; id"), "deny", "default", "no rule allows it"),
        ("shell", Target(command="pytest && id"), "deny", "default", "no rule allows it"),
        ("shell", Target(command="pytest | sh"), "deny", "default", "no rule allows it"),
        ("shell", Target(command="pytest `id`"), "deny", "default", "no rule allows it"),
        ("shell", Target(command="pytest $(id)"), "deny", "default", "no rule allows it"),
        ("shell", Target(command="pytest > a"), "deny", "default", "no rule allows it"),
        ("shell", Target(command="pytest <(id)"), "deny", "default", "no rule allows it"),
        ("shell", Target(command="pytest\nid"), "deny", "default", "no rule allows it"),
        ("shell", Target(command="pytest & rm -r x"), "deny", "deny at 31:5 (shell)", ""),
        ("shell", Target(command="cd x;(rm -r y)"), "deny", "deny at 31:5 (shell)", ""),
        ("shell", Target(command="git push"), "ask", "ask at 20:5 (shell)", "it may publish"),
        ("shell", Target(command="git log | head"), "ask", "ask at 20:5 (shell)", "it may publish"),
        ("shell", Target(command="rm -r x"), "deny", "deny at 31:5 (shell)", ""),
        ("shell", Target(), "deny", "default", "no rule allows it"),
        ("nothing", Target(), "deny", "undeclared-tool", "the tool `nothing` is not declared"),
        (
            "read_file",
            Target(problem="`../x` leads outside"),
            "deny",
            "confinement",
            "`../x` leads outside",
        ),
        (
            "read_file",
            Target(),
            "deny",
            "confinement",
            "its paths could not be told from its arguments",
        ),
    ],
)
def test_a_case(tool: str, target: Target, answer: str, by: str, reason: str) -> None:
    acts_on = (target.paths, target.command) if answer == "ask" else ((), "")
    assert verdict(ENVELOPE, tool, target) == Decision("c1_0", answer, by, reason, *acts_on)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "..", "a\0b"])
def test_a_path_that_is_not_below_the_work_directory_is_denied(path: str) -> None:
    found = verdict(Authority(allow=(rule("*"),)), "read_file", Target(paths=("ok", path)))
    assert found == Decision(
        call="c1_0",
        answer="deny",
        rule="confinement",
        reason=f"the path {path!r} is not below the work directory",
    )


def test_operators_in_a_glob_allow_exactly_themselves():
    envelope = Authority(allow=(rule("shell", commands=("git log* | head*", "echo $(date*)")),))

    def answers(*commands: str) -> list[str]:
        return [verdict(envelope, "shell", Target(command=c)).answer for c in commands]

    assert answers("git log -3 | head -1", "echo $(date -u)") == ["allow", "allow"]
    assert answers("git log | sh | head", "git log; id | head", "git log || head") == ["deny"] * 3
    assert answers("echo $(date; id)", "echo $(date) > x", "echo $(date $(id))") == ["deny"] * 3


def test_only_the_bare_star_allows_any_command():
    chain = Target(command="pytest; rm -rf x | sh > y")
    for glob, answer in (("*", "allow"), ("**", "deny"), ("*?", "deny")):
        envelope = Authority(allow=(rule("shell", commands=(glob,)),))
        assert verdict(envelope, "shell", chain).answer == answer


def test_rules_about_paths_or_commands_do_not_reach_tools_without_them():
    envelope = Authority(
        allow=(rule("ask", "shell", paths=("**",)), rule("ask", commands=("*",))),
        ask=(rule("*", paths=("**",)), rule("ask", commands=("*",))),
    )
    assert verdict(envelope, "ask").rule == "default"
    assert verdict(envelope, "shell", Target(command="ls")).rule == "default"
    open_to_all = msgspec.structs.replace(envelope, allow=(rule("ask"),))
    assert verdict(open_to_all, "ask").answer == "allow"


def test_brackets_in_tool_globs_stand_for_themselves():
    assert verdict(Authority(allow=(rule("[as]sk", "as[k]"),)), "ask").rule == "default"


ASKED = Authority(ask=(rule("shell", line=31),), deny=(rule("shell", commands=("rm *",), line=40),))


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({}, "allow"),
        ({"uses": 1}, "allow"),
        ({"uses": 0}, "ask"),
        ({"expires": 101}, "allow"),
        ({"expires": 100}, "ask"),
        ({"scope": "call", "args_hash": "h"}, "ask"),
        ({"scope": "world"}, "ask"),
        ({"tool": "shel*"}, "ask"),
        ({"scope": "exact", "args_hash": "h"}, "allow"),
        ({"scope": "exact", "args_hash": "h", "expires": 100}, "ask"),
        ({"scope": "exact", "args_hash": "other"}, "ask"),
        ({"scope": "exact"}, "ask"),
        ({"scope": "limited"}, "ask"),
        ({"scope": "limited", "commands": ("ls*",)}, "allow"),
        ({"scope": "limited", "commands": ("cd *", "ls")}, "allow"),
        ({"scope": "limited", "commands": ("LS",)}, "ask"),
        ({"scope": "limited", "paths": ("**",)}, "ask"),
        ({"scope": "limited", "paths": ("**",), "commands": ("ls",)}, "ask"),
    ],
)
def test_a_living_grant_for_the_tool_answers_what_would_be_asked(
    changes: dict[str, Any], answer: str
) -> None:
    given = msgspec.structs.replace(Grant(id="g7", scope="tool", tool="shell"), **changes)
    found = verdict(ASKED, "shell", Target(command="ls"), {"g7": given})
    by = "grant g7 over ask at 31:5 (shell)" if answer == "allow" else "ask at 31:5 (shell)"
    assert (found.answer, found.rule) == (answer, by)


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        (Target(paths=("src/a.py",), command="pytest -q"), "allow"),
        (Target(paths=("src/a.py", "docs/b"), command="pytest -q"), "ask"),
        (Target(paths=("src/a.py",), command="pytest; id"), "ask"),
        (Target(paths=("src/a.py",), command="pytest -q | sh"), "ask"),
        (Target(paths=(), command="pytest -q"), "ask"),
        (Target(paths=("src/a.py",)), "ask"),
    ],
)
def test_a_grant_within_limits_covers_all_of_a_call_or_nothing(target: Target, answer: str) -> None:
    limited = Grant("g7", "limited", "shell", paths=("src/**",), commands=("pytest*",))
    found = verdict(ASKED, "shell", target, {"g7": limited})
    assert found.answer == answer
    assert (found.paths, found.command) == (
        (target.paths, target.command) if answer == "ask" else ((), "")
    )


def test_what_an_asked_call_acts_on_is_left_away_when_it_is_too_long_to_be_kept() -> None:
    for command, kept in (("x" * MAX_TARGET, "x" * MAX_TARGET), ("x" * (MAX_TARGET + 1), "")):
        found = verdict(ASKED, "shell", Target(command=command))
        assert (found.answer, found.command) == ("ask", kept)


def test_who_makes_a_call_of_their_own_has_answered_what_would_be_asked_and_nothing_else() -> None:
    def own(tool: str, command: str = "") -> tuple[str, str]:
        mine = msgspec.structs.replace(call(tool), own=True)
        found = decide(machine(ASKED), mine, Target(command=command), {}, 100)
        return found.answer, found.rule

    assert own("shell", "ls") == ("allow", "ask at 31:5 (shell), answered by who called")
    assert own("shell", "rm -r x") == ("deny", "deny at 40:5 (shell)")
    assert own("ask") == ("deny", "default")
    assert own("nothing") == ("deny", "undeclared-tool")


def test_a_grant_never_overrides_a_deny_nor_what_no_rule_names():
    grants = {t: Grant(id=t, scope="tool", tool=t) for t in ("shell", "ask", "nothing")}
    assert verdict(ASKED, "shell", Target(command="rm -r x"), grants).rule == "deny at 40:5 (shell)"
    assert verdict(ASKED, "ask", grants=grants).rule == "default"
    assert verdict(ASKED, "nothing", grants=grants).rule == "undeclared-tool"


GLOBS = st.sampled_from(("*", "**", "src/**", "src/*", ".git/**", "**/.env", "a?", ".", "x/"))
PATHS = st.sampled_from((".", "src", "src/a", "src/x/a", ".git", ".env", "x/.env", "../x", "/x"))
COMMANDS = st.sampled_from(
    ("", "ls", "rm -r x", "pytest", "pytest; rm -r x", "a | b", "a $(b)", "a\nb")
)
COMMAND_GLOBS = st.sampled_from(("*", "ls", "rm *", "pytest*", "a | *", "a $(*)", "*x*"))
RULES = st.builds(
    Rule,
    tools=st.lists(st.sampled_from((*TOOLS, "*", "*_file", "s?ell")), max_size=2).map(tuple),
    paths=st.lists(GLOBS, max_size=2).map(tuple),
    commands=st.lists(COMMAND_GLOBS, max_size=2).map(tuple),
)
MANY = st.lists(RULES, max_size=3).map(tuple)
ENVELOPES = st.builds(Authority, allow=MANY, ask=MANY, deny=MANY)
TARGETS = st.builds(
    Target,
    paths=st.lists(PATHS, max_size=2).map(tuple),
    command=COMMANDS,
    problem=st.sampled_from(("", "", "", "outside")),
)
NAMES = st.sampled_from((*TOOLS, "nothing"))
GRANT = st.builds(
    Grant,
    id=st.just("g1"),
    scope=st.sampled_from(("call", "exact", "limited", "tool")),
    tool=NAMES,
    args_hash=st.sampled_from(("h", "other")),
    paths=st.lists(GLOBS, max_size=2).map(tuple),
    commands=st.lists(COMMAND_GLOBS, max_size=2).map(tuple),
)
GRANTS = st.lists(GRANT, max_size=3).map(
    lambda made: {f"g{n}": msgspec.structs.replace(g, id=f"g{n}") for n, g in enumerate(made)}
)
WIDTH = {"deny": 0, "ask": 1, "allow": 2}


def width(envelope: Authority, tool: str, target: Target, grants: dict[str, Grant]) -> int:
    return WIDTH[verdict(envelope, tool, target, grants).answer]


@settings(max_examples=400, deadline=None)
@given(ENVELOPES, RULES, NAMES, TARGETS, GRANTS, st.integers(0, 3))
def test_another_deny_rule_never_widens_and_another_ask_rule_only_what_was_unnamed(
    envelope: Authority,
    extra: Rule,
    tool: str,
    target: Target,
    grants: dict[str, Grant],
    place: int,
) -> None:
    """An ask rule lets a person decide what no rule named; without a grant nothing runs unasked."""
    before = width(envelope, tool, target, grants)
    unnamed = verdict(envelope, tool, target, grants).rule == "default"
    deny = (*envelope.deny[:place], extra, *envelope.deny[place:])
    ask = (*envelope.ask[:place], extra, *envelope.ask[place:])
    denied = msgspec.structs.replace(envelope, deny=deny)
    asked = msgspec.structs.replace(envelope, ask=ask)
    assert width(denied, tool, target, grants) <= before
    assert unnamed or width(asked, tool, target, grants) <= before
    assert width(asked, tool, target, {}) <= max(width(envelope, tool, target, {}), WIDTH["ask"])


@settings(max_examples=400, deadline=None)
@given(ENVELOPES, NAMES, TARGETS, GRANTS)
def test_fewer_allow_rules_and_fewer_grants_never_widen(
    envelope: Authority, tool: str, target: Target, grants: dict[str, Grant]
) -> None:
    before = width(envelope, tool, target, grants)
    assert width(msgspec.structs.replace(envelope, allow=()), tool, target, grants) <= before
    assert width(envelope, tool, target, {}) <= before
    denied = WIDTH["deny"]
    if width(envelope, tool, target, {}) == denied:
        assert before == denied


@settings(max_examples=300, deadline=None)
@given(ENVELOPES, NAMES, TARGETS)
def test_a_person_s_own_call_is_only_spared_the_question(
    envelope: Authority, tool: str, target: Target
) -> None:
    model = width(envelope, tool, target, {})
    mine = msgspec.structs.replace(call(tool), own=True)
    answered = decide(machine(envelope), mine, target, {}, 100).answer
    assert answered == ("deny" if model == WIDTH["deny"] else "allow")


@settings(max_examples=300, deadline=None)
@given(ENVELOPES, NAMES, TARGETS, GRANTS)
def test_what_is_odd_or_unnamed_is_denied(
    envelope: Authority, tool: str, target: Target, grants: dict[str, Grant]
) -> None:
    odd = bool(target.problem) or any(".." in p or p.startswith("/") for p in target.paths)
    if odd or tool not in TOOLS:
        assert width(envelope, tool, target, grants) == WIDTH["deny"]
    nobody = Authority(deny=envelope.deny)
    assert width(nobody, tool, target, grants) == WIDTH["deny"]

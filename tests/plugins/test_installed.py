"""Plugins in a clean environment: installed from their folders, listed, run, completed by editors."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from plugins.clean import ROOT, Clean


def listed(clean: Clean, *args: str, cwd: Path) -> Any:
    """What a command lists as JSON."""
    done = clean.loopspec(*args, "--format", "json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_plugin_is_listed_with_what_it_brings(clean: Clean, tmp_path: Path) -> None:
    found = {one["name"]: one for one in listed(clean, "plugins", cwd=tmp_path)}
    assert sorted(found) == ["builtin", "http", "review", "words"]
    assert all(one["ok"] for one in found.values())
    http = found["http"]
    assert (http["distribution"], http["version"], http["module"]) == (
        *("loopspec-http", "0.1.0"),
        "loopspec_http",
    )
    assert http["brings"]["tool"] == ["http.fetch", "http.send"]
    assert found["review"]["brings"]["kind"] == ["review"]
    assert found["words"]["brings"] == {
        "kind": ["words"],
        "tool": ["words.count"],
        "performer": ["words"],
        "store": [],
        "observer": [],
        "model": [],
    }


def test_tools_and_kinds_of_plugins_are_told_like_our_own(clean: Clean, tmp_path: Path) -> None:
    tools = {one["name"]: one for one in listed(clean, "tools", cwd=tmp_path)}
    assert tools["http.fetch"]["origin"] == "http 0.1.0"
    assert (tools["http.fetch"]["effect"], tools["http.send"]["effect"]) == ("read", "irreversible")
    told = clean.loopspec("tools", "http.fetch", cwd=tmp_path).stdout
    assert "hosts" in told and "required" in told
    kinds = {one["name"] for one in listed(clean, "kinds", cwd=tmp_path)}
    assert {"review", "words"} <= kinds


def test_the_keys_of_plugins_complete_in_an_editor(clean: Clean, tmp_path: Path) -> None:
    done = clean.loopspec("schema", "--merged", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    schema = json.loads(done.stdout)
    Draft202012Validator.check_schema(schema)
    state, tool = schema["$defs"]["state"], schema["$defs"]["tool"]
    assert {"review", "words"} <= set(state["properties"]["kind"]["enum"])
    assert {"review.passed", "review.failed", "words.found"} <= set(
        state["properties"]["on"]["properties"]
    )
    keys = {
        rule["if"]["properties"]["kind"]["const"]: rule["then"]["properties"]
        for rule in state["allOf"]
        if "kind" in rule.get("if", {}).get("properties", {})
        and "const" in rule["if"]["properties"]["kind"]
    }
    assert keys["review"]["criteria"]["description"]
    assert keys["words"]["pattern"]["examples"] == ["**/*.md"]
    withs = {
        rule["if"]["properties"]["use"]["const"]: rule["then"]["properties"]["with"].get("properties", {})
        for rule in tool["allOf"]
    }
    assert {"hosts", "schemes", "ports", "headers", "max_size", "timeout", "private"} == set(
        withs["http.fetch"]
    )
    validator = Draft202012Validator(schema)
    spec = {
        "loopspec": 1,
        "name": "x",
        "version": "1.0.0",
        "tools": {"fetch": {"use": "http.fetch", "with": {"hosts": ["example.com"]}}},
        "initial": "a",
        "states": {"a": {"kind": "words", "pattern": "*.md", "on": {"words.found": "b"}}, "b": {}},
    }
    assert list(validator.iter_errors(spec)) == []
    spec["tools"]["fetch"]["with"] = {"host": "example.com"}  # type: ignore[index]
    spec["states"]["a"]["patern"] = "x"  # type: ignore[index]
    assert len(list(validator.iter_errors(spec))) >= 2


@pytest.mark.slow
def test_what_new_plugin_wrote_passes_its_own_tests_and_runs(clean: Clean, tmp_path: Path) -> None:
    folder = clean.path.parent / "loopspec-words"
    done = clean.run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
    checked = clean.loopspec("check", "example.yaml", cwd=folder)
    assert (checked.returncode, "right:" in checked.stdout) == (0, True), checked.stdout
    ran = clean.loopspec("run", "example.yaml", "-p", "How long is it?", cwd=folder)
    assert (ran.returncode, ran.stdout) == (0, "That is how long it is.\n"), ran.stderr


@pytest.mark.slow
def test_the_http_tool_runs_in_a_loop_and_refuses_what_is_private(clean: Clean, tmp_path: Path) -> None:
    script = {
        "script": 1,
        "turns": [
            {"reply": "", "calls": [{"tool": "fetch", "args": {"url": "http://localhost:80/"}}]},
            {"when": "such addresses are not asked", "reply": "It is private."},
            {"reply": "It was let through."},
        ],
    }
    (tmp_path / "script.yaml").write_text(json.dumps(script))
    made = clean.loopspec(
        *("new", "spec", "web", "--model", "scripted/script.yaml", "--allow", "http.fetch"), cwd=tmp_path
    )
    assert made.returncode == 0, made.stderr
    text = (tmp_path / "web.yaml").read_text()
    line = next(line for line in text.splitlines() if "http.fetch" in line)
    mine = '  http_fetch: {use: http.fetch, with: {hosts: [localhost], schemes: [http]}}'
    (tmp_path / "web.yaml").write_text(text.replace(line, mine.replace("http_fetch", "fetch"))
                                       .replace("[http_fetch]", "[fetch]"))
    ran = clean.loopspec("run", "web.yaml", "-p", "Look.", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, "It is private.\n"), ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["loopspec-http", "loopspec-review"])
def test_a_plugin_passes_its_own_tests_in_the_clean_environment(clean: Clean, name: str) -> None:
    folder = clean.path.parent / name
    done = clean.run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["loopspec-http", "loopspec-review", "loopspec-words"])
def test_a_plugin_is_typed_and_tidy(clean: Clean, name: str) -> None:
    folder = clean.path.parent / name
    typed = clean.run("-m", "mypy", cwd=folder, MYPYPATH=str(ROOT))
    assert typed.returncode == 0, typed.stdout + typed.stderr
    tidy = clean.run("-m", "ruff", "check", "--no-cache", ".", cwd=folder)
    assert tidy.returncode == 0, tidy.stdout

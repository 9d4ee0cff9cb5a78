"""A broken plugin is named before any session, with what was seen and what is wanted."""

import json
from pathlib import Path

import pytest
from cli.kit import Place, small

from plugins.faked import installed

BROKEN = {
    "leaves": (
        "from loopspec.hooks import hook\n@hook\ndef loopspec_tools():\n    raise SystemExit(0)",
        "loopspec_tools raised SystemExit: 0",
    ),
    "speechless": (
        "class E(Exception):\n    def __str__(self): raise ValueError\nraise E",
        "the plugin cannot be imported: E (which has no text)",
    ),
    "endless": (
        """
        from loopspec.hooks import Tool, hook
        async def run(ctx, args): ...
        @hook
        def loopspec_tools():
            return [Tool("my.tool", "Does.", {"type": "object"}, run, total=float("inf"))]
        """,
        "tool `my.tool`: total inf s, silence 0.0 s; wanted > 0, >= 0",
    ),
    "seconds": (
        """
        from loopspec.hooks import Tool, hook
        async def run(ctx, args): ...
        @hook
        def loopspec_tools():
            return [Tool("my.tool", "Does.", {"type": "object"}, run, total="5")]
        """,
        "what loopspec_tools gave cannot be used: TypeError:",
    ),
    "typeless": (
        """
        from loopspec.hooks import Tool, hook
        async def run(ctx, args): ...
        @hook
        def loopspec_tools():
            return [Tool("my.tool", "Does.", {"properties": {"a": {"type": 5}}}, run)]
        """,
        "tool `my.tool`: `parameters` is no JSON Schema: a: the type 5, wanted one of",
    ),
    "unwritable": (
        """
        from loopspec.hooks import Tool, hook
        async def run(ctx, args): ...
        @hook
        def loopspec_tools():
            return [Tool("my.tool", "Does.", {"properties": {"a": {"enum": {1}}}}, run)]
        """,
        "tool `my.tool`: `parameters` cannot be written as JSON: TypeError:",
    ),
    "endings": (
        """
        from loopspec.hooks import Kind, hook
        @hook
        def loopspec_kinds():
            return [Kind("mine", "none", "", endings=None)]
        """,
        "what loopspec_kinds gave cannot be used: AttributeError:",
    ),
    "import": ("import nothing_of_that_name", "the plugin cannot be imported: ModuleNotFoundError"),
    "syntax": ("def (", "the plugin cannot be imported: SyntaxError"),
    "exits": ("raise SystemExit(3)", "the plugin cannot be imported: SystemExit: 3"),
    "empty": ("x = 1", "it brings nothing: no function of it is marked with @hook"),
    "unmarked": (
        "def loopspec_tools():\n    return []",
        "`loopspec_tools` is not marked as a hook",
    ),
    "misspelt": (
        "from loopspec.hooks import hook\n@hook\ndef loopspec_tool():\n    return []",
        "`loopspec_tool` is marked with @hook and is no hook",
    ),
    "signature": (
        "from loopspec.hooks import hook\n@hook\ndef loopspec_tools(registry):\n    return []",
        "seen `def loopspec_tools(registry)`, wanted `def loopspec_tools() -> list[Tool]`",
    ),
    "asynchronous": (
        "from loopspec.hooks import hook\n@hook\nasync def loopspec_tools():\n    return []",
        "seen `async def loopspec_tools()`, wanted `def loopspec_tools() -> list[Tool]`",
    ),
    "raises": (
        "from loopspec.hooks import hook\n@hook\ndef loopspec_tools():\n    raise KeyError('x')",
        "loopspec_tools raised KeyError: 'x'",
    ),
    "nothing": (
        "from loopspec.hooks import hook\n@hook\ndef loopspec_tools():\n    pass",
        "loopspec_tools gave NoneType, wanted list[Tool]",
    ),
    "type": (
        "from loopspec.hooks import hook\n@hook\ndef loopspec_kinds():\n    return {}",
        "loopspec_kinds gave dict, wanted list[Kind]",
    ),
    "things": (
        "from loopspec.hooks import hook\n@hook\ndef loopspec_tools():\n    return ['x']",
        "loopspec_tools gave str, not Tool",
    ),
    "run": (
        """
        from loopspec.hooks import Tool, hook
        def run(args): ...
        @hook
        def loopspec_tools():
            return [Tool("my.tool", "Does.", {"type": "object"}, run)]
        """,
        "tool `my.tool`: seen `def run(args)`, wanted `async def run(ctx, args)`",
    ),
    "schema": (
        """
        from loopspec.hooks import Tool, hook
        async def run(ctx, args): ...
        @hook
        def loopspec_tools():
            return [Tool("my.tool", "Does.", {"type": "object", "properties": ["a"]}, run)]
        """,
        "tool `my.tool`: `parameters` is no JSON Schema: at the top: `properties` is no object",
    ),
    "path": (
        """
        from loopspec.hooks import Tool, hook
        async def run(ctx, args): ...
        @hook
        def loopspec_tools():
            return [Tool("my.tool", "Does.", {"type": "object"}, run, paths=("file",))]
        """,
        "tool `my.tool`: `file` is named in `paths` or `command` and is no parameter",
    ),
    "taken": (
        """
        from loopspec.hooks import Tool, hook
        async def run(ctx, args): ...
        @hook
        def loopspec_tools():
            return [Tool("files.read", "Does.", {"type": "object"}, run)]
        """,
        "tool `files.read` is already brought by plugin builtin",
    ),
    "performer": (
        """
        from loopspec.hooks import Kind, hook
        @hook
        def loopspec_kinds():
            return [Kind("mine", "one", "perform", "gone", endings={"mine.done": ""})]
        """,
        "kind `mine` names the performer `gone`, which no plugin brings",
    ),
    "methods": (
        """
        from loopspec.hooks import hook
        class Watches:
            def begin(self): ...
        @hook
        def loopspec_observers():
            return {"mine": Watches}
        """,
        "observer `mine`: seen `def begin(self)`, wanted `def begin(self, run)`",
    ),
    "store": (
        """
        from loopspec.hooks import hook
        @hook
        def loopspec_stores():
            return {"mine": lambda where: None}
        """,
        "store `mine`: seen `def <lambda>(where)`, wanted `def open(where, *, readonly)`",
    ),
    "prefix": (
        """
        from loopspec.hooks import hook
        @hook
        def loopspec_models():
            return {"openai": object}
        """,
        "models of the prefix `openai` are litellm's",
    ),
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_every_broken_plugin_is_listed_with_its_fault_and_the_others_still_are(place: Place) -> None:
    folder = place.path / "site"
    for name, (code, _) in BROKEN.items():
        installed(folder, name, code)
    ran = place.run("plugins", "--format", "json", PYTHONPATH=str(folder))
    assert (ran.code, ran.err) == (1, "")
    found = {one["name"]: one for one in json.loads(ran.out)}
    assert found["builtin"]["ok"]
    assert {n: found[n]["fault"][: len(f)] for n, (_, f) in BROKEN.items()} == {
        name: fault for name, (_, fault) in BROKEN.items()
    }
    told = place.run("plugins", PYTHONPATH=str(folder)).out
    assert "signature 1.2.3 (dist-signature, plug_signature): cannot be used\n  seen `def" in told


@pytest.mark.parametrize("name", ["import", "signature"])
def test_no_session_starts_beside_a_broken_plugin(place: Place, name: str) -> None:
    folder = installed(place.path / "site", name, BROKEN[name][0])
    spec = small(place, {"reply": "never"})
    ran = place.run("run", spec, "-p", "x", PYTHONPATH=str(folder))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"loopspec: plugin {name}")
    assert BROKEN[name][1] in ran.err
    assert ran.err.count("\n") == 1
    assert not place.store.exists()

"""Rules of style that matter are tests: sizes, pure floors, imports that belong to one file."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "loopspec"
FILES = sorted(p for p in PACKAGE.rglob("*.py") if "demo/repo" not in p.as_posix())
PURE = ("machine", "journal", "context", "governance", "views", "spec", "check")
WORDS = (
    *("event_base", "event_commands", "event_derived", "event_live", "events", "effects", "snapshot"),
    *("record", "codec", "tokens", "errors"),
)
MAX_LINES = 400
MAX_FUNCTION = 65
IMPURE = {
    *("asyncio", "concurrent", "multiprocessing", "random", "secrets", "shutil", "signal"),
    *("socket", "sqlite3", "subprocess", "tempfile", "threading", "time", "http"),
}
ONLY_IN = {
    "yaml": {"spec/source.py"},
    "litellm": {"performers/model_litellm.py", "performers/scripted.py", "performers/model.py"},
    "sqlite3": {"stores/sqlite.py", "stores/writer.py", "stores/common.py"},
    "diskcache": {"performers/reply_cache.py"},
}
ONLY_UNDER_CLI = {"click", "rich", "prompt_toolkit"}


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0], node.lineno


def is_pure(path: Path) -> bool:
    parts = name(path).split("/")
    return parts[0] in PURE or (len(parts) == 1 and path.stem in WORDS)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_is_small_and_its_functions_fit_a_screen(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MAX_LINES, f"{name(path)} has outgrown its name"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or 0) - node.lineno
            assert size <= MAX_FUNCTION, f"{name(path)}:{node.lineno} {node.name}: {size} lines"


@pytest.mark.parametrize("path", [p for p in FILES if is_pure(p)], ids=name)
def test_a_pure_floor_has_no_clock_dice_io_or_async(path: Path) -> None:
    tree = ast.parse(path.read_text())
    reads_files = {"spec/source.py", "spec/schema.py"}
    for module, line in imports(tree):
        assert module not in IMPURE, f"{name(path)}:{line} imports {module}"
    for node in ast.walk(tree):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), f"{name(path)} is async"
        if isinstance(node, ast.Call) and name(path) not in reads_files:
            called = node.func
            word = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            assert word not in {"open", "print", "input", "now", "utcnow", "read_text", "write_text"}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_library_is_imported_where_it_belongs(path: Path) -> None:
    for module, line in imports(ast.parse(path.read_text())):
        where = ONLY_IN.get(module)
        assert where is None or name(path) in where, f"{name(path)}:{line} imports {module}"
        if module in ONLY_UNDER_CLI:
            assert name(path).startswith("cli/"), f"{name(path)}:{line} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nothing_dangerous_is_called(path: Path) -> None:
    text = path.read_text()
    for pattern in (r"\bpickle\b(?!,)", r"(?<![.\w])eval\(", r"\bexec\(", r"shell=True", r"yaml\.load\("):
        found = re.search(pattern, text)
        if found and pattern.startswith(r"\bpickle"):
            line = text[: found.start()].count("\n")
            assert "import" not in text.splitlines()[line], f"{name(path)}:{line + 1}"
            continue
        assert not found, f"{name(path)} has {pattern}"


def test_the_documents_name_no_registry_and_no_path_of_a_machine() -> None:
    texts = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "constraints.txt"]
    for path in texts:
        assert not re.search(r"pypi\.org|registry\.npmjs|deb\.debian|/root/|/home/\w+/", path.read_text())


LAZY = {
    "drivers/choosing.py": {"loopspec.performers.model"},
    "drivers/conforming.py": {"jsonschema", "jsonschema.exceptions", "jsonschema.validators"},
    "drivers/schemas.py": {"jsonschema", "jsonschema.validators", "referencing"},
    "drivers/fitting.py": {
        *("loopspec.performers.model", "loopspec.performers.model_request"),
        "loopspec.performers.windows",
    },
    "drivers/launch.py": {"loopspec.performers.model"},
    "drivers/world.py": {"loopspec.performers.asking"},
    "performers/builtin.py": {"loopspec.tools.catalog"},
    "performers/reply_faults.py": {
        *("jsonschema", "jsonschema.exceptions", "referencing", "referencing.exceptions"),
    },
    "spec/tiers.py": {"jsonschema", "jsonschema.exceptions"},
    "performers/local/http.py": {"ssl"},
    "performers/scripted.py": {"loopspec.spec.source"},
    "spec/validate.py": {
        *("jsonschema", "jsonschema.exceptions", "referencing", "referencing.exceptions"),
    },
    "tools/arguments.py": {"jsonschema", "referencing"},
}
"""Imports inside functions, and only these: what is heavy is loaded when it is needed. The command
line may import any of our own modules late, because starting it must cost little."""


def test_an_import_inside_a_function_is_one_of_the_lazy_ones() -> None:
    for path in FILES:
        found: set[str] = set()
        for outer in ast.walk(ast.parse(path.read_text())):
            if not isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for node in ast.walk(outer):
                if isinstance(node, ast.Import):
                    found.update(alias.name for alias in node.names)
                elif isinstance(node, ast.ImportFrom):
                    found.add(node.module or "")
        if name(path).startswith("cli/"):
            found = {m for m in found if not m.startswith("loopspec.") and m != "msgspec"}
        assert found <= LAZY.get(name(path), set()), f"{name(path)}: {sorted(found)}"


BY_NAME = {
    "performers/model_litellm.py": ("litellm", "httpx"),
    "performers/reply_cache.py": ("diskcache",),
}


def test_a_library_is_imported_by_name_only_where_it_is_meant_to_be() -> None:
    for path in FILES:
        for module in re.findall(r'import_module\(\s*f?"([^"]+)"', path.read_text()):
            root = module.split(".")[0]
            allowed = ("loopspec", *BY_NAME.get(name(path), ()))
            assert root in allowed, f"{name(path)} loads {module}"

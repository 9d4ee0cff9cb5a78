"""Generated: the files in this repository that are written from tables, kinds and tools.

`python -m loopspec.cli.generated [FOLDER]` writes them anew below the folder, by default here. A test
holds the stored files against `stored`.
"""

import sys
from pathlib import Path
from typing import Any

from loopspec.drivers import lines, lines_schema
from loopspec.drivers.launch import tool_infos
from loopspec.performers import builtin
from loopspec.registry import Registry, build
from loopspec.spec import schema
from loopspec.testing import journey_file
from loopspec.version import __version__
from loopspec.views import reference, reference_lists


def shipped_registry() -> Registry:
    """What loopspec itself brings, whatever else is installed."""
    return build([("builtin", __version__, builtin)])


def open_schema() -> dict[str, Any]:
    """The stored schema: it knows loopspec's own kinds and tools, and lets plugins bring others."""
    registry = shipped_registry()
    return schema.build(registry.kinds, tool_infos(registry), closed=False)


def stored() -> dict[str, str]:
    """The text of every generated file, by its path from the root of the repository."""
    registry = shipped_registry()
    return {
        "schemas/loopspec-1.schema.json": schema.render(open_schema()),
        lines.SCHEMA_FILE: lines_schema.render(),
        "schemas/journey-1.schema.json": journey_file.schema(),
        "docs/reference/language.md": reference.language_page(),
        "docs/reference/events.md": reference_lists.events_page(registry.kinds),
        "docs/reference/kinds.md": reference_lists.kinds_page(registry.kinds),
        "docs/reference/tools.md": reference_lists.tools_page(tool_infos(registry)),
    }


def main(folder: Path) -> None:
    """Write every generated file below `folder`."""
    for name, text in stored().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(*sys.argv[1:2]))

"""Plugins for tests, as an installer leaves them: a module and a `.dist-info` on Python's path."""

from pathlib import Path
from textwrap import dedent


def installed(folder: Path, name: str, code: str, *, version: str = "1.2.3", module: str = "") -> Path:
    """Put a plugin called `name` below `folder`, which belongs on PYTHONPATH."""
    module = module or f"plug_{name}"
    info = folder / f"dist_{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[loopspec]\n{name} = {module}\n")
    if code:
        (folder / f"{module}.py").write_text(dedent(code))
    return folder

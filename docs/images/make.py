"""Make the images of the documentation again: `python docs/images/make.py`, or with `--graphs` only those
that depend on nothing but a loop's file.

The pngs of graphs need the library resvg_py (`pip install 'loopspec[png]'`), the png of the timeline a
Chromium; without one the old image stays, and the script says so. The demo runs offline, with a scripted
model, in a directory of its own.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from shrink import shrink

IMAGES = Path(__file__).parent
ROOT = IMAGES.parent.parent
BROWSERS = ("chromium", "chromium-browser", "chromium-headless-shell", "google-chrome")
SESSION = "demo-session"


def main(only_graphs: bool) -> None:
    """Write every image."""
    with tempfile.TemporaryDirectory(prefix="loopspec-images-") as folder:
        path = with_plugins(Path(folder))
        for loop in sorted((ROOT / "specs").glob("*.yaml")):
            graphs(str(loop.relative_to(ROOT)), IMAGES / loop.stem, PYTHONPATH=path)
        if not only_graphs:
            demo(Path(folder))


def with_plugins(folder: Path) -> str:
    """A Python path on which the plugins of this checkout are found as if they were installed."""
    found = [str(folder)]
    for file in sorted((ROOT / "plugins").glob("*/pyproject.toml")):
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir()
        head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (info / "METADATA").write_text(head, encoding="utf-8")
        points = project.get("entry-points", {}).get("loopspec", {})
        lines = "".join(f"{name} = {where}\n" for name, where in points.items())
        (info / "entry_points.txt").write_text(f"[loopspec]\n{lines}", encoding="utf-8")
        found.append(str(file.parent / "src"))
    return os.pathsep.join(found)


def graphs(target: str, image: Path, **env: str) -> None:
    """The picture of a loop, as svg and png."""
    if loopspec("graph", target, "-o", f"{image}.svg", **env):
        png(target, Path(f"{image}.png"), **env)


def png(target: str, image: Path, **env: str) -> None:
    """The picture of a loop or session as a small png."""
    draft = image.with_suffix(".draft.png")
    if loopspec("graph", target, "-o", str(draft), "--scale", "1", **env):
        shrink(draft)
        draft.replace(image)


def demo(folder: Path) -> None:
    """Run the demo and draw its session: the graph, the page, and how the page looks."""
    env = {"LOOPSPEC_STORE": str(folder / "store")}
    arguments = ("--yes", "--session", SESSION, str(folder / "work"))
    if not loopspec("demo", *arguments, quiet=True, **env):
        return
    page = IMAGES / "demo-timeline.html"
    loopspec("graph", SESSION, "-o", str(IMAGES / "demo-graph.svg"), **env)
    png(SESSION, IMAGES / "demo-graph.png", **env)
    loopspec("timeline", SESSION, "--html", str(page), **env)
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        print("no Chromium here: demo-timeline.png stays as it was")
        return
    subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--user-data-dir={folder / 'browser'}", "--blink-settings=preferredColorScheme=1"),
            *("--window-size=1240,900", f"--screenshot={IMAGES / 'demo-timeline.png'}", page.as_uri()),
        ],
        check=True,
        timeout=120,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def loopspec(*arguments: str, quiet: bool = False, **env: str) -> bool:
    """Run a command of this checkout; says so if it fails."""
    ran = subprocess.run(
        [sys.executable, "-m", "loopspec", *arguments],
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL if quiet else None,
    )
    if ran.returncode:
        print(f"failed: loopspec {' '.join(arguments)}")
    return ran.returncode == 0


if __name__ == "__main__":
    main("--graphs" in sys.argv[1:])

"""A clean environment with nothing but loopspec and the plugins that are installed into it."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TIMEOUT = 300


class Clean:
    """A virtual environment that sees this one's libraries, and has its own plugins."""

    def __init__(self, path: Path) -> None:
        self.path = path
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", path], check=True, timeout=TIMEOUT
        )
        self.python = path / "bin" / "python"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        parent = sysconfig.get_path("purelib")
        line = f"import site; site.addsitedir({parent!r}); site.addsitedir({str(ROOT)!r})\n"
        (path / "lib" / version / "site-packages" / "parent.pth").write_text(line)

    def install(self, *folders: Path) -> None:
        """Install packages from their folders, from nowhere else."""
        places = [str(folder) for folder in folders]
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "-q"]
        options = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
        done = subprocess.run(
            [*command, *options, *places], capture_output=True, text=True, timeout=TIMEOUT
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def run(
        self, *args: str | Path, cwd: Path, **env: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run this environment's Python with arguments."""
        keep = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}
        return subprocess.run(
            [str(self.python), *map(str, args)],
            cwd=cwd,
            env={**keep, "LANG": "C.UTF-8", "LOOPSPEC_STORE": str(self.path / "store"), **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )

    def loopspec(
        self, *args: str | Path, cwd: Path, **env: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run its `loopspec ARGS`."""
        return self.run("-m", "loopspec", *args, cwd=cwd, **env)

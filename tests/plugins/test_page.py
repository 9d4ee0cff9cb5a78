"""The page for plugin authors is true: its commands are run in a clean environment, in order."""

from pathlib import Path

import pytest
from docs.pages import Run, blocks

from plugins.clean import ROOT, Clean

PAGE = ROOT / "docs" / "plugins.md"


@pytest.mark.slow
def test_the_page_does_what_it_shows(tmp_path: Path) -> None:
    clean = Clean(tmp_path / "env")
    script = clean.path / "bin" / "loopspec"
    script.write_text(f"#!{clean.python}\nfrom loopspec.cli.main import main\n\nmain()\n")
    script.chmod(0o755)
    run = Run(tmp_path)
    run.env["PATH"] = f"{clean.path / 'bin'}:{run.env['PATH']}"
    run.env |= {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "false"}
    run.env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    found = blocks(PAGE.read_text())
    run.files(found)
    wrong: list[str] = []
    for block in found:
        if block.lang == "console":
            wrong += run.console(block)
        elif block.lang == "python" and not block.about:
            wrong += run.python(block)
        elif block.lang in ("yaml", "toml") and not block.about:
            wrong += run.data(block)
    assert not wrong, "\n\n".join(wrong)
    assert not [block for block in found if block.why]

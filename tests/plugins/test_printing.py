"""What a plugin prints goes to stderr: stdout belongs to the program that reads the result."""

import json
from pathlib import Path

import pytest
from cli.kit import Place, small

from plugins.faked import installed

PLUGIN = """
    from loopspec.hooks import ModelFacts, Piece, hook

    class Chatty:
        def facts(self, name):
            return ModelFacts(window=9000, priced=True)
        async def stream(self, ask):
            print("debugging", ask.name)
            yield Piece(text="It is seven.")
            yield Piece(finish="stop")

    @hook
    def loopspec_models():
        return {"chatty": Chatty}
"""


@pytest.mark.parametrize("form", ["json", "stream-json"])
def test_a_plugin_that_prints_breaks_no_json(form: str, tmp_path: Path) -> None:
    place = Place(tmp_path)
    folder = installed(tmp_path / "plugins", "chatty", PLUGIN)
    spec = small(place, {"reply": "unused"})
    ran = place.run(
        *("run", spec, "-p", "What time is it?", "--model", "main=chatty/one"),
        *("--output-format", form),
        PYTHONPATH=str(folder),
    )
    assert ran.code == 0, ran.err
    objects = [json.loads(line) for line in ran.out.splitlines()]
    assert objects[-1]["answer"] == "It is seven."
    assert "debugging one" in ran.err

"""A refusal quotes what was asked for, and a secret in that is written nowhere."""

from pathlib import Path

import pytest
from cli.kit import Place, small

import loopspec
from loopspec import RefusedLine
from loopspec.stores.sqlite import SqliteStore

SECRET = "swordfish-is-it-0042"
ASKS = (
    {"reply": "", "calls": [{"tool": "shell", "args": {"command": "echo hi"}}]},
    {"reply": "Done."},
)


def test_a_secret_given_as_a_scope_is_not_in_the_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LILY_API_KEY", SECRET)
    place = Place(tmp_path)
    loop = loopspec.load(small(place, *ASKS))
    made = loop.session("Do it.", store=place.store, workdir=place.work)
    made.finish_sync()
    made.approve(scope=SECRET)
    refused = [x for x in made.run_sync() if isinstance(x, RefusedLine)]
    assert len(refused) == 1 and "[secret:LILY_API_KEY]" in refused[0].reason
    store = SqliteStore(place.store, readonly=True)
    try:
        kept = b"".join(store.refusals(made.id))
    finally:
        store.close()
    assert b"LILY_API_KEY" in kept and SECRET.encode() not in kept

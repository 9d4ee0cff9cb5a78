"""Every test starts without keys of its own and with scripts nobody has used."""

from collections.abc import Iterator

import pytest

from loopspec.performers import scripted
from loopspec.performers.model_litellm import KEYS


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for names in KEYS.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)
    scripted.forget()
    yield
    scripted.forget()

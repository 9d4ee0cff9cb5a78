"""The estimate held against the tokenizers that litellm carries, and its correction."""

import importlib.util
import random
from pathlib import Path

import pytest

from loopspec.tokens import ITEM_OVERHEAD, estimate, scaled

ROOT = Path(__file__).parent.parent.parent
CJK = "我们需要修复这个错误，因为测试在新的版本中失败了。请先阅读代码，然后再做修改，最后运行测试。"


def texts() -> dict[str, list[str]]:
    """Texts by sort: what agents read and write, and rows of numbers."""
    dice = random.Random(7)
    rows = [",".join(str(round(dice.random() * 1000, 2)) for _ in range(8)) for _ in range(200)]
    numbers = [str(dice.randrange(10 ** dice.randrange(1, 12))) for _ in range(800)]
    return {
        "code": [p.read_text() for p in sorted((ROOT / "loopspec" / "machine").glob("*.py"))],
        "prose": [p.read_text() for p in sorted((ROOT / "docs").glob("*.md"))],
        "json": [p.read_text() for p in sorted((ROOT / "schemas").glob("*.json"))],
        "table": ["\n".join(rows)],
        "numbers": [" ".join(numbers)],
        "chinese": [CJK * 20],
    }


@pytest.mark.parametrize("sort", sorted(texts()))
def test_the_estimate_is_near_what_a_tokenizer_counts(
    sort: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cl100k, from the copy that litellm carries: nothing is fetched."""
    found = importlib.util.find_spec("litellm")
    assert found is not None and found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0]) / "litellm_core_utils" / "tokenizers"
    tiktoken = pytest.importorskip("tiktoken")
    if not any(folder.glob("9b5ad71b*")):
        pytest.skip("this litellm carries no tokenizer")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
    encoding = tiktoken.get_encoding("cl100k_base")
    some = texts()[sort]
    counted = sum(len(encoding.encode(text, disallowed_special=())) for text in some)
    guessed = sum(estimate(text) - ITEM_OVERHEAD for text in some)
    assert 0.8 < guessed / counted < 1.25, guessed / counted


def test_an_estimate_grows_with_the_text_and_never_fails() -> None:
    assert estimate("") == ITEM_OVERHEAD
    assert estimate("\ud800") > 0
    text = "Grüße, 42!\n"
    sizes = [estimate(text * n) for n in range(1, 50)]
    assert sizes == sorted(sizes)


def test_a_scale_is_parts_per_million_and_none_is_one() -> None:
    assert [scaled(100, s) for s in (0, 1_000_000, 250_000, 4_000_000)] == [100, 100, 25, 400]

"""The reply cache: a hit costs nothing, and no damage to it is ever an error."""

import asyncio
import json
import pickle
import sqlite3
from pathlib import Path

import pytest
from model_helpers import Provider, effect, parts, reply, run, sse, world_for

from loopspec.events import ModelReplied, ProposedCall, TextDelta, TokenUsage
from loopspec.performers.model import ModelPerformer
from loopspec.performers.reply_cache import CachedReply, ReplyCache

HOUR = 3_600_000_000
KNOWN = CachedReply("Hello", [ProposedCall("read_file", '{"a":1}')], "")


def asked(directory: Path, times: int, cache: int = HOUR, finish: str = "stop") -> list[object]:
    """Answers to the same request, the live events of the last, and how often it was sent."""

    async def go() -> list[object]:
        body = reply(sse({"content": "Hel"}), sse({"content": "lo"}), finish=finish)
        async with Provider(parts(*body)) as provider:
            out: list[object] = []
            params = json.dumps({"api_base": provider.base})
            for _ in range(times):
                world = world_for("openai/xyz", directory, params=params, cache=cache)
                out.append(await ModelPerformer().perform(effect("openai/xyz"), world))
            return [*out, world.watched, len(provider.requests)]

    return run(go())


def test_a_hit_gives_the_same_reply_at_once_and_for_nothing(tmp_path: Path) -> None:
    first, second, watched, sent = asked(tmp_path, 2)
    assert isinstance(first, ModelReplied) and first.finish == "stop"
    assert second == ModelReplied(
        "s:1:0",
        text="Hello",
        finish="cached",
        model="openai/xyz",
        usage=TokenUsage(cost=0),
        request=first.request,
        tokens=first.tokens,
    )
    assert watched == [TextDelta("s:1:0", "Hello")]
    assert sent == 1
    assert (tmp_path / "cache" / "replies").stat().st_mode & 0o777 == 0o700


def test_without_a_cache_duration_nothing_is_kept(tmp_path: Path) -> None:
    assert asked(tmp_path, 2, cache=0)[-1] == 2
    assert not (tmp_path / "cache").exists()


def test_an_expired_reply_is_a_miss(tmp_path: Path) -> None:
    assert asked(tmp_path, 2, cache=1)[-1] == 2


def test_a_reply_cut_by_the_length_limit_is_not_kept(tmp_path: Path) -> None:
    assert asked(tmp_path, 2, finish="length")[-1] == 2


def test_a_reply_comes_back_as_it_was(tmp_path: Path) -> None:
    async def go() -> list[object]:
        cache = ReplyCache(tmp_path / "c")
        missed = await cache.get("key")
        kept = await cache.put("key", KNOWN, 60)
        return [missed, kept, await cache.get("key"), await cache.get("other")]

    assert run(go()) == [None, True, KNOWN, None]


def damage_file(directory: Path) -> None:
    (directory / "cache.db").write_bytes(b"this is no database" * 100)


def damage_value(directory: Path) -> None:
    with sqlite3.connect(directory / "cache.db") as db:
        db.execute("UPDATE Cache SET value = ?", (b"not zlib",))


def damage_shape(directory: Path) -> None:
    assert asyncio.run(ReplyCache(directory).put("key", KNOWN, 60))
    with sqlite3.connect(directory / "cache.db") as db:
        db.execute("UPDATE Cache SET value = 7, mode = 1")


def damage_link(directory: Path) -> None:
    directory.rename(directory.with_name("elsewhere"))
    directory.symlink_to(directory.with_name("elsewhere"))


@pytest.mark.parametrize("damage", [damage_file, damage_value, damage_shape, damage_link])
def test_damage_is_a_miss(damage, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    cache = ReplyCache(tmp_path / "c")
    assert asyncio.run(cache.put("key", KNOWN, 60))
    damage(tmp_path / "c")
    assert asyncio.run(cache.get("key")) is None


def test_a_damaged_cache_does_not_disturb_a_call(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the directory should be")
    first, second, _, sent = asked(tmp_path, 2)
    assert isinstance(first, ModelReplied) and first.text == "Hello"
    assert second == first and sent == 2


class Trap:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.mark,)  # type: ignore[return-value]


def test_a_planted_pickle_is_refused_unread(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path / "c")
    assert asyncio.run(cache.put("key", KNOWN, 60))
    mark = tmp_path / "unpickled"
    with sqlite3.connect(tmp_path / "c" / "cache.db") as db:
        db.execute("UPDATE Cache SET mode = 4, value = ?", (pickle.dumps(Trap(mark)),))
    assert asyncio.run(cache.get("key")) is None
    assert not mark.exists()
    pickle.loads(pickle.dumps(Trap(mark)))  # noqa: S301 - our own bytes, to prove the trap
    assert mark.exists(), "the trap itself works"

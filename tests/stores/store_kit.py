"""What the store tests and their child processes share: deterministic entries."""

import base64
import os
import random
import subprocess
import sys
from pathlib import Path

import loopspec
from loopspec import codec
from loopspec.stores.base import Append, Head, Store

CHILD = Path(__file__).with_name("store_child.py")


def item(session: str, seq: int, *, blobs: tuple[bytes, ...] = (), pad: int = 0) -> Append:
    """Entry `seq` of a session: the same arguments give the same bytes."""
    noise = base64.b64encode(random.Random(seq).randbytes(pad)).decode()[:pad]  # does not pack well
    entry = codec.encode({"session": session, "seq": seq, "at": 1000 + seq, "pad": noise})
    return Append(
        session=session,
        seq=seq,
        hash=codec.digest(entry),
        entry=entry,
        snapshot=codec.encode({"session": session, "seq": seq}),
        blobs={codec.digest(data): data for data in blobs},
    )


def head_of(made: Append) -> Head:
    """The head a store must have after this append."""
    return Head(made.session, made.seq, made.hash, made.snapshot)


def fill(store: Store, session: str, count: int) -> list[Append]:
    """Make a session of `count` entries."""
    store.create(session, "spec", 1)
    made = [item(session, seq) for seq in range(count)]
    for future in [store.append(one) for one in made]:
        future.result()
    return made


def whole(store: Store, session: str) -> tuple[Head | None, list[bytes]]:
    """All that a journal is: its head and its entries."""
    return store.head(session), list(store.entries(session))


def child(*args: str | Path) -> subprocess.Popen[str]:
    """A real second process that runs `store_child.py`."""
    root = str(Path(loopspec.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, str(CHILD), *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )

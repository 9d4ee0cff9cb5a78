"""A second process for the store tests; what it does is its first argument.

`append DIR SESSIONS`  appends to several sessions for ever, printing `session seq` once acknowledged
`race DIR SESSION`     for each line `seq` on stdin, appends that entry and prints `won` or `lost`
`streams DIR`          puts a partial row, waits until it is committed, prints `kept`, waits for ever
`crash DIR POINT`      appends entry 1 to session `s` and kills itself at the named crash point
`limit DIR`            appends under a file size limit, lifts the limit, appends again
"""

import os
import resource
import signal
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

from store_kit import item

from loopspec.errors import Conflict, StoreError
from loopspec.stores.sqlite import SqliteStore


def say(line: str) -> None:
    """One line, written at once."""
    os.write(1, f"{line}\n".encode())


def append(path: Path, sessions: int) -> None:
    store = SqliteStore(path)
    turn = threading.Semaphore(16)

    def done(session: str, seq: int, future: "Future[None]") -> None:
        future.result()
        say(f"{session} {seq}")
        turn.release()

    for n in range(sessions):
        store.create(f"s{n}", "spec", n)
    seq = 0
    while True:
        for n in range(sessions):
            turn.acquire()
            made = item(f"s{n}", seq, blobs=(f"blob {n} {seq}".encode(),))
            name = made.session
            future = store.append(made)
            future.add_done_callback(lambda f, name=name, seq=seq: done(name, seq, f))
        seq += 1


def race(path: Path, session: str) -> None:
    store = SqliteStore(path)
    say("ready")
    for line in sys.stdin:
        try:
            store.append(item(session, int(line), pad=os.getpid() % 97)).result()
        except Conflict:
            say("lost")
        else:
            say("won")
    store.close()


def streams(path: Path) -> None:
    committed = threading.Event()

    def crash(point: str) -> None:
        if point == "after-commit" and waiting.is_set():
            committed.set()

    waiting = threading.Event()
    store = SqliteStore(path, crash=crash)
    store.create("s", "spec", 1)
    waiting.set()
    store.put_partial("s", "s:0:0", b"half a reply")
    committed.wait()
    say("kept")
    sys.stdin.read()


def crash_at(path: Path, wanted: str) -> None:
    def crash(point: str) -> None:
        if armed.is_set() and point == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    armed = threading.Event()
    store = SqliteStore(path, crash=crash)
    store.create("s", "spec", 1)
    store.append(item("s", 0)).result()
    say("armed")
    armed.set()
    store.append(item("s", 1, blobs=(b"one",))).result()
    say("survived")


def limit(path: Path) -> None:
    store = SqliteStore(path)
    store.create("s", "spec", 1)
    store.append(item("s", 0)).result()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024, hard))
    try:
        store.append(item("s", 1, pad=1024 * 1024)).result()
    except StoreError as error:
        say(str(error))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    store.append(item("s", 1, pad=1024 * 1024)).result()
    say("written")
    store.close()


if __name__ == "__main__":
    directory = Path(sys.argv[2])
    match sys.argv[1]:
        case "append":
            append(directory, int(sys.argv[3]))
        case "race":
            race(directory, sys.argv[3])
        case "streams":
            streams(directory)
        case "crash":
            crash_at(directory, sys.argv[3])
        case "limit":
            limit(directory)

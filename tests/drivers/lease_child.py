"""A second process for the tests of leases; what it does is its first argument.

`hold STORE SESSION`                  takes the session's lease, says `held`, reads stdin to its end
`race STORE SPEC WORK ROUNDS`         lets two processes resume one session at once, again and again

`race` imports everything once and forks the racers, which wait for one pipe to close. Each runs the
real `loopspec resume`; the model hangs, so that the winner is still at it when the other one is refused.
In odd rounds each racer comes to the database by a directory of its own, and so to kernel locks of its
own: then the lease decides alone. For each round a JSON line says how they ended and what the loser said.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from loopspec.cli.main import run_cli
from loopspec.drivers.lease import Tenure
from loopspec.drivers.world import SystemClock
from loopspec.performers.model_litellm import load
from loopspec.registry import installed
from loopspec.stores.sqlite import FILE, SqliteStore


def hold(path: Path, session: str) -> None:
    store = SqliteStore(path)
    tenure = Tenure(store, session, SystemClock())
    asyncio.run(tenure.take())
    os.write(1, b"held\n")
    sys.stdin.read()
    tenure.free()
    store.close()


def forked(work: Callable[[], int]) -> int:
    """Do something in a child process; gives back its number."""
    pid = os.fork()
    if pid == 0:
        try:
            code = work()
        except BaseException as err:
            os.write(2, f"{type(err).__name__}: {err}\n".encode())
            code = 99
        os._exit(code)
    return pid


def command(said: str, *args: str) -> int:
    """The real command line, its output in the file `said`."""
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    return run_cli(list(args))


def one_round(path: Path, apart: bool, session: str, folder: Path) -> dict[str, object]:
    """Two racers for one session; how it went."""
    reading, writing = os.pipe()
    said = {}

    def racer(n: int) -> Callable[[], int]:
        def run() -> int:
            os.close(writing)
            os.read(reading, 1)
            store = str(other_door(path, folder / str(n)) if apart else path)
            return command(f"{folder}/said{n}", "resume", session, "-p", "Go", "--store", store)

        return run

    for n in range(2):
        said[forked(racer(n))] = folder / f"said{n}"
    os.close(reading)
    os.close(writing)  # they are off
    loser, status = os.wait()
    (winner,) = said.keys() - {loser}
    os.kill(winner, signal.SIGTERM)
    _, ended = os.waitpid(winner, 0)
    return {
        "loser": os.waitstatus_to_exitcode(status),
        "winner": os.waitstatus_to_exitcode(ended),
        "said": said[loser].read_text().replace(str(winner), "WINNER").splitlines()[-1],
    }


def other_door(path: Path, door: Path) -> Path:
    """Another directory with the same database."""
    door.mkdir(mode=0o700, exist_ok=True)
    if not (door / FILE).exists():
        (door / FILE).symlink_to(path / FILE)
    return door


def race(path: Path, spec: str, work: Path, rounds: int) -> None:
    load()
    installed()
    os.chdir(work)
    store = ("--store", str(path))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for n in range(rounds):
            key = f"s{n}"
            made = forked(partial(command, f"{folder}/made", "run", spec, "--session", key, *store))
            assert os.waitpid(made, 0)[1] == 0, (folder / "made").read_text()
            line = json.dumps(one_round(path, n % 2 == 1, key, folder))
            os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["hold", path, session]:
            hold(Path(path), session)
        case ["race", path, spec, work, rounds]:
            race(Path(path), spec, Path(work), int(rounds))

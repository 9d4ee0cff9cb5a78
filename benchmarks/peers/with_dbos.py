"""DBOS: a workflow per turn, a step for each act, the system database in SQLite.

    with_dbos.py --dir DIR

The turn's message is the workflow's input, which DBOS writes before the workflow runs; each step's output
is one row, committed before the next step begins. The database is put into WAL mode first (DBOS leaves
SQLite's default, which is slower).
"""

import argparse
import sqlite3
import sys
from pathlib import Path

import sqlalchemy
from dbos import DBOS, DBOSConfig

sys.path.append(str(Path(__file__).parents[1]))
import texts
from lockstep import Lockstep, grown, size_of

WARM = 100
"""Turns at most before it is timed."""


@DBOS.step()
def model(count: int, last: bool) -> dict:
    """The next reply."""
    path = f"src/module_{count % 97:02d}.py"
    calls = [] if last else [{"id": f"c{count}", "name": "look", "args": {"path": path}}]
    return {"role": "assistant", "content": texts.kilobyte(count), "tool_calls": calls}


@DBOS.step()
def gate(calls: list) -> str:
    """Allows everything."""
    return "allow"


@DBOS.step()
def tool(call: dict, count: int) -> dict:
    """The result of the call."""
    return {"role": "tool", "tool_call_id": call["id"], "content": texts.kilobyte(count)}


@DBOS.workflow()
def talk(message: str, count: int) -> int:
    """One turn; the conversation is what its steps recorded."""
    for n in range(texts.ROUNDS):
        reply = model(count + 2 * n, False)
        if gate(reply["tool_calls"]) == "allow":
            tool(reply["tool_calls"][0], count + 2 * n + 1)
    model(count + 2 * texts.ROUNDS, True)
    return count + 2 * texts.ROUNDS + 1


def rows(path: Path) -> int:
    """What is durable: workflows, and outputs of steps."""
    conn = sqlite3.connect(path)
    count = sum(
        conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("workflow_status", "operation_outputs")
    )
    conn.close()
    return count


def main() -> None:
    """Be a contender."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    given = parser.parse_args()
    path = given.dir / "dbos.db"
    conn = sqlite3.connect(path)
    mode = conn.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    conn.close()
    levels: set[int] = set()

    @sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
    def full(connection: sqlite3.Connection, record: object) -> None:
        connection.execute("PRAGMA synchronous = FULL")
        levels.add(connection.execute("PRAGMA synchronous").fetchone()[0])

    lead = Lockstep()
    config: DBOSConfig = {
        "name": "bench", "system_database_url": f"sqlite:///{path}", "log_level": "ERROR"
    }
    DBOS(config=config)
    DBOS.launch()
    count = 0

    def turn() -> int:
        nonlocal count
        count = talk(texts.kilobyte(count), count)
        return texts.PER_TURN

    turn()
    per_turn, warm = rows(path), 1
    while not grown(given.dir / "dbos.db-wal") and warm < WARM:
        turn()
        warm += 1
    before = rows(path)
    lead.ready(journal=mode, synchronous=min(levels), per_turn=per_turn)
    turns = lead.serve(turn)
    DBOS.destroy()
    found = rows(path)
    lead.over(payload=texts.payload(turns + warm), disk=size_of(given.dir), durable=found - before)


if __name__ == "__main__":
    main()

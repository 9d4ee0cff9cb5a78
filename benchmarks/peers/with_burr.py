"""Burr: an application of four actions with a `SQLitePersister`, which saves the state after each.

    with_burr.py --dir DIR [--window]

Each action is one step, saved and committed before the next begins. The database is put into WAL mode
first (Burr leaves SQLite's default, which is slower). With `--window`, the model's action drops old
messages where loopspec would compact; the rows of before keep them.
"""

import argparse
import sqlite3
import sys
from pathlib import Path
from typing import Any

from burr.core import Application, ApplicationBuilder, State, action, default, expr
from burr.core.persistence import SQLitePersister

sys.path.append(str(Path(__file__).parents[1]))
import texts
from lockstep import Lockstep, size_of

WINDOW = "window"


@action(reads=["count"], writes=["messages", "count"])
def say(state: State) -> State:
    """The user's message."""
    n = state["count"] + 1
    return state.update(count=n).append(messages={"role": "user", "content": texts.kilobyte(n)})


@action(reads=["messages", "count", "rounds", WINDOW], writes=["messages", "count", "calls", "rounds"])
def model(state: State) -> State:
    """The next reply."""
    n = state["count"] + 1
    messages = state["messages"]
    if state[WINDOW] and len(messages) >= texts.KEPT:
        messages = messages[-texts.LEFT :]
    more = state["rounds"] < texts.ROUNDS
    calls = [{"id": f"c{n}", "name": "look", "args": {"path": f"src/module_{n % 97:02d}.py"}}] * more
    reply = {"role": "assistant", "content": texts.kilobyte(n), "tool_calls": calls}
    rounds = state["rounds"] + 1 if more else 0
    return state.update(messages=[*messages, reply], count=n, calls=len(calls), rounds=rounds)


@action(reads=["calls"], writes=["decision"])
def gate(state: State) -> State:
    """Allows everything."""
    return state.update(decision="allow")


@action(reads=["messages", "count"], writes=["messages", "count"])
def tool(state: State) -> State:
    """The result of the call."""
    n = state["count"] + 1
    call = state["messages"][-1]["tool_calls"][0]["id"]
    result = {"role": "tool", "tool_call_id": call, "content": texts.kilobyte(n)}
    return state.update(count=n).append(messages=result)


def application(persister: SQLitePersister, *, window: bool) -> Application:
    """The loop."""
    start: dict[str, Any] = {"messages": [], "count": 0, "calls": 0, "rounds": 0, WINDOW: window}
    return (
        ApplicationBuilder()
        .with_actions(say, model, gate, tool)
        .with_transitions(
            ("say", "model", default),
            ("model", "gate", expr("calls > 0")),
            ("model", "say", default),
            ("gate", "tool", expr("decision == 'allow'")),
            ("gate", "model", default),
            ("tool", "model", default),
        )
        .with_state(**start)
        .with_entrypoint("say")
        .with_identifiers(app_id="s", partition_key="bench")
        .with_state_persister(persister)
        .build()
    )


def main() -> None:
    """Be a contender."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--window", action="store_true")
    given = parser.parse_args()
    conn = sqlite3.connect(given.dir / "state.db")
    mode = conn.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    conn.execute("PRAGMA synchronous = FULL")
    level = conn.execute("PRAGMA synchronous").fetchone()[0]
    persister = SQLitePersister(str(given.dir / "state.db"), connection=conn)
    persister.initialize()
    app = application(persister, window=given.window)

    def turn() -> int:
        for _ in range(texts.PER_TURN):
            app.step()
        return texts.PER_TURN

    lead = Lockstep()
    turn()
    before = conn.execute("SELECT count(*) FROM burr_state").fetchone()[0]
    lead.ready(journal=mode, synchronous=level, per_turn=before)
    turns = lead.serve(turn)
    count = conn.execute("SELECT count(*) FROM burr_state").fetchone()[0]
    conn.close()
    lead.over(payload=texts.payload(turns + 1), disk=size_of(given.dir), durable=count - before)


if __name__ == "__main__":
    main()

"""LangGraph: a graph of model, gate and tools with a `SqliteSaver`, `durability="sync"`.

    with_langgraph.py --dir DIR [--channel add|delta] [--window]

A turn is one `invoke`. Each superstep is one checkpoint, committed before the next begins; the input is
two (itself, and the step that hands it to the graph), and all are counted as transitions. With
`--window`, old messages are removed with `RemoveMessage`, as its manual shows for long conversations,
where loopspec would compact; the checkpoints of before keep them.
"""

import argparse
import sqlite3
import sys
from pathlib import Path
from typing import Annotated, Any

from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import _messages_delta_reducer, add_messages
from typing_extensions import TypedDict

sys.path.append(str(Path(__file__).parents[1]))
import texts
from lockstep import Lockstep, size_of


class Added(TypedDict):
    """The state as its manual writes it: every checkpoint holds all messages."""

    messages: Annotated[list, add_messages]
    decision: str


class Delta(TypedDict):
    """The state with the channel that stores what changed, and a whole snapshot now and then."""

    messages: Annotated[list, DeltaChannel(_messages_delta_reducer)]
    decision: str


class Nodes:
    """The nodes; they answer at once."""

    def __init__(self, *, window: bool) -> None:
        """With a `window`, the model's node makes the conversation shorter."""
        self._window = window
        self._said = 0

    def model(self, state: dict[str, Any]) -> dict[str, Any]:
        """The next reply."""
        self._said += 1
        calls = []
        if self._said % (texts.ROUNDS + 1):
            path = f"src/module_{self._said % 97:02d}.py"
            calls = [{"id": f"c{self._said}", "name": "look", "args": {"path": path}}]
        reply = AIMessage(texts.kilobyte(self._said), tool_calls=calls)
        return {"messages": [*self._removed(state["messages"]), reply]}

    def _removed(self, messages: list[Any]) -> list[RemoveMessage]:
        """What leaves: the oldest, once there are too many."""
        if not self._window or len(messages) < texts.KEPT:
            return []
        return [RemoveMessage(id=m.id) for m in messages[: -texts.LEFT]]

    def gate(self, state: dict[str, Any]) -> dict[str, Any]:
        """Allows everything."""
        return {"decision": "allow"}

    def tools(self, state: dict[str, Any]) -> dict[str, Any]:
        """The result of each call."""
        calls = state["messages"][-1].tool_calls
        text = texts.kilobyte(self._said)
        return {"messages": [ToolMessage(text, tool_call_id=call["id"]) for call in calls]}


def graph(saver: SqliteSaver, channel: str, *, window: bool) -> Any:
    """The compiled graph."""
    nodes = Nodes(window=window)
    made = StateGraph({"add": Added, "delta": Delta}[channel])
    made.add_node("model", nodes.model)
    made.add_node("gate", nodes.gate)
    made.add_node("tools", nodes.tools)
    made.add_edge(START, "model")
    made.add_conditional_edges("model", lambda s: "gate" if s["messages"][-1].tool_calls else END)
    made.add_conditional_edges("gate", lambda s: "tools" if s["decision"] == "allow" else "model")
    made.add_edge("tools", "model")
    return made.compile(checkpointer=saver)


def main() -> None:
    """Be a contender."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--channel", choices=("add", "delta"), default="add")
    parser.add_argument("--window", action="store_true")
    given = parser.parse_args()
    conn = sqlite3.connect(given.dir / "checkpoints.db", check_same_thread=False)
    saver = SqliteSaver(conn)
    saver.setup()
    conn.execute("PRAGMA synchronous = FULL")
    compiled = graph(saver, given.channel, window=given.window)
    config = {"configurable": {"thread_id": "s"}, "recursion_limit": 1_000}
    said = 0

    def turn() -> int:
        nonlocal said
        said += 1
        message = HumanMessage(texts.kilobyte(said))
        compiled.invoke({"messages": [message]}, config, durability="sync")
        return texts.PER_TURN + 1

    lead = Lockstep()
    turn()  # what is made on the first use
    before = conn.execute("SELECT count(*) FROM checkpoints").fetchone()[0]
    lead.ready(
        journal=conn.execute("PRAGMA journal_mode").fetchone()[0],
        synchronous=conn.execute("PRAGMA synchronous").fetchone()[0],
        per_turn=before,
    )
    turns = lead.serve(turn)
    count = conn.execute("SELECT count(*) FROM checkpoints").fetchone()[0]
    conn.close()
    lead.over(payload=texts.payload(turns + 1), disk=size_of(given.dir), durable=count - before)


if __name__ == "__main__":
    main()

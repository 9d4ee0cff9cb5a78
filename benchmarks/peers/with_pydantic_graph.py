"""pydantic-graph: a graph of nodes with `FileStatePersistence`, a JSON file written anew each time.

    with_pydantic_graph.py --dir DIR

The last version line with persistence is 1.x. Its manual wants a file for each run, so a turn is a run
with a file of its own, and the state holds at most a window of messages, handed from run to run; else
every node would rewrite the whole session. **It never syncs**, and its public interface has no way to ask
for that: after a power cut the file may be empty. It is measured as it is.
"""

import argparse
import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path

from pydantic_graph import BaseNode, End, Graph, GraphRunContext
from pydantic_graph.persistence.file import FileStatePersistence

sys.path.append(str(Path(__file__).parents[1]))
import texts
from lockstep import Lockstep, size_of


@dataclass
class Message:
    """One message."""

    role: str
    content: str
    call: str = ""


@dataclass
class Talk:
    """The state: the window of messages."""

    messages: list[Message] = field(default_factory=list)
    count: int = 0
    rounds: int = 0

    def add(self, role: str, call: str = "") -> None:
        """Another message."""
        self.count += 1
        self.messages.append(Message(role, texts.kilobyte(self.count), call))


@dataclass
class Say(BaseNode[Talk, None, int]):
    """The user's message."""

    async def run(self, ctx: GraphRunContext[Talk]) -> "Model":
        """Add it."""
        ctx.state.add("user")
        return Model()


@dataclass
class Model(BaseNode[Talk, None, int]):
    """The next reply."""

    async def run(self, ctx: GraphRunContext[Talk]) -> "Gate | End[int]":
        """Add it; drop old messages where loopspec would compact."""
        state = ctx.state
        if len(state.messages) >= texts.KEPT:
            state.messages = state.messages[-texts.LEFT :]
        if state.rounds == texts.ROUNDS:
            state.rounds = 0
            state.add("assistant")
            return End(state.count)
        state.rounds += 1
        state.add("assistant", f"src/module_{state.count % 97:02d}.py")
        return Gate()


@dataclass
class Gate(BaseNode[Talk, None, int]):
    """Allows everything."""

    async def run(self, ctx: GraphRunContext[Talk]) -> "Tool":
        """Go on."""
        return Tool()


@dataclass
class Tool(BaseNode[Talk, None, int]):
    """The result of the call."""

    async def run(self, ctx: GraphRunContext[Talk]) -> Model:
        """Add it."""
        ctx.state.add("tool")
        return Model()


GRAPH = Graph(nodes=(Say, Model, Gate, Tool))


def main() -> None:
    """Be a contender."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    given = parser.parse_args()
    state, runs = Talk(), 0
    lead = Lockstep()
    loop = asyncio.new_event_loop()

    def turn() -> int:
        nonlocal runs
        runs += 1
        kept = FileStatePersistence(given.dir / f"run-{runs}.json")
        loop.run_until_complete(GRAPH.run(Say(), state=state, persistence=kept))
        return texts.PER_TURN

    turn()
    lead.ready(journal="JSON file", synchronous="never", per_turn=texts.PER_TURN)
    turns = lead.serve(turn)
    payload = texts.payload(turns + 1)
    lead.over(payload=payload, disk=size_of(given.dir), durable=turns * texts.PER_TURN)


if __name__ == "__main__":
    main()

"""A session of any length, made up, to see what planning its compaction costs."""

import json
from collections.abc import Iterator

from compaction_runs import item

from loopspec.context.transcript import Item, ViewCall


def session(tokens: int) -> tuple[Item, ...]:
    """A coding session of about so many tokens: requests, listings, JSON results, errors and plans."""
    made: list[Item] = []
    size = 0
    for part in _parts():
        made.append(part)
        size += part.tokens
        if size >= tokens and part.role == "assistant" and not part.calls:
            return tuple(made)
    raise AssertionError("the parts never end")


def _parts() -> Iterator[Item]:
    """Messages without end, each a little different."""
    n = 0
    yield item(n, "user", "Make the importer of orders twice as fast. Never touch the public API.")
    turn = 0
    while True:
        turn += 1
        for step in range(6):
            n += 2
            path = f"src/importer/part_{turn % 97}/step_{step}.py"
            call = ViewCall(f"c{n}_0", "fs.read", json.dumps({"path": path, "from": turn * 7 % 900}))
            yield item(n, "assistant", f"I look at {path}, for `load_{turn % 53}`.", calls=(call,))
            yield item(n + 1, "result", _output(turn, step, path), call=f"c{n}_0", tool="fs.read")
        n += 2
        yield item(n, "assistant", f"load_{turn % 53} takes {turn * 13 % 997} ms of the whole.")
        yield item(n + 1, "user", f"Go on with part_{turn * 31 % 97}, ticket ORD-{turn}.")
        n += 2
        yield item(n, "assistant", f"The next one is part_{turn * 31 % 97} for ORD-{turn}.")


def _output(turn: int, step: int, path: str) -> str:
    """What a tool put out: a listing, or records."""
    if step % 3 == 2:
        rows = [{"id": f"ord_{turn}_{k}", "ms": k * turn % 91, "state": "done"} for k in range(60)]
        return json.dumps({"path": path, "rows": rows})
    lines = [
        f"{k:4}: value_{turn}_{k} = load_{(turn + k) % 53}(orders[{k}], limit={k * 17 % 1000})"
        for k in range(70)
    ]
    if step % 3 == 1:
        lines.append(f"Error: TimeoutError in {path}:{turn % 60}")
    return "\n".join(lines)

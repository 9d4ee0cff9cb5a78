"""Structure: what may be said of a configuration without calculating anything.

Rules of this file:
1. Pure questions about a machine's tree of states; nothing here knows the calculator.
2. History states are never active; they are no regions and no children that count.
"""

from collections.abc import Collection

from loopspec.machine.model import Machine, State


def children(machine: Machine, path: str) -> list[str]:
    """The children of a state (empty path: the root) that can be active, in document order."""
    return [s.path for s in machine.states.values() if s.parent == path and s.type != "history"]


def illegal(machine: Machine, configuration: tuple[str, ...]) -> str:
    """Why a configuration is not legal, empty if it is (trap 3: the engine accepts anything)."""
    active = set(configuration)
    for path in configuration:
        if path not in machine.states:
            return f"`{path}` is no state of this machine"
        parent = machine.states[path].parent
        if parent and parent not in active:
            return f"`{path}` is active but its parent is not"
    for path in ("", *configuration):
        kind = machine.states[path].type if path else "compound"
        kids = children(machine, path)
        live = sum(k in active for k in kids)
        if kind == "compound" and live != 1:
            return f"`{path or 'the root'}` has {live} active children instead of one"
        if kind == "parallel" and live != len(kids):
            return f"`{path}` has {live} of {len(kids)} regions active"
    return ""


def in_final(machine: Machine, path: str, active: Collection[str]) -> bool:
    """Whether a state is in a final state: a final child is active, or every region is there."""
    state = machine.states[path]
    if state.type == "parallel":
        return all(in_final(machine, kid, active) for kid in children(machine, path))
    if state.type == "final":
        return path in active
    return any(k in active and machine.states[k].type == "final" for k in children(machine, path))


def finished_by(machine: Machine, final: State, active: Collection[str]) -> list[str]:
    """The states that are done because `final` was entered, in the order their events are raised.

    A compound state is done when a final child is entered; a parallel one when the last of its regions
    is, and so is a parallel state around that one.
    """
    out = []
    path = final.parent
    if path and machine.states[path].type == "compound":
        out.append(path)
        path = machine.states[path].parent
    while path and machine.states[path].type == "parallel" and in_final(machine, path, active):
        out.append(path)
        path = machine.states[path].parent
    return out

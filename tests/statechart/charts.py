"""Random charts as spec data: compound, parallel, history, final, `always`, `raise`, `assign`.

Every state says when it is entered and left, every transition when it is taken, each with `log`: so
all parties tell the whole order in the same words. Names are unique, targets are whole paths.
"""

import json
from typing import Any, Final

from hypothesis import strategies as st

SENT: Final = ("user.message", "user.interrupted", "user.resumed", "host.suspended", "host.woke")
RAISED: Final = ("go.a", "go.b")
PATTERNS: Final = ("user.*", "host.*", "go.*", "*")
GUARDS: Final = (
    "vars.n == 0",
    "vars.n < 2",
    "vars.m > 0",
    "vars.n + vars.m < 4",
    "vars.m != vars.n",
    "vars.n >= 3",
    "vars.n == vars.n",
    "vars.n != vars.n",
)
ENDING: Final = ("vars.n < 1", "vars.n == 2", "vars.n < 3", "vars.n < 6")
ASSIGNS: Final = (("n", "vars.n + 1"), ("m", "vars.m + vars.n"), ("m", "1"), ("m", "vars.m - 1"))
MOST: Final = 12
DEEPEST: Final = 4


class _Growth:
    """Grows one chart; shrinks towards few flat states without transitions."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.paths: list[str] = []
        self.most = draw(st.integers(2, MOST))
        self.taken = 0

    def pick(self, choices: Any) -> Any:
        """One of the choices; shrinks to the first."""
        return self.draw(st.sampled_from(choices))

    def chance(self, percent: int) -> bool:
        """True so often; shrinks to False."""
        return self.draw(st.integers(0, 99)) >= 100 - percent

    def states(self, parent: str, depth: int, least: int, parallel: bool) -> dict[str, Any]:
        """The children of a state."""
        made: dict[str, Any] = {}
        want = self.draw(st.integers(least, 3 if depth else 4))
        while len(made) < want and (len(made) < least or len(self.paths) < self.most):
            name = f"s{len(self.paths)}"
            path = f"{parent}.{name}" if parent else name
            self.paths.append(path)
            kind = "atomic"
            if depth < DEEPEST and len(self.paths) < self.most:
                choices = ["atomic", "compound", "compound", "parallel"]
                kind = self.pick(choices[1:] if parallel and depth < 2 else choices)
            made[name] = self.state(path, kind, depth)
        if parent and not parallel and self.chance(45):
            name = f"s{len(self.paths)}"
            self.paths.append(f"{parent}.{name}")
            made[name] = {"type": "final"}
        if not parent and self.chance(15):
            self.paths.append("end")
            made["end"] = {"type": "final"}
        return made

    def state(self, path: str, kind: str, depth: int) -> dict[str, Any]:
        """One state with its children, without transitions."""
        if kind == "atomic":
            return {}
        made: dict[str, Any] = {"type": "parallel"} if kind == "parallel" else {}
        kids = self.states(path, depth + 1, 2 if kind == "parallel" else 1, kind == "parallel")
        if kind == "compound":
            usual = [n for n, kid in kids.items() if kid.get("type") != "final"]
            made["initial"] = self.pick(list(kids) if self.chance(10) else usual)
        if self.chance(55):
            name = f"h{len(self.paths)}"
            inside = [p for p in self.paths if p.startswith(f"{path}.")]
            real = [p for p in inside if not p.rpartition(".")[2].startswith("h")]
            history = {"type": "history", "deep": self.chance(50), "target": self.pick(real)}
            at = self.draw(st.integers(0, len(kids)))
            kids = dict([*list(kids.items())[:at], (name, history), *list(kids.items())[at:]])
            self.paths.append(f"{path}.{name}")
        made["states"] = kids
        return made

    def acts(self, states: dict[str, Any], parent: str) -> None:
        """Give every state its actions and transitions, now that all paths are known."""
        for name, raw in states.items():
            path = f"{parent}.{name}" if parent else name
            if raw.get("type") == "history":
                continue
            often = 45 if raw.get("type") == "final" else 12
            raw["entry"] = [{"log": f"enter {path}"}, *self.actions(often)]
            raw["exit"] = [{"log": f"leave {path}"}, *self.actions(8)]
            if raw.get("type") != "final":
                self.moves(raw)
            self.acts(raw.get("states", {}), path)

    def moves(self, raw: dict[str, Any]) -> None:
        """The transitions of one state."""
        keys = self.draw(st.lists(st.sampled_from((*SENT, *RAISED, *PATTERNS)), max_size=4, unique=True))
        if keys:
            raw["on"] = {key: self.listed(True) for key in keys}
        finals = [s for s in raw.get("states", {}).values() if s.get("type") == "final"]
        if (finals or raw.get("type") == "parallel") and self.chance(70):
            raw["done"] = self.ending(self.listed(True))
        if self.chance(20):
            raw["always"] = self.ending(self.listed(False))

    def ending(self, made: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The same, but most of them can be taken a few times only."""
        for one in made:
            if self.chance(97):
                if "guard" in one:
                    one["guard"] = self.pick(ENDING)
                    one["actions"].append({"assign": {"n": "vars.n + 1"}})
                else:
                    one.pop("target", None)
                    one.pop("internal", None)
        return made

    def listed(self, ended: bool) -> list[dict[str, Any]]:
        """A list of guarded transitions; `ended`: with one that has no guard."""
        guarded = self.draw(st.integers(0 if ended else 1, 2))
        made = [self.transition(self.pick(GUARDS)) for _ in range(guarded)]
        return [*made, self.transition("")] if ended or self.chance(5) else made

    def transition(self, guard: str) -> dict[str, Any]:
        """One transition, numbered in the order of the document."""
        made: dict[str, Any] = {"guard": guard} if guard else {}
        if self.chance(85):
            made["target"] = self.pick(self.paths)
            if self.chance(30):
                made["internal"] = True
        made["actions"] = [{"log": f"take {self.taken}"}, *self.actions(25)]
        self.taken += 1
        return made

    def actions(self, percent: int) -> list[dict[str, Any]]:
        """No action, or one."""
        if not self.chance(percent):
            return []
        if self.chance(40):
            return [{"raise": self.pick(RAISED)}]
        var, text = self.pick(ASSIGNS)
        return [{"assign": {var: text}}]


def _tidy(states: dict[str, Any]) -> None:
    """Take out what no spec may have: an `always` that does nothing, or would be taken for ever."""
    for raw in states.values():
        raw["always"] = [t for t in raw.get("always", []) if "guard" in t or "target" in t]
        if not raw["always"]:
            del raw["always"]
        _tidy(raw.get("states", {}))


def _known(states: dict[str, Any], raised: list[str]) -> None:
    """Take out transitions for events that nobody raises."""
    for raw in states.values():
        heard = raw.get("on", {})
        for name in (*RAISED, "go.*"):
            if name in heard and not any(name in (r, "go.*") for r in raised):
                del heard[name]
        if not heard:
            raw.pop("on", None)
        _known(raw.get("states", {}), raised)


@st.composite
def charts(draw: st.DrawFn) -> dict[str, Any]:
    """A spec as plain data."""
    grow = _Growth(draw)
    states = grow.states("", 0, 1, False)
    grow.acts(states, "")
    _tidy(states)
    for _ in range(3):  # what is taken out may have raised something itself
        text = json.dumps(states)
        _known(states, [name for name in RAISED if f'"raise": "{name}"' in text])
    first = draw(st.sampled_from([n for n, s in states.items() if s.get("type") != "final"]))
    return {
        "loopspec": 1,
        "name": "random",
        "version": "1.0.0",
        "vars": {"n": {"type": "int", "default": 0}, "m": {"type": "int", "default": 0}},
        "initial": first,
        "states": states,
    }


def regions_in_regions(states: dict[str, Any], inside: bool = False) -> bool:
    """Whether a parallel state is a region of another."""
    for raw in states.values():
        parallel = raw.get("type") == "parallel"
        if (inside and parallel) or regions_in_regions(raw.get("states", {}), parallel):
            return True
    return False

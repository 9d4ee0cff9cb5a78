"""`/status`, `/explain`, `/context`, `/cost`, `/approvals`: where the session stands. Nothing is changed.

Rules of this file:
1. What is said of state, waits, budgets and ways is what `loopspec explain` says: it is asked there.
2. Costs are counted from the journal; a reply of unknown price is counted apart and never as nothing.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from loopspec.cli.contexting import seen
from loopspec.cli.slash.desk import Desk, Reply, joined, told
from loopspec.codec import decode
from loopspec.context.compaction import size_of
from loopspec.context.transcript import Item
from loopspec.effects import CallModel, CompactContext, Perform
from loopspec.errors import Damaged, LoopspecError
from loopspec.events import ApprovalGiven, ContextCompacted, ModelReplied, TokenUsage, UserCalled
from loopspec.journal.chain import read
from loopspec.journal.entry import Entry
from loopspec.snapshot import Grant
from loopspec.tokens import scaled
from loopspec.views.context import ContextNow
from loopspec.views.context_text import bar, lines
from loopspec.views.explain import explain as explained
from loopspec.views.explain import render
from loopspec.views.explanation import Explanation
from loopspec.views.words import amount, duration, money, pad, plural, printable

NEWEST: Final = 50
NEWEST_UNITS: Final = 20
BAR: Final = 20
_ROLES: Final = {
    "user": "your messages",
    "note": "notes of the spec",
    "assistant": "the model's replies",
    "summary": "summary of what was removed",
}


def explanation(desk: Desk) -> Explanation:
    """Everything `explain` has to say of the session as it is now."""
    session = desk.session
    refusals: list[dict[str, Any]] = []
    for note in desk.store.refusals(session.id):
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            refusals.append(decode(note, dict))
    snapshot = session.snapshot
    rows = desk.store.entries(session.id, max(0, snapshot.seq + 1 - NEWEST), snapshot.seq + 1)
    entries = [read(row) for row in rows]
    now, awake = session.clock.now(), session.awake_now()
    return explained(session.machine, snapshot, entries, refusals, now, awake)


def status(desk: Desk, given: str) -> Reply:
    """The session in a few lines."""
    made = explanation(desk)
    snapshot, machine = desk.session.snapshot, desk.session.machine
    usage = snapshot.usage
    rows = [
        ("session", f"{made.session} ({made.spec} {made.version}), entry {made.seq}"),
        ("state", ", ".join(f"{s.path} for {duration(s.age)}" for s in made.states) or "nowhere"),
        ("waits", made.waits),
        ("turns", f"{usage.turns:,}, {plural(usage.calls, 'call')}"),
        ("tokens", f"{usage.tokens:,} ({usage.input_tokens:,} in, {usage.output_tokens:,} out)"),
        ("cost", money(usage.cost, usage.unpriced)),
        ("context", fill(made)),
        ("models", ", ".join(f"{n}: {in_use(desk, n)}" for n in machine.models) or "none"),
        ("workdir", snapshot.workdir),
    ]
    if snapshot.inbox:
        rows.insert(3, ("inbox", f"{plural(len(snapshot.inbox), 'message')} waiting"))
    for budget in made.budgets:
        if budget.limit is not None:
            used = amount(budget.which, budget.used)
            spent = " SPENT" if budget.which == made.spent else ""
            limit = amount(budget.which, budget.limit)
            rows.append(("budget", f"{budget.which}: {used} of {limit}{spent}"))
    return joined([line for name, text in rows for line in _row(desk, name, text)])


def _row(desk: Desk, name: str, text: str) -> list[str]:
    """A word and what it is."""
    lines = desk.wrapped(f"{pad(name, 8)} {text}", "", "  " if desk.room < 40 else " " * 9)
    head = desk.style.dim(lines[0][:8]) + lines[0][8:] if lines else ""
    return [head, *lines[1:]]


def in_use(desk: Desk, name: str) -> str:
    """The model behind a declared name now."""
    chosen = desk.session.snapshot.models.get(name)
    return chosen or desk.session.machine.models[name].use


def explain(desk: Desk, given: str) -> Reply:
    """All of it."""
    lines = render(explanation(desk)).rstrip("\n").split("\n")
    if desk.room >= 80:
        return joined(lines)
    return joined([part for line in lines for part in (_narrow(desk, line) if line else [""])])


def _narrow(desk: Desk, line: str) -> list[str]:
    """A line of the explanation on a narrow terminal."""
    indent = " " * min(4, len(line) - len(line.lstrip(" ")))
    return desk.wrapped(line.strip(" "), indent, f"{indent}  ")


# ---------------------------------------------------------------- context


def fill(made: Explanation) -> str:
    """How full the window is, in words."""
    use = made.context
    if not use.window:
        return f"{use.tokens:,} tokens; the window is not known"
    share = use.tokens * 100 // use.window
    return f"{share} %, {use.tokens:,} of {use.window:,} tokens; pressed above {use.compact_at:,}"


def context(desk: Desk, given: str) -> Reply:
    """What the model sees: the window by sorts of items, then unit by unit as in `loopspec context`."""
    doubts: list[Damaged] = []
    told = seen(desk.store, desk.session, desk.session.snapshot.seq, doubts.append)
    out = lines(told, desk.room, NEWEST_UNITS)
    parts = [*_sorts(desk, told), ""] if told.units else []
    cut = out.index("") if "" in out else len(out)
    out[cut + 1 : cut + 1] = parts
    out += ["", *desk.wrapped("/compact makes room; `loopspec context ID --full` shows every unit.")]
    for doubt in doubts:
        out += [desk.style.warn(line) for line in desk.wrapped(str(doubt))]
    return joined(out)


def _sorts(desk: Desk, told: ContextNow) -> list[str]:
    """A bar for each sort of items."""
    sizes: dict[str, list[int]] = {}
    for item in desk.session.items:
        sizes.setdefault(_sort(item), []).append(scaled(size_of(item), told.scale))
    parts = [(sum(some), f"{word} ({len(some)})") for word, some in sizes.items()]
    if told.beside:
        parts.append((told.beside, "prompt, tools, and what estimates miss"))
    total = max(1, *(size for size, _ in parts)) if parts else 1
    ordered = sorted(parts, key=lambda part: (-part[0], part[1]))
    return [line for size, word in ordered for line in _part(desk, size, total, word)]


def _sort(item: Item) -> str:
    """What sort of item it is."""
    if item.role == "result":
        return f"results of {item.tool}"
    return _ROLES.get(item.role, item.role)


def _part(desk: Desk, size: int, total: int, text: str) -> list[str]:
    """A bar and what it stands for; on a narrow terminal without the bar."""
    if desk.room < 50:
        return desk.wrapped(f"{size:,} {text}")
    return [printable(f"{bar(size, total, BAR)} {size:>9,}  {text}", desk.room)]


# ---------------------------------------------------------------- cost


@dataclass
class Spent:
    """What one model consumed; `cost` is nano-USD, `unpriced` counts answers of unknown price."""

    answers: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost: int = 0
    unpriced: int = 0

    def add(self, usage: TokenUsage) -> None:
        """Count one answer."""
        self.answers += 1
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.cached_tokens += usage.cached_tokens
        if usage.cost is not None:
            self.cost += usage.cost
        elif usage.input_tokens or usage.output_tokens:
            self.unpriced += 1


def spending(entries: Iterable[Entry]) -> dict[str, Spent]:
    """What was consumed, by the model that was asked; by the kind of state where a plugin asked."""
    asked: dict[str, str] = {}
    found: dict[str, Spent] = {}
    for entry in entries:
        for effect in entry.effects:
            if isinstance(effect, CallModel):
                asked[effect.id] = effect.use
            elif isinstance(effect, Perform):
                asked[effect.id] = f"kind {effect.kind}"
            elif isinstance(effect, CompactContext):
                asked[effect.id] = "kind compact"
        usage = getattr(entry.event, "usage", None)
        if not isinstance(usage, TokenUsage):
            continue
        use = asked.pop(getattr(entry.event, "effect", ""), "")
        if isinstance(entry.event, ModelReplied):
            use = use or entry.event.model
        elif isinstance(entry.event, ContextCompacted) and entry.event.written_by:
            use = entry.event.written_by
        elif usage == TokenUsage():
            continue
        found.setdefault(use or "unknown", Spent()).add(usage)
    return found


def cost(desk: Desk, given: str) -> Reply:
    """What the session cost, by model."""
    session = desk.session
    rows = desk.store.entries(session.id, 0, session.snapshot.seq + 1)
    found = spending(read(row) for row in rows)
    usage = session.snapshot.usage
    if not found:
        return told(desk, "No model has answered yet, so nothing was spent.")
    lines: list[str] = []
    for use, spent in sorted(found.items(), key=lambda kv: (-kv[1].cost, kv[0])):
        text = (
            f"{use}: {money(spent.cost, spent.unpriced)}, {plural(spent.answers, 'answer')}, "
            f"{spent.input_tokens:,} tokens in"
        )
        if spent.cached_tokens:
            text += f" ({spent.cached_tokens:,} from the provider's cache)"
        text += f", {spent.output_tokens:,} out"
        if spent.unpriced:
            text += f"; {plural(spent.unpriced, 'answer')} of unknown price"
        lines += desk.wrapped(text)
    total = f"in all: {money(usage.cost, usage.unpriced)}, {usage.tokens:,} tokens"
    budget = session.machine.budgets.usd
    if budget is not None:
        limit = budget + session.snapshot.extended.get("usd", 0)
        total += f"; the budget is {amount('usd', limit)}"
    lines += desk.wrapped(total)
    if usage.unpriced:
        what = "What has no known price is in no sum above: the true cost is higher."
        lines += [desk.style.warn(line) for line in desk.wrapped(what)]
    return joined(lines)


# ---------------------------------------------------------------- approvals


def approvals(desk: Desk, given: str) -> Reply:
    """The grants that live, with what each covers, and the calls that wait for an answer."""
    snapshot, now = desk.session.snapshot, desk.session.clock.now()
    lines: list[str] = []
    for grant in sorted(snapshot.grants.values(), key=lambda g: (len(g.id), g.id)):
        lines += desk.wrapped(_grant(desk, grant, now))
    asked = [c for c in snapshot.calls.values() if c.status in ("asked", "lost")]
    for call in sorted(asked, key=lambda c: (c.seq, c.index)):
        lines += desk.wrapped(f"waits: {call.id} `{call.tool}` is {call.status}; rule {call.rule}")
    if not lines:
        return told(desk, "You have granted nothing that still holds, and nothing waits for an answer.")
    if snapshot.grants:
        lines += desk.wrapped("Grants turn ask into allow; they end with the session. Denies hold.")
    return joined(lines)


def _grant(desk: Desk, grant: Grant, now: int) -> str:
    """A grant in a sentence."""
    match grant.scope:
        case "call":
            covers = f"one call, {_arguments(desk, grant)}"
        case "exact":
            covers = f"these very arguments: {_arguments(desk, grant)}"
        case "limited":
            limits = []
            if grant.paths:
                limits.append(f"paths {', '.join(grant.paths)}")
            if grant.commands:
                limits.append(f"commands {', '.join(grant.commands)}")
            covers = "; ".join(limits) or "without any limit"
        case "tool":
            covers = "whatever its arguments"
        case other:
            covers = other
    uses = "no limit of uses" if grant.uses < 0 else f"{plural(grant.uses, 'use')} left"
    text = f"{grant.id} `{grant.tool}` ({grant.scope}): {covers}; {uses}; by {grant.approver}"
    if grant.expires:
        gone = grant.expires - now
        text += f", expires in {duration(gone)}" if gone > 0 else ", expired"
    return text


def _arguments(desk: Desk, grant: Grant) -> str:
    """The arguments a grant was given for, as far as the journal tells; else their hash."""
    with suppress(LoopspecError, ValueError, StopIteration, IndexError, AttributeError):
        event = _event(desk, int(grant.id.removeprefix("g")))
        assert isinstance(event, ApprovalGiven)
        if event.args:
            return printable(event.args, 300)
        seq, _, index = event.call.removeprefix("c").partition("_")
        proposed = _event(desk, int(seq))
        if isinstance(proposed, ModelReplied):
            return printable(proposed.calls[int(index)].args, 300)
        if isinstance(proposed, UserCalled):
            return printable(proposed.args, 300)
    return f"arguments {grant.args_hash[:12]}"


def _event(desk: Desk, seq: int) -> Any:
    """The event of an entry."""
    return read(next(iter(desk.store.entries(desk.session.id, seq, seq + 1)))).event

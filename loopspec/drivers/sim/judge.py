"""Judge: watches a simulated session from outside and says what was violated.

Rules of this file:
1. It believes the store and the world only, never what a process thinks of itself.
2. It folds the journal by itself, entry by entry as they are acknowledged, so every prefix is folded.
3. What it has seen once must stay: at the end the journal is held against it byte for byte.
"""

from collections.abc import Mapping, Sequence

from loopspec.codec import args_hash, encode
from loopspec.context.transcript import Item
from loopspec.context.transcript import apply as change_view
from loopspec.drivers.session import stepper, verified
from loopspec.drivers.sim.judge_models import ModelJudge
from loopspec.drivers.sim.world import SimWorld
from loopspec.effects import CallModel, Cancel, Effect, RunTool
from loopspec.errors import LoopspecError
from loopspec.events import ApprovalGiven, GateDecided, UserCalled, UserWithdrew
from loopspec.journal.chain import read
from loopspec.journal.entry import GENESIS, Entry
from loopspec.journal.fold import advance, empty, recompute
from loopspec.machine.draft import effect_order
from loopspec.machine.globs import covers
from loopspec.machine.model import Machine
from loopspec.record import AddUser
from loopspec.snapshot import Call, Snapshot
from loopspec.stores.base import Store


class Judge:
    """Watches one session. `found` lists what was violated, in plain words.

    `snapshot` and `items` are what the journal amounts to as far as it was acknowledged.
    """

    def __init__(self, machine: Machine, session: str, store: Store, world: SimWorld) -> None:
        """Begin before the first entry."""
        self.machine = machine
        self.session = session
        self.store = store
        self.world = world
        self.found: list[str] = []
        self.snapshot: Snapshot = empty(session)
        self.items: list[Item] = []
        self._hash = GENESIS
        self._rows: list[bytes] = []
        self._acknowledged: dict[int, str] = {}
        self._cleared: set[tuple[str, str]] = set()  # calls, each with the hash of its arguments
        self._tools: set[str] = set()
        self._exact: set[tuple[str, str]] = set()
        self._changed: dict[str, str] = {}  # by call, the hash of what a person made of its arguments
        self._own: set[str] = set()
        self._withdrawn: set[int] = set()
        self._reruns: dict[str, int] = {}
        self._models = ModelJudge(machine, world.whole)

    def say(self, fault: str) -> None:
        """Something was violated."""
        if fault not in self.found:
            self.found.append(fault)

    # ------------------------------------------------------------ the journal

    def acknowledged(self, seq: int, key: str) -> None:
        """A driver was told that entry `seq`, with the hash `key`, is committed."""
        before = self._acknowledged.setdefault(seq, key)
        if before != key:
            self.say(f"entry {seq} was acknowledged twice, with two contents: the session is forked")
        self.catch_up(seq)

    def catch_up(self, upto: int | None = None) -> None:
        """Read what is new in the journal (up to entry `upto`), and hold each entry against the chain."""
        stop = None if upto is None else upto + 1
        try:
            for row in self.store.entries(self.session, len(self._rows), stop):
                self._take(row)
        except LoopspecError as err:
            self.say(f"the journal does not hold together: {err}")

    def _take(self, row: bytes) -> None:
        """One more entry; raises `Damaged` when its patch does not give the recorded snapshot."""
        entry = read(row)
        seq = len(self._rows)
        self._rows.append(row)
        if (entry.seq, entry.prev, entry.session) != (seq, self._hash, self.session):
            what = f"entry {entry.seq} stands where {seq} should be"
            self.say(f"the journal does not hold together: {what}")
            return
        told = self._acknowledged.get(seq)
        if told is not None and told != entry.hash:
            self.say(f"entry {seq} is not the one that was acknowledged")
        self._witness(entry, self.snapshot.calls)
        before, self.snapshot = self.snapshot, advance(self.snapshot, entry)
        self._hash = entry.hash
        change_view(self.items, entry)
        for fault in self._models.follow(entry, before, self.snapshot, self.items):
            self.say(fault)
        for op in entry.record.view:
            if isinstance(op, AddUser) and op.seq in self._withdrawn:
                self.say(f"the message of entry {op.seq} was taken back, and the model sees it")
        self._judge_emitted(entry)

    def _judge_emitted(self, entry: Entry) -> None:
        """Whether anything is asked for while cancelled work has not settled."""
        asked = [e.id for e in entry.effects if not isinstance(e, Cancel)]
        if asked:
            open_ones = [k for k, p in self.snapshot.pending.items() if p.status == "cancelling"]
            if open_ones:
                self.say(f"{', '.join(asked)} is asked for while {open_ones} have not settled")

    def _witness(self, entry: Entry, before: Mapping[str, Call]) -> None:
        """Remember what lets a call begin: only what is written counts."""
        match entry.event:
            case GateDecided():
                for d in entry.event.decisions:
                    asks = d.answer == "ask" and d.call in self._own  # who calls has answered
                    if d.call in before and (d.answer == "allow" or asks):
                        self._cleared.add((d.call, before[d.call].args_hash))
            case ApprovalGiven(answer="grant"):
                self._granted(entry.event, before)
            case UserCalled():
                self._own.add(f"c{entry.seq}_0")
            case UserWithdrew():
                self._withdrawn.add(entry.event.message)
            case ApprovalGiven(call=call, answer="rerun"):
                self._reruns[call] = self._reruns.get(call, 0) + 1
            case _:
                pass

    def _granted(self, event: ApprovalGiven, before: Mapping[str, Call]) -> None:
        """A person lets a call through, and others with it, by what the scope says."""
        call = before[event.call]
        key = call.args_hash
        if event.args and (new := args_hash(call.tool, event.args)) != key:
            self._cleared.discard((call.id, key))
            self._changed[call.id] = key = new
        self._cleared.add((call.id, key))
        match event.scope:
            case "exact":
                self._exact.add((call.tool, key))
            case "limited":
                asked = [c for c in before.values() if c.tool == call.tool and c.status == "asked"]
                self._cleared |= {
                    (c.id, c.args_hash)
                    for c in asked
                    if covers(event.paths, event.commands, c.paths, c.command or None)
                }
            case "tool":
                self._tools.add(call.tool)
            case _:
                pass

    # ------------------------------------------------------------ what begins

    def begins(self, effect: Effect) -> None:
        """An effect begins now: whether it may, by what is committed."""
        pending = self.snapshot.pending.get(effect.id)
        if pending is None:
            seq, _ = effect_order(effect.id)
            if seq > self.snapshot.seq:
                self.say(f"{effect.id} begins before its entry is committed")
            else:
                self.say(f"{effect.id} begins, but the journal does not ask for it any more")
            return
        if pending.effect != effect:
            self.say(f"{effect.id} begins, but its entry asks for something else")
        if isinstance(effect, RunTool):
            call = self.snapshot.calls[effect.call]
            same = call.status == "running" and call.args_hash == effect.args_hash
            if not same or not self._let_through(call):
                self.say(f"call {call.id} begins, but nobody let it through")
            if self._changed.get(call.id, effect.args_hash) != effect.args_hash:
                self.say(f"call {call.id} begins with other arguments than a person made of them")
            if call.id not in self._own and self._own_open("allowed", "granted", "running"):
                self.say(f"call {call.id} begins beside a person's own call")
        if isinstance(effect, CallModel):
            self._judge_view()
            if self._own_open():
                self.say("the model is asked while a person's own call has no result")

    def _own_open(self, *statuses: str) -> bool:
        """Whether a person's own call has one of these statuses, or (without any) no result."""
        found = [c.status for key, c in self.snapshot.calls.items() if key in self._own]
        return any(s in statuses if statuses else s != "answered" for s in found)

    def _let_through(self, call: Call) -> bool:
        """Whether the gate or a person let this call through."""
        if (call.id, call.args_hash) in self._cleared or call.id in self._reruns:
            return True
        return call.tool in self._tools or (call.tool, call.args_hash) in self._exact

    def _judge_view(self) -> None:
        """Whether every call in the view has exactly one result."""
        calls = [c.id for item in self.items for c in item.calls]
        results = [item.call for item in self.items if item.role == "result"]
        if sorted(calls) != sorted(results):
            self.say(f"the request holds calls {calls}, but results {results}")

    # ------------------------------------------------------------ what is under way

    def compare(self, under_way: set[str], stopping: set[str], snapshot: Snapshot) -> None:
        """Whether what the journal says is pending is what is really under way."""
        pending = self.snapshot.pending
        if under_way != pending.keys():
            self.say(f"pending is {sorted(pending)}, but {sorted(under_way)} are under way")
        cancelling = {k for k, p in pending.items() if p.status == "cancelling"}
        if cancelling != stopping:
            self.say(f"cancelling is {sorted(cancelling)}, but {sorted(stopping)} were told")
        if snapshot.seq != self.snapshot.seq:
            self.say(f"the driver stands at entry {snapshot.seq}, the journal at {self.snapshot.seq}")

    # ------------------------------------------------------------ the end

    def close(self, items: Sequence[Item] | None, snapshot: Snapshot | None, *, thorough: bool) -> None:
        """Hold the whole journal against what was seen, and the world against the journal.

        `items` and `snapshot` are the last process's own. `thorough` walks the chain from the bytes
        once more and runs every step again.
        """
        self.catch_up()
        if not self.found:
            self._judge_rows()
        if not self.found and items is not None and list(items) != self.items:
            self.say("the view is not the fold of the journal")
        if not self.found and snapshot is not None and encode(snapshot) != encode(self.snapshot):
            self.say("the process stands elsewhere than the journal")
        if thorough or self.found:
            self._walk()
        self._judge_acts()

    def _judge_rows(self) -> None:
        """What was seen, and what was acknowledged, is there; the head agrees."""
        if list(self.store.entries(self.session)) != self._rows:
            self.say("entries were changed after they had been written")
        last = max(self._acknowledged, default=-1)
        if last >= len(self._rows):
            self.say(f"entry {last} was acknowledged, and is not in the journal")
        head = self.store.head(self.session)
        if head is None:
            if self._rows:
                self.say("the head is gone")
        elif (head.seq, head.hash, head.snapshot) != (
            self.snapshot.seq,
            self._hash,
            encode(self.snapshot),
        ):
            self.say("the head is not that of the journal")

    def _walk(self) -> None:
        """Verify the journal from its bytes, as `loopspec verify` does, and run every step again."""
        try:
            entries = list(verified(self.store, self.session)) if self._rows else []
        except LoopspecError as err:
            self.say(f"the journal does not hold together: {err}")
            return
        if not self.found:
            self.found.extend(recompute(self.session, entries, stepper(self.machine)))

    def _judge_acts(self) -> None:
        """What may not be repeated began at most once, unless somebody was asked and said so."""
        starts: dict[str, int] = {}
        for act in self.world.acts:
            starts[act.call] = starts.get(act.call, 0) + 1
        for act in self.world.acts:
            count = starts.pop(act.call, 0)
            if act.once and count > 1 + self._reruns.get(act.call, 0):
                self.say(f"call {act.call} ({act.tool}) began {count} times without being asked")

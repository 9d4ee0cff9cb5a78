"""Cards: what entries and calls look like as text."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from loopspec.cli.style import Style, printable_block
from loopspec.drivers.session import Session
from loopspec.errors import LoopspecError
from loopspec.events import (
    AttemptFailed,
    BoundaryFailed,
    BoundaryTaken,
    ContextCompacted,
    ContextStuck,
    EffectFailed,
    EffectLost,
    GateDecided,
    ModelReplied,
    RollbackDone,
    RollbackFailed,
    RollbackPartial,
    ToolAnswered,
    name_of,
)
from loopspec.hooks import Tool, ToolContext
from loopspec.journal.entry import Entry
from loopspec.machine.tiering import REASONS
from loopspec.record import AddResult
from loopspec.snapshot import Call
from loopspec.views.words import duration, money, plural, printable

OUTPUT_LINES = 6
_EXIT = re.compile(r"^exit code (-?\d+)$")
_FIRST = ("path", "command", "pattern")


def room() -> int:
    """Columns a line may take: the terminal's, between 20 and 100."""
    return max(20, min(100, shutil.get_terminal_size((103, 24)).columns - 3))


def entry_lines(
    session: Session, entry: Entry, style: Style, streamed: frozenset[str] = frozenset()
) -> list[str]:
    """What a person sees of an entry; empty for what says nothing to them.

    `streamed` are calls whose output has been shown already.
    """
    match entry.event:
        case ModelReplied(calls=calls) if not escalated(entry):
            head = [style.strong("• ") + call_line(c.tool, c.args) for c in calls]
        case ToolAnswered():
            head = _tool_lines(session, entry.event, style, entry.event.call in streamed)
        case _:
            head = []
    return head + note_lines(session, entry, style)


def escalated(entry: Entry) -> bool:
    """Whether the reply of an entry was left for the next tier: nothing of it runs."""
    return any(left.why == "escalated" for left in entry.record.left)


def void_line(reason: str) -> str:
    """What a person is told of a text that was shown and does not count."""
    if reason in REASONS:  # a whole one: the next tier is asked
        return f"  ✗ the reply above does not hold ({reason.replace('_', ' ')})"
    return f"  ✗ the unfinished reply above is void ({printable(reason, 40)})"


def note_lines(session: Session, entry: Entry, style: Style) -> list[str]:
    """What a person sees of an entry, beside the model's replies and the tools' results."""
    out: list[str] = []
    match entry.event:
        case GateDecided(decisions=decisions):
            for found in decisions:
                if found.answer == "deny":
                    why = printable(found.reason or found.rule, room())
                    out.append(style.bad(f"  denied: {call_name(session, found.call)}: {why}"))
        case AttemptFailed(reason=reason, detail=detail):
            out.append(style.warn(f"  attempt failed ({reason}): {printable(detail, room())}"))
        case BoundaryTaken(boundary=boundary):
            out.append(style.dim(f"  rollback point {boundary}"))
        case ContextCompacted(before=before, after=after):
            out.append(style.dim(f"  compacted: {before} → {after} tokens"))
        case EffectLost(reason=reason):
            out.append(style.warn(f"  lost: {printable(reason, room())}"))
        case RollbackDone(changed=changed) | RollbackPartial(changed=changed):
            out += [style.dim(f"  put back: {printable(p, room())}") for p in changed[:20]]
        case (
            BoundaryFailed(reason=reason)
            | RollbackFailed(reason=reason)
            | ContextStuck(reason=reason)
            | EffectFailed(reason=reason)
        ):
            what = name_of(entry.event)
            out.append(style.bad(f"  {what}: {printable(reason, room())}"))
        case _:
            pass
    for op in entry.record.view:
        if isinstance(op, AddResult) and op.text is not None and op.status != "ok":
            text = printable(op.text, room())
            out.append(style.warn(f"  ✗ {call_name(session, op.call)}: {op.status}: {text}"))
    for said in entry.record.said:
        if said.to == "person":
            out.append(style.strong("» ") + printable_block(said.text))
        elif said.to == "model":
            out.append(style.dim("» " + printable(said.text, room())))
    if session.snapshot.stuck and "stuck" in entry.patch.set:
        out.append(style.bad(f"stuck: {printable(session.snapshot.stuck, 400)}"))
    return out


def call_line(tool: str, args: str, *, few: bool = False) -> str:
    """A proposed call on one line; `few`: only the tool and what it is about."""
    try:
        data = json.loads(args)
    except ValueError:
        data = {}
    if few:
        about = next((data[k] for k in _FIRST if isinstance(data.get(k), str)), "")
        return printable(f"{tool} {about}".strip(), 48)
    shown = ", ".join(
        f"{k}={printable(v if isinstance(v, str) else json.dumps(v), 40)}"
        for k, v in sorted(data.items(), key=lambda item: (item[0] not in _FIRST, item[0]))
    )
    return printable(f"{tool}({shown})", room())


def _tool_of(session: Session, call: str) -> str:
    """A call's tool, by its id."""
    found = session.snapshot.calls.get(call)
    if found is not None:
        return found.tool
    return next((i.tool for i in reversed(session.items) if i.call == call), call)


def call_name(session: Session, call: str) -> str:
    """A call in a few words: its tool and what it is about."""
    for item in reversed(session.items):
        for made in item.calls:
            if made.id == call:
                return call_line(made.tool, made.args, few=True)
    return _tool_of(session, call)


def _only_reads(session: Session, call: str) -> bool:
    """Whether a call's tool changes nothing: what it read is for the model, not for the screen."""
    declared = session.machine.tools.get(_tool_of(session, call))
    return declared is not None and declared.effect == "read"


def _tool_lines(session: Session, event: ToolAnswered, style: Style, streamed: bool) -> list[str]:
    """The card of a finished call: its result, duration and the end of its output."""
    mark, word, lines = outcome(event, style)
    head = f"{call_name(session, event.call)}: {word}, {duration(event.duration)}"
    if event.status == "ok" and (streamed or _only_reads(session, event.call)):
        return [mark + head + ("" if streamed else style.dim(f" · {plural(len(lines), 'line')}"))]
    hidden = len(lines) - OUTPUT_LINES
    out = [mark + head + (style.dim(f" · {hidden} more lines above") if hidden > 0 else "")]
    out += [style.dim("    " + printable(line, room() - 4)) for line in lines[-OUTPUT_LINES:]]
    return out


def outcome(event: ToolAnswered, style: Style) -> tuple[str, str, list[str]]:
    """How a call ended: its mark, one word for it (an exit code if there is one), its lines."""
    lines = [line for line in event.output.splitlines() if line.strip()]
    if event.status != "ok":
        mark = style.warn("  ⏱ ") if event.status == "timeout" else style.bad("  ✗ ")
        return mark, event.status, lines
    if lines and (code := _EXIT.match(lines[-1])):
        mark = style.good("  ✓ ") if code[1] == "0" else style.warn("  ! ")
        return mark, lines[-1], lines[:-1]
    return style.good("  ✓ "), event.status, lines


def preview_of(session: Session, call: Call, tools: Mapping[str, Tool], args: str = "") -> str:
    """What a call would do, as its tool shows it (a diff), else its arguments; `args` stand in for
    those the model proposed."""
    try:
        args = args or session.args(call)
    except LoopspecError as err:
        return str(err)
    declared = session.machine.tools.get(call.tool)
    tool = tools.get(declared.use) if declared else None
    if declared is not None and tool is not None and tool.preview is not None:
        context = ToolContext(
            workdir=Path(session.snapshot.workdir),
            emit=lambda _: None,
            config=json.loads(declared.config),
            call=call.id,
        )
        try:
            return tool.preview(context, json.loads(args))
        except Exception as err:  # a plugin's own code: the arguments are shown instead
            return f"{args}\n(no preview: {type(err).__name__}: {err})"
    return args


def call_card(session: Session, call: Call, preview: str, style: Style) -> str:
    """The card put before a person."""
    head = f"{call.tool}: {call.reason}" if call.reason else call.tool
    rule = style.dim(printable(f" · {call.rule}", room())) if call.rule else ""
    lines = [style.strong("┌ ") + style.strong(printable(head, room())) + rule]
    for line in printable_block(preview).splitlines()[:80]:
        paint = style.plain
        if line.startswith("+") and not line.startswith("+++"):
            paint = style.good
        elif line.startswith("-") and not line.startswith("---"):
            paint = style.bad
        lines.append(style.strong("│ ") + paint(line))
    lines.append(style.strong("└"))
    return "\n".join(lines)


def restful(session: Session, words: str) -> str:
    """The line that ends a run."""
    usage = session.snapshot.usage
    cost = money(usage.cost, usage.unpriced)
    return (
        f"{words}\nsession {session.id} · {plural(usage.turns, 'turn')} · "
        f"{plural(usage.calls, 'call')} · {plural(usage.tokens, 'token')} · {cost}"
    )

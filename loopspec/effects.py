"""Effects: things to be done, in the imperative. `step` emits them; performers do them.

Rules of this file:
1. An effect's id is `session:seq:n`, so the same history gives the same ids.
2. An effect carries names and digests, never large bodies: those stand in the journal once.
3. Each effect is answered by exactly one event that carries its id.
"""

from typing import TypeAlias

import msgspec

from loopspec.event_base import always


class _Effect(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="do"
):
    """Base of every effect. `state` is the path of the state that started it."""

    id: str
    state: str


class CallModel(_Effect, frozen=True, tag="call_model"):
    """Ask a model for the next reply. `system` is the blob digest of the rendered prompt.

    `after` is the effect whose attempt failed before this one (empty: the first attempt). `continues`
    is the journal entry of that `attempt.failed`, whose partial text the reply goes on from (-1: it
    begins anew). `profile` is the smaller profile in use (empty: the whole prompt and all tools);
    `tier` the tier of the model's declaration.
    """

    model: str
    use: str
    system: str = ""
    attempt: int = 1
    rung: int = 0
    after: str = ""
    continues: int = -1
    profile: str = ""
    tier: str = ""


class DecideCalls(_Effect, frozen=True, tag="decide_calls"):
    """Ask the gate about each proposed call."""

    calls: tuple[str, ...] = ()


class RunTool(_Effect, frozen=True, tag="run_tool"):
    """Run one call. Its arguments stand in journal entry `seq`, of a reply in its proposal `index`."""

    call: str
    tool: str
    args_hash: str
    seq: int
    index: int


class CompactContext(_Effect, frozen=True, tag="compact_context"):
    """Make the request smaller than `target` tokens; `level` counts how often since the last reply.

    `context` is what the whole request takes now, as far as it is known; `scale` what an estimated token
    is in reported ones, in parts per million (0: nothing was reported yet). So the plan follows from the
    effect and the view alone. `system` is the blob digest of what a model that writes is told.
    """

    target: int
    level: int = 0
    context: int = 0
    scale: int = 0
    system: str = ""


class TakeBoundary(_Effect, frozen=True, tag="take_boundary"):
    """Record the workspace before anything writes."""

    boundary: str


class SurveyHost(_Effect, frozen=True, tag="survey_host"):
    """Look at the host before a tier of `model` is chosen: its network, its free memory."""

    model: str


class RestoreBoundary(_Effect, frozen=True, tag="restore_boundary"):
    """Put the workspace back; `remaining` names acts since then that cannot be undone."""

    boundary: str
    ref: str
    remaining: tuple[str, ...] = ()


class Perform(_Effect, frozen=True, tag="perform"):
    """Work of a plugin's own kind; `config` is the state's configuration as JSON text."""

    kind: str
    config: str = always("{}")


class Cancel(_Effect, frozen=True, tag="cancel"):
    """Stop an effect that is under way. It is answered by the target's own settling."""

    target: str


Effect: TypeAlias = (
    CallModel
    | DecideCalls
    | RunTool
    | CompactContext
    | TakeBoundary
    | SurveyHost
    | RestoreBoundary
    | Perform
    | Cancel
)

"""What tests of tiers share: three tiers, and a session that asks one of them."""

from typing import Any

from loopspec.effects import CallModel, SurveyHost
from loopspec.events import AttemptFailed, HostSurveyed, UserMessage
from loopspec.machine.model import ModelDecl, Tier
from loopspec.machine.tiering import REASONS
from machine.builders import SECOND, Run, coding

S = "working.streaming"
RULES = Tier("rules", "rules/main.rules", privacy="secret", network=False)
DEVICE = Tier("device", "local/small", privacy="secret", network=False)
CLOUD = Tier("cloud", "sim/large")
USES = {t.name: t.use for t in (RULES, DEVICE, CLOUD)}


def declared(*tiers: Tier, **changes: Any) -> ModelDecl:
    """A tiered model that escalates for everything."""
    plain: dict[str, Any] = {"escalate": REASONS, "failures": 2, "attempts": 5, "base": SECOND}
    return ModelDecl("main", "", tiers=tiers or (RULES, DEVICE, CLOUD), **{**plain, **changes})


def asked(decl: ModelDecl, *, network: bool = True, memory: int = -1, **changes: Any) -> Run:
    """Somebody has said something, and the host was looked at."""
    run = Run(coding(models={"main": decl}, **changes))
    run.tell(UserMessage("x", tokens=10))
    survey(run, network, memory)
    return run


def survey(run: Run, network: bool = True, memory: int = -1) -> None:
    """The host is looked at."""
    assert isinstance(run.effect, SurveyHost)
    run.tell(HostSurveyed(run.effect.id, network, memory, "test"), "host")


def fail(run: Run, reason: str = "provider", **changes: Any) -> None:
    """The attempt that is out fails."""
    plain = {"retryable": reason not in ("no_match", "refused", "auth")}
    run.tell(AttemptFailed(run.effect.id, reason, **{**plain, **changes}), "model")


def tier(run: Run) -> str:
    """The tier that is asked now."""
    assert isinstance(run.effect, CallModel)
    assert run.effect.use == USES.get(run.effect.tier, run.effect.use)
    return run.effect.tier


def attempt(run: Run) -> int:
    """Which attempt of its tier it is."""
    assert isinstance(run.effect, CallModel)
    return run.effect.attempt


def act(run: Run) -> Any:
    """What the model's state is doing."""
    return run.snapshot.activations[S]

"""GuardReady: whether the guard runs that the spec asks for, beside the model that it screens. Called by `status.conditions`.

Ready does not depend on it: a guard that is down refuses requests or lets them pass, as the spec says, and the model goes on.
"""

from llama_operator.api.meta import ConditionStatus
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed, RayServiceFacts, ServeDeploymentFacts
from llama_operator.status.endpoint import facts_of
from llama_operator.status.finding import Finding
from llama_operator.status.revision import waiting
from llama_serving.contract.guard import GUARD_DEPLOYMENT, GuardFailure, GuardMode

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
_KIND = ConditionType.GUARD_READY


def guard_ready(observed: Observed, decision: Decision) -> Finding | None:
    """The condition GuardReady; None where the spec asks for no guard."""
    guard = observed.deployment.spec.guard
    if guard is None:
        return None
    if decision.stopped:
        return Finding(_KIND, _FALSE, Reason.SUSPENDED, "no hardware is held")
    facts = facts_of(observed, decision.revision.name)
    if facts is None:
        return Finding(_KIND, _UNKNOWN, *waiting(decision))
    found = _deployment(facts)
    if found is None or found.status in _STARTING:
        return Finding(_KIND, _FALSE, Reason.STARTING, f"the guard {guard.model.name} is starting")
    opens = guard.mode is GuardMode.BLOCK and guard.failure is GuardFailure.OPEN
    if found.status != "HEALTHY":
        what = {
            GuardMode.BLOCK: "requests pass unchecked" if opens else "requests are refused with 503 guard_unavailable",
        }.get(guard.mode, "nothing tells what is unsafe")
        said = f": {found.message}" if found.message else ""
        return Finding(_KIND, _FALSE, Reason.GUARD_DOWN, f"the guard {guard.model.name} does not run, so {what}{said}")
    if opens:
        text = f"the guard {guard.model.name} runs; what it cannot judge passes, because: {guard.reason}"
        return Finding(_KIND, _TRUE, Reason.GUARD_FAILS_OPEN, text)
    return Finding(_KIND, _TRUE, Reason.GUARD_RUNNING, f"the guard {guard.model.name} runs in mode {guard.mode}")


_STARTING = frozenset({"", "UPDATING", "UPSCALING"})
"""Serve's words for a deployment that is on its way."""


def _deployment(facts: RayServiceFacts) -> ServeDeploymentFacts | None:
    return next((one for one in facts.deployments if one.name == GUARD_DEPLOYMENT), None)

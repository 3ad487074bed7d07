"""AdaptersReady and `status.adapters`: what the pods say of each adapter that the spec lists. Called by `status`.

An adapter that the spec has just got counts from the moment at which a replica tells of it under this name with this source: what
it told of another one is about an older spec.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from llama_operator.api.meta import ConditionStatus
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.adapters import repository_of
from llama_operator.api.v1alpha1.llamadeployment_status import AdapterStatus
from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed
from llama_operator.status import scaling
from llama_operator.status.finding import Finding
from llama_serving.contract.adapters import Adapter, AdapterReport

_KIND = ConditionType.ADAPTERS_READY
_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Told:
    """An adapter of the spec, and what is known of it."""

    name: str
    report: AdapterReport
    replicas: int

    @property
    def status(self) -> AdapterStatus:
        report = self.report
        return AdapterStatus(
            name=self.name,
            loaded_replicas=min(report.loaded, self.replicas),
            replicas=self.replicas,
            rank=report.rank,
            digest=report.digest,
            reason="" if report.fault is None else report.fault.value,
            message=report.message,
        )


def adapters(observed: Observed, decision: Decision) -> tuple[AdapterStatus, ...] | None:
    """Return what is known of each adapter of the spec; None if it lists none."""
    return tuple(one.status for one in _told(observed, decision)) or None


def adapters_ready(observed: Observed, decision: Decision) -> Finding | None:
    """Say whether all replicas serve all adapters; None if the spec lists none."""
    told = tuple(_told(observed, decision))
    if not told:
        return None
    problem = decision.problem
    if problem is not None and problem.condition is _KIND:
        return Finding(_KIND, _FALSE, problem.reason, problem.text)
    if decision.stopped:
        return Finding(_KIND, _UNKNOWN, Reason.SUSPENDED, "no hardware is held")
    failed = [(one, one.report.fault) for one in told if one.report.fault is not None]
    if failed:
        return Finding(_KIND, _FALSE, Reason(failed[0][1].value), _words([one for one, _ in failed]))
    if any(one.replicas == 0 for one in told):
        scaled = observed.serving is not None and observed.serving.target_replicas == 0
        if scaled:
            return Finding(_KIND, _UNKNOWN, Reason.SCALED_TO_ZERO, "the next replica loads them before it serves")
        return Finding(_KIND, _UNKNOWN, Reason.WAITING, "no replica tells about adapters yet")
    waiting = [one for one in told if one.report.loaded < one.replicas]
    if waiting:
        return Finding(_KIND, _FALSE, Reason.ADAPTERS_LOADING, f"not on all replicas yet: {_words(waiting)}")
    return Finding(_KIND, _TRUE, Reason.ADAPTERS_LOADED, f"{len(told)} of {len(told)} on all replicas")


def _told(observed: Observed, decision: Decision) -> Iterator[_Told]:
    serving = None if decision.stopped else scaling.answer(observed, decision)
    reports = {} if serving is None else {(one.name, one.source): one for one in serving.adapters}
    replicas = 0 if serving is None else serving.replicas
    for adapter in observed.deployment.spec.adapters:
        source = Adapter(name=adapter.name, path=adapter.source.path, repository=repository_of(adapter)).source
        nothing = AdapterReport(name=adapter.name, source=source)
        yield _Told(adapter.name, reports.get((adapter.name, source), nothing), replicas)


def _words(told: list[_Told]) -> str:
    said = [
        f"{one.name}: {one.report.message}"
        if one.report.message
        else f"{one.name} {one.report.loaded} of {one.replicas}"
        for one in told[:_SHOWN]
    ]
    more = f"; and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return "; ".join(said) + more

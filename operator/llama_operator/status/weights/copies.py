"""WeightsCopied, and `status.weights`: which copies the wanted revision reads, and how far each is."""

from datetime import timedelta

from llama_operator.api.meta import ConditionStatus
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.said import shortened
from llama_operator.api.v1alpha1.llamadeployment_status import MOST_TEXT, WeightsCopyStatus
from llama_operator.decide.copies.needed import caches
from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed
from llama_operator.decide.weights.copying import Copying, CopyState
from llama_operator.decide.weights.erasing import EraseState
from llama_operator.status.finding import Finding

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


def weights_copied(observed: Observed, decision: Decision) -> Finding | None:
    """The condition WeightsCopied; None where the spec asks for no copy and the revision reads none."""
    kind, copying, problem = ConditionType.WEIGHTS_COPIED, decision.copying, decision.problem
    if problem is not None and problem.condition is kind:
        return Finding(kind, _FALSE, problem.reason, problem.text)
    if copying is None and not caches(observed.deployment):
        return None
    if copying is not None:
        return _of(copying)
    access = decision.access_check
    if decision.stopped or problem is not None or access is None or not access.passed:
        return Finding(kind, _UNKNOWN, Reason.WAITING, "weights are copied once they may be, before a revision starts")
    return Finding(kind, _TRUE, Reason.COPIED, "the project generates these weights itself, nothing is copied")


def _of(copying: Copying) -> Finding:
    kind, first = ConditionType.WEIGHTS_COPIED, copying.first
    if first.reason is Reason.IN_IMAGE:
        return Finding(kind, _TRUE, first.reason, first.message)
    if first.reason is Reason.COPY_NOT_LOOKED_AT:
        return Finding(kind, _UNKNOWN, first.reason, first.message)
    if copying.passed:
        return Finding(kind, _TRUE, Reason.COPIED, "; ".join(state.message for state in copying.states))
    status = _UNKNOWN if first.reason is Reason.COPYING else _FALSE
    return Finding(kind, status, first.reason, first.message)


def copies(decision: Decision, previous: tuple[WeightsCopyStatus, ...] | None) -> tuple[WeightsCopyStatus, ...] | None:
    """The entries of `status.weights`; None where the revision reads no copy.

    Args:
        decision: What was decided.
        previous: What the status said before: while something else stands in the way, that is still so.
    """
    if decision.erasing is not None and decision.erasing.states:
        return tuple(_erased(state) for state in decision.erasing.states)
    if decision.copying is None:
        return previous if decision.rollout is None or decision.stopped else None
    return tuple(_entry(state) for state in decision.copying.states)


def _erased(state: EraseState) -> WeightsCopyStatus:
    copy, erased = state.copy, state.erased
    return WeightsCopyStatus(
        id=copy.id,
        role=copy.role.value,
        state=state.reason.value,
        claim=copy.claim,
        source=shortened(copy.source.words, MOST_TEXT),
        commit=copy.source.commit,
        expected_bytes=copy.expected_bytes,
        bytes=None if erased is None else erased.bytes,
        files=None if erased is None else erased.files,
        message=shortened(state.message, MOST_TEXT),
        erased_at=None if erased is None else erased.at,
    )


def _entry(state: CopyState) -> WeightsCopyStatus:
    copy, seen, job = state.copy, state.copied, state.job
    runs = job is not None and job.finished is None
    started = None if job is None else job.created
    deadline = None
    if job is not None and runs and started is not None and job.deadline:
        deadline = started + timedelta(seconds=job.deadline)
    return WeightsCopyStatus(
        id=copy.id,
        role=copy.role.value,
        state=state.reason.value,
        claim=copy.claim,
        source=shortened(copy.source.words, MOST_TEXT),
        commit=copy.source.commit or ("" if seen is None else seen.commit),
        expected_bytes=copy.expected_bytes,
        bytes=None if seen is None else seen.bytes,
        files=None if seen is None else seen.files,
        digest="" if seen is None else seen.digest,
        started_at=started if runs or seen is None else None,
        deadline=deadline,
        verified_at=None if seen is None else seen.at,
    )

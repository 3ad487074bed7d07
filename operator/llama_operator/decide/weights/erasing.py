"""What becomes of copies when the license of what reads them has ended: a Job erases them. Called by `decide.decision`.

A license that has ended asks to delete the weights. To delete a claim proves nothing, for a volume may keep its bytes; so a Job erases
the copy while the claim is there, and says what it erased. What other deployments still use is left to them. Once the status tells what
was erased, the operator's claim and the Job have no use any more, and go (`decide.weights.claims`): the status remembers it then.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from llama_operator.api.reasons import Reason
from llama_operator.decide.access_check import SOON
from llama_operator.decide.copies.facts import ClaimFacts, CopyJobFacts, ErasedFacts, WeightsFacts
from llama_operator.decide.copies.source import Copy
from llama_operator.decide.observed import Observed
from llama_operator.decide.rollout.ending import Ending
from llama_operator.decide.weights.copying import Copying
from llama_serving.contract.weights import CopyOutcome

_LOOK_AGAIN_SECONDS: Final = 30.0
_OVER: Final = frozenset({"Succeeded", "Failed"})
"""Phases of pods whose processes have ended."""
_TIDY_SECONDS: Final = 1.0
"""Once the status tells what was erased, the claim can go: no event asks for that pass."""


@dataclass(frozen=True, slots=True)
class EraseState:
    """How far the erasing of one copy is.

    Attributes:
        copy: The copy.
        reason: `Erased`, `Erasing`, `EraseFailed` or `CopyShared`.
        message: For people.
        claim: The operator's claim that it is in; None for a claim of the user's.
        erased: What was erased; None while nothing was.
        start: Number of the Job to start now; None if none is to be started.
        remember: Whether the claim has to remember it from now on.
        is_told: Whether the status told it before this pass: then nothing else has to remember it.
        next_check: Seconds until something may have changed that no event tells of.
    """

    copy: Copy
    reason: Reason
    message: str
    claim: ClaimFacts | None = None
    erased: ErasedFacts | None = None
    start: int | None = None
    remember: bool = False
    is_told: bool = False
    next_check: float | None = None


@dataclass(frozen=True, slots=True)
class Erasing:
    """How far the erasing of all copies is whose license has ended."""

    states: tuple[EraseState, ...] = ()

    @property
    def next_check(self) -> float | None:
        """Seconds until something may have changed that no event tells of."""
        return min((state.next_check for state in self.states if state.next_check is not None), default=None)


def erasing(
    observed: Observed, ending: Ending | None, wanted: str = "", copying: Copying | None = None
) -> Erasing | None:
    """Say which copies are to be erased; None if no license has ended.

    Args:
        observed: What this pass knows.
        ending: How revisions end.
        wanted: Revision that the spec asks for; empty where that is not known.
        copying: How far its copies are; None if it needs none, or while something stands in the way.
    """
    facts = observed.weights
    if ending is None or facts is None:
        return None
    ended = frozenset(ending.revisions)
    still = {
        (copy.claim, copy.id) for record in observed.revisions if record.name not in ended for copy in record.copies
    }
    still |= {(state.copy.claim, state.copy.id) for state in (() if copying is None else copying.states)}
    ending_records = (record for record in observed.revisions if record.name in ended)
    # Images are on nodes, which are not the operator's.
    every = [copy for record in ending_records for copy in record.copies if not copy.is_image]
    if wanted in ended or copying is not None:
        every = [*_never_pinned(observed, facts), *every]
    copies = {(copy.claim, copy.id): copy for copy in every}
    states = tuple(_state(observed, facts, copy) for key, copy in sorted(copies.items()) if key not in still)
    return Erasing(states)


def _never_pinned(observed: Observed, facts: WeightsFacts) -> Iterator[Copy]:
    """What was copied for a revision that was never made."""
    pinned = {copy.claim for record in observed.revisions for copy in record.copies if copy.owned}
    name, uid = observed.deployment.metadata.name, observed.deployment.metadata.uid
    for claim in facts.claims:
        if claim.copy is not None and claim.name not in pinned and claim.users.get(name) == uid and not claim.leaving:
            yield claim.copy
    for job in facts.jobs:
        # Of a claim of the user's only the Job says what it copied.
        if job.copy is not None and not job.copy.owned and job.deployment == name and not job.leaving:
            yield job.copy


def _state(observed: Observed, facts: WeightsFacts, copy: Copy) -> EraseState:
    claim = facts.claim(copy.claim) if copy.owned else None
    jobs = sorted((job for job in facts.jobs if job.id == copy.id and not job.leaving), key=lambda job: job.attempt)
    before = _told(observed, copy)
    if claim is not None and claim.erased is not None:
        return _gone(observed, copy, claim, claim.erased, before)
    erased = _by_job(jobs)
    if erased is not None:
        return _gone(observed, copy, claim, erased, before, remember=claim is not None)
    name = observed.deployment.metadata.name
    if before is not None and (claim is None or name not in claim.users):
        # What is in a claim of that name by now is another deployment's.
        return _gone(observed, copy, None, before, before)
    return _not_erased(observed, facts, copy, claim, jobs)


def _gone(
    observed: Observed,
    copy: Copy,
    claim: ClaimFacts | None,
    erased: ErasedFacts,
    before: ErasedFacts | None,
    *,
    remember: bool = False,
) -> EraseState:
    is_told = before is not None and before.at == erased.at
    text = (
        f"{copy.source.words} was erased from claim {copy.claim}: {erased.files} files, {erased.bytes} bytes, at "
        f"{erased.at:%Y-%m-%dT%H:%M:%SZ}"
    )
    ours = claim is not None and not claim.retained and observed.deployment.metadata.name in claim.users
    # Somebody else may have written the claim meanwhile, and it is let go in another pass then.
    wait = _TIDY_SECONDS if not is_told else _LOOK_AGAIN_SECONDS if ours else None
    return EraseState(copy, Reason.ERASED, text, claim, erased, remember=remember, is_told=is_told, next_check=wait)


def _told(observed: Observed, copy: Copy) -> ErasedFacts | None:
    """What the status said was erased; None if it said nothing of that."""
    status = observed.deployment.status
    for one in () if status is None else status.weights or ():
        if (one.claim, one.id, one.state) == (copy.claim, copy.id, Reason.ERASED.value) and one.erased_at is not None:
            return ErasedFacts(one.bytes or 0, one.files or 0, one.erased_at)
    return None


def _by_job(jobs: list[CopyJobFacts]) -> ErasedFacts | None:
    """What the last Job erased; None if something was copied since, or if no Job did."""
    done = next((job for job in reversed(jobs) if job.erases and _is_erased(job)), None)
    if done is None or done.finished is None:
        return None
    if done.attempt < max((job.attempt for job in jobs if not job.erases), default=0):
        return None
    verdict = done.verdict
    return ErasedFacts(0 if verdict is None else verdict.bytes, 0 if verdict is None else verdict.files, done.finished)


def _not_erased(
    observed: Observed, facts: WeightsFacts, copy: Copy, claim: ClaimFacts | None, jobs: list[CopyJobFacts]
) -> EraseState:
    text = f"{copy.source.words} is erased from claim {copy.claim}"
    waits = EraseState(copy, Reason.ERASING, text, claim, next_check=_LOOK_AGAIN_SECONDS)
    # The Job that erases waits for the lock of the one that copies. Nobody knows of the copy once that is gone, if the claim does not say it.
    running = claim is not None and any(job.finished is None for job in jobs)
    # Pods that read it, and a Job that writes it, have to be gone.
    read = any(copy in record.copies for record in observed.revisions if _runs(observed, record.name))
    if read or any(job.erases and job.finished is None for job in jobs):
        return waits
    if others := _others(observed, facts, copy, claim):
        text = f"{copy.source.words} stays in claim {copy.claim}: {', '.join(others)} uses it too"
        return EraseState(copy, Reason.COPY_SHARED, text, claim, next_check=_LOOK_AGAIN_SECONDS)
    if copy.owned and claim is None:
        text = f"claim {copy.claim} is gone; whether its volume kept its bytes is known to who runs the storage"
        return EraseState(copy, Reason.CLAIM_GONE, text)
    number = max((job.attempt for job in jobs), default=0) + 1
    failed = next((job for job in reversed(jobs) if job.erases and job.finished is not None), None)
    if failed is None or failed.finished is None or running:
        return replace(waits, start=None if running else number)
    left = observed.age(failed.finished).left(SOON.after(failed.attempt))
    said = failed.detail if failed.verdict is None else failed.verdict.message
    text = f"{text}, which failed and is tried again; Job {failed.name}: {said or 'its pod left no word'}"
    start = number if left <= 0 else None
    return EraseState(copy, Reason.ERASE_FAILED, text, claim, start=start, next_check=max(left, 1.0))


def _others(observed: Observed, facts: WeightsFacts, copy: Copy, claim: ClaimFacts | None) -> list[str]:
    """Deployments that use a copy too; not those whose own license has ended, for they wait for the same."""
    key = (copy.claim, copy.id)
    users = facts.readers.get(key, frozenset()) | frozenset(() if claim is None else claim.users)
    return sorted(users - facts.finished.get(key, frozenset()) - {observed.deployment.metadata.name})


def _runs(observed: Observed, revision: str) -> bool:
    """Whether pods of a revision may read its weights: they outlive their RayService by up to a minute, with open files."""
    made = any(service.name == revision for service in observed.ray_services)
    return made or any(pod.revision == revision and pod.phase not in _OVER for pod in observed.pods or ())


def _is_erased(job: CopyJobFacts) -> bool:
    said = job.verdict is not None and job.verdict.verdict is CopyOutcome.ERASED
    return job.finished is not None and (said or job.succeeded)

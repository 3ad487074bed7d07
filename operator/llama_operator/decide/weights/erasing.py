"""What becomes of copies when the license of what reads them has ended: a Job erases them. Called by `decide.decision`.

A license that has ended asks to delete the weights. To delete a claim proves nothing, for a volume may keep its bytes; so a Job erases
the copy while the claim is there, and says what it erased. What other deployments still use is left to them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from llama_operator.api.reasons import Reason
from llama_operator.decide.access_check import SOON
from llama_operator.decide.copies.facts import ClaimFacts, CopyJobFacts, ErasedFacts, WeightsFacts
from llama_operator.decide.copies.source import Copy
from llama_operator.decide.observed import Observed
from llama_operator.decide.rollout.ending import Ending
from llama_serving.contract.weights import CopyOutcome

_LOOK_AGAIN_SECONDS: Final = 30.0


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
        next_check: Seconds until something may have changed that no event tells of.
    """

    copy: Copy
    reason: Reason
    message: str
    claim: ClaimFacts | None = None
    erased: ErasedFacts | None = None
    start: int | None = None
    remember: bool = False
    next_check: float | None = None


@dataclass(frozen=True, slots=True)
class Erasing:
    """How far the erasing of all copies is whose license has ended."""

    states: tuple[EraseState, ...] = ()

    @property
    def next_check(self) -> float | None:
        """Seconds until something may have changed that no event tells of."""
        return min((state.next_check for state in self.states if state.next_check is not None), default=None)


def erasing(observed: Observed, ending: Ending | None) -> Erasing | None:
    """Say which copies are to be erased; None if no license has ended.

    Args:
        observed: What this pass knows.
        ending: How revisions end.
    """
    facts = observed.weights
    if ending is None or facts is None:
        return None
    ended = frozenset(ending.revisions)
    still = {
        (copy.claim, copy.id) for record in observed.revisions if record.name not in ended for copy in record.copies
    }
    copies = {(copy.claim, copy.id): copy for copy in _ended(observed, facts, ended)}
    states = tuple(_state(observed, facts, copy) for key, copy in sorted(copies.items()) if key not in still)
    return Erasing(states)


def _ended(observed: Observed, facts: WeightsFacts, ended: Iterable[str]) -> Iterator[Copy]:
    """Copies of revisions that ended, and what is in claims of a revision that was never made."""
    pinned = {copy.claim for record in observed.revisions for copy in record.copies}
    name, uid = observed.deployment.metadata.name, observed.deployment.metadata.uid
    for claim in facts.claims:
        if claim.copy is not None and claim.name not in pinned and claim.users.get(name) == uid and not claim.leaving:
            yield claim.copy
    for record in observed.revisions:
        if record.name in ended:
            yield from record.copies


def _state(observed: Observed, facts: WeightsFacts, copy: Copy) -> EraseState:
    name = observed.deployment.metadata.name
    claim = facts.claim(copy.claim) if copy.owned else None
    if claim is not None and claim.erased is not None:
        return EraseState(copy, Reason.ERASED, _erased(copy, claim.erased), claim, claim.erased)
    users = facts.readers.get((copy.claim, copy.id), frozenset()) | frozenset(() if claim is None else claim.users)
    if others := sorted(users - {name}):
        text = f"{copy.source.words} stays in claim {copy.claim}: {', '.join(others)} uses it too"
        return EraseState(copy, Reason.COPY_SHARED, text, claim, next_check=_LOOK_AGAIN_SECONDS)
    jobs = sorted((job for job in facts.jobs if job.id == copy.id and not job.leaving), key=lambda job: job.attempt)
    erasers = [job for job in jobs if job.erases]
    done = next((job for job in reversed(erasers) if _is_erased(job)), None)
    copied = [job.attempt for job in jobs if not job.erases]
    if done is not None and done.finished is not None and done.attempt > max(copied, default=0):
        verdict = done.verdict
        size, files = (0, 0) if verdict is None else (verdict.bytes, verdict.files)
        erased = ErasedFacts(size, files, done.finished)
        return EraseState(copy, Reason.ERASED, _erased(copy, erased), claim, erased, remember=claim is not None)
    if copy.owned and claim is None:
        text = f"claim {copy.claim} is gone; whether its volume kept its bytes is known to who runs the storage"
        return EraseState(copy, Reason.CLAIM_GONE, text)
    return _not_erased(observed, copy, claim, jobs)


def _not_erased(observed: Observed, copy: Copy, claim: ClaimFacts | None, jobs: list[CopyJobFacts]) -> EraseState:
    text = f"{copy.source.words} is erased from claim {copy.claim}"
    number = max((job.attempt for job in jobs), default=0) + 1
    running = any(job.finished is None for job in jobs)
    # Pods that read it, and a Job that writes it, have to be gone.
    read = any(copy in record.copies for record in observed.revisions if _runs(observed, record.name))
    failed = next((job for job in reversed(jobs) if job.erases and job.finished is not None), None)
    if failed is None or failed.finished is None or running or read:
        start = None if running or read else number
        return EraseState(copy, Reason.ERASING, text, claim, start=start, next_check=_LOOK_AGAIN_SECONDS)
    left = observed.age(failed.finished).left(SOON.after(failed.attempt))
    said = failed.detail if failed.verdict is None else failed.verdict.message
    text = f"{text}, which failed and is tried again; Job {failed.name}: {said or 'its pod left no word'}"
    start = number if left <= 0 else None
    return EraseState(copy, Reason.ERASE_FAILED, text, claim, start=start, next_check=max(left, 1.0))


def _runs(observed: Observed, revision: str) -> bool:
    return any(service.name == revision for service in observed.ray_services)


def _is_erased(job: CopyJobFacts) -> bool:
    said = job.verdict is not None and job.verdict.verdict is CopyOutcome.ERASED
    return job.finished is not None and (said or job.succeeded)


def _erased(copy: Copy, erased: ErasedFacts) -> str:
    return (
        f"{copy.source.words} was erased from claim {copy.claim}: {erased.files} files, {erased.bytes} bytes, at "
        f"{erased.at:%Y-%m-%dT%H:%M:%SZ}"
    )

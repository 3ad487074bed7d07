"""How far the copies of a revision are, and what to do next. Called by `decide.decision`.

A Job in the tenant's namespace copies and verifies (`desired.weights_job`), because the tenant's token is there. One Job at a
time works on a copy, whoever asked for it; a copy that is in its claim is not asked for again.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Final

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.decide.access_check import LATER, RARELY, SOON, TOKEN_FIELD, BackOff
from llama_operator.decide.copies.facts import ClaimFacts, CopiedFacts, CopyJobFacts, WeightsFacts
from llama_operator.decide.copies.needed import CACHE_FIELD
from llama_operator.decide.copies.source import Copy
from llama_operator.decide.observed import Observed
from llama_operator.decide.problem import Problem
from llama_serving.contract.weights import CopyOutcome, CopyVerdict

BYTES_PER_SECOND: Final = 20_000_000
"""A copy that is slower than this fails by its deadline; the next one goes on with the files that are whole."""
START_SECONDS: Final = 1800
"""For pulling the image and making the volume, before the first byte."""
UNKNOWN_BYTES: Final = 200_000_000_000
"""Size that the deadline rests on where nobody says one: that of a large 16-bit checkpoint."""

_LOOK_AGAIN_SECONDS: Final = 30.0
"""Pods of Jobs are not watched, and a Job may be another deployment's."""


def deadline_seconds(copy: Copy) -> int:
    """Seconds that a Job may take to copy, from its start."""
    return START_SECONDS + (copy.expected_bytes or UNKNOWN_BYTES) // BYTES_PER_SECOND


@dataclass(frozen=True, slots=True)
class CopyState:
    """How far one copy is.

    Attributes:
        copy: The copy.
        reason: `Copied`, `Copying`, or why it is not there.
        message: For people; the same from pass to pass while nothing changes.
        copied: What was verified; None while nothing was, and where nobody remembers it.
        job: The Job that works on it, or the last that did; None if there is none.
        start: Number of the Job to start now; None if none is to be started.
        obsolete: Jobs to delete: no answer needs them any more.
        remember: What the claim has to remember from now on.
        next_check: Seconds until something may have changed that no event tells of.
        field: API path of the field to change, if one is to blame.
    """

    copy: Copy
    reason: Reason
    message: str
    copied: CopiedFacts | None = None
    job: CopyJobFacts | None = None
    start: int | None = None
    obsolete: tuple[CopyJobFacts, ...] = ()
    remember: CopiedFacts | None = None
    next_check: float | None = None
    field: str = ""

    @property
    def done(self) -> bool:
        """Whether pods can read it, as far as it is known."""
        return self.reason in {Reason.COPIED, Reason.COPY_NOT_LOOKED_AT, Reason.IN_IMAGE}


@dataclass(frozen=True, slots=True)
class Copying:
    """How far all copies of a revision are, and which Jobs to start."""

    states: tuple[CopyState, ...]

    @property
    def passed(self) -> bool:
        """Whether pods of the revision may start."""
        return all(state.done for state in self.states)

    @property
    def first(self) -> CopyState:
        """The state to tell first: one that a person has to look at, else one that waits, else the model's."""
        waits = [state for state in self.states if not state.done]
        blocked = [state for state in waits if state.reason not in _BY_WAITING]
        return next(iter((*blocked, *waits, *self.states)))

    @property
    def problem(self) -> Problem | None:
        """What a person has to do; None if waiting may cure it."""
        if self.passed or self.first.reason in _BY_WAITING:
            return None
        return Problem(ConditionType.WEIGHTS_COPIED, self.first.reason, self.first.message, self.first.field)

    @property
    def next_check(self) -> float | None:
        """Seconds until something may have changed that no event tells of."""
        return min((state.next_check for state in self.states if state.next_check is not None), default=None)


_BY_WAITING: Final = frozenset(
    {Reason.COPYING, Reason.COPIED, Reason.COPY_FAILED, Reason.SOURCE_UNREACHABLE, Reason.COPY_STALLED}
)
_REASONS: Final = {
    CopyOutcome.NO_SPACE: Reason.NO_SPACE,
    CopyOutcome.NOT_WRITABLE: Reason.CLAIM_NOT_WRITABLE,
    CopyOutcome.MISMATCH: Reason.COPY_MISMATCH,
    CopyOutcome.TOKEN_INVALID: Reason.TOKEN_INVALID,
    CopyOutcome.ACCESS_DENIED: Reason.SOURCE_DENIED,
    CopyOutcome.NOT_FOUND: Reason.NOT_FOUND,
    CopyOutcome.UNREACHABLE: Reason.SOURCE_UNREACHABLE,
    CopyOutcome.STALLED: Reason.COPY_STALLED,
    CopyOutcome.FORBIDDEN: Reason.COPY_FORBIDDEN,
}
_BACK_OFF: Final = {
    Reason.NO_SPACE: LATER,
    Reason.CLAIM_NOT_WRITABLE: LATER,
    Reason.TOKEN_INVALID: LATER,
    Reason.SOURCE_DENIED: LATER,
    Reason.COPY_MISMATCH: RARELY,
    Reason.NOT_FOUND: RARELY,
    Reason.COPY_FORBIDDEN: RARELY,
}
_ADVICE: Final = {
    Reason.NO_SPACE: (
        "the volume of claim {claim} has no room for {source}: take a larger claim, or a StorageClass that allows expansion and raise "
        "its request"
    ),
    Reason.CLAIM_NOT_WRITABLE: (
        "claim {claim} cannot be written by user and group 1000: some drivers (CephFS, NFS) ignore fsGroup; give the root of the volume "
        "to group 1000, or take a StorageClass whose driver has fsGroupPolicy File"
    ),
    Reason.COPY_MISMATCH: "what arrived of {source} is not what its publisher says; it is copied again",
    Reason.TOKEN_INVALID: "the token may not, or may no longer, read {source}: put a valid one into the Secret",
    Reason.SOURCE_DENIED: "the account of the token or of the credentials may not have {source}: ask its owner, or use another account",
    Reason.NOT_FOUND: "there is no {source}",
    Reason.SOURCE_UNREACHABLE: "the source of {source} gives no usable answer, it is asked again",
    Reason.COPY_STALLED: "the download of {source} stood still, it is tried again and goes on with the files that are whole",
    Reason.COPY_FORBIDDEN: (
        "{source} has weights that can run code when they are read (pickles), or needs code of its maker: name another variant, or have "
        "the weights converted to safetensors"
    ),
    Reason.COPY_FAILED: "the copy of {source} failed, it is tried again and goes on with the files that are whole",
}


_LACKS_A_FILE: Final = "{source} lacks a file"


def subject_of(deployment: LlamaDeployment, copy: Copy, revision: str) -> str:
    """Name of what a Job is asked with. After a refusal another one asks at once: another Secret, or another revision."""
    weights = deployment.spec.weights
    token = None if weights.token_secret is None else [weights.token_secret.name, weights.token_secret.key]
    store = None if weights.store_secret is None else weights.store_secret.name
    return hashlib.sha256(json.dumps([copy.id, copy.claim, revision, token, store]).encode()).hexdigest()[:16]


def check_copies(observed: Observed, copies: tuple[Copy, ...], revision: str) -> Copying | None:
    """Say how far the copies of a revision are; None if it needs none.

    Args:
        observed: What this pass knows.
        copies: What the revision reads.
        revision: Its name.
    """
    if not copies:
        return None
    if any(copy.is_image for copy in copies):
        return Copying(tuple(CopyState(copy, Reason.IN_IMAGE, _in_image(copy)) for copy in copies))
    if observed.weights is None:
        # A plan without a cluster shows what is made once they are there.
        return Copying(tuple(CopyState(copy, Reason.COPY_NOT_LOOKED_AT, _not_looked_at(copy)) for copy in copies))
    if observed.weights.refused:
        return Copying(tuple(CopyState(copy, Reason.COPY_NOT_ALLOWED, _NOT_ALLOWED) for copy in copies))
    here = any(service.name == revision and not service.leaving for service in observed.ray_services)
    facts = observed.weights
    return Copying(tuple(_state(observed, facts, copy, revision, runs=here) for copy in copies))


def already_there(observed: Observed, copies: tuple[Copy, ...], revision: str) -> tuple[Copy, ...]:
    """Return those of `copies` that are verified, so that nothing of them is downloaded any more.

    Args:
        observed: What this pass knows.
        copies: What the revision would read.
        revision: Its name.
    """
    found = check_copies(observed, copies, revision)
    return () if found is None else tuple(state.copy for state in found.states if state.reason is Reason.COPIED)


def _state(observed: Observed, facts: WeightsFacts, copy: Copy, revision: str, *, runs: bool) -> CopyState:
    claim = facts.claim(copy.claim) if copy.owned else None
    jobs = sorted((job for job in facts.jobs if job.id == copy.id and not job.leaving), key=lambda job: job.attempt)
    if copy.owned and claim is not None and (differs := _differs(observed.deployment, claim)):
        return CopyState(copy, Reason.CLAIM_DIFFERS, differs, field=CACHE_FIELD)
    if copy.owned and facts.is_leaving(copy.claim):
        text = f"claim {copy.claim} is being deleted, and is made anew once no pod uses it"
        return CopyState(copy, Reason.COPYING, text, next_check=_LOOK_AGAIN_SECONDS)
    copied = None if claim is None or _is_touched(claim, jobs) else claim.copied
    erased = max((job.attempt for job in jobs if job.erases), default=0)
    copies = [job for job in jobs if job.attempt > erased and not job.erases and _in(job, claim, owned=copy.owned)]
    verified = next((job for job in reversed(copies) if _verified(job)), None)
    obsolete = _ours(observed, jobs)
    if copied is not None or verified is not None or (runs and not copy.owned):
        seen = copied or (None if verified is None else told(verified))
        # The Job of a claim that remembers nothing is the only one that knows.
        kept = tuple(job for job in obsolete if job is not verified)
        remember = seen if copy.owned and copied is None else None
        return CopyState(copy, Reason.COPIED, _copied(copy, seen), seen, verified, obsolete=kept, remember=remember)
    state = _not_there(observed, copy, revision, jobs, copies)
    if state.reason is Reason.COPYING and claim is not None and claim.phase not in {"", "Bound"}:
        return replace(state, message=f"{state.message}; {_unbound(claim)}")
    return state


def _not_there(
    observed: Observed, copy: Copy, revision: str, jobs: list[CopyJobFacts], copies: list[CopyJobFacts]
) -> CopyState:
    running = next((job for job in jobs if job.finished is None), None)
    subject = subject_of(observed.deployment, copy, revision)
    failed = next((job for job in reversed(copies) if job.subject == subject and job.finished is not None), None)
    number = max((job.attempt for job in jobs), default=0) + 1
    kept = (running, failed)
    obsolete = tuple(job for job in _ours(observed, jobs) if job not in kept)
    if failed is None:
        start = number if running is None else None
        message = _copying(copy, running, observed.deployment.metadata.name)
        return CopyState(copy, Reason.COPYING, message, None, running, start, obsolete, next_check=_LOOK_AGAIN_SECONDS)
    reason, message = _failure(copy, failed)
    wait = _back_off(reason).after(failed.attempt)
    left = observed.age(failed.finished or observed.now).left(wait)
    again = running is None and left <= 0
    return CopyState(
        copy,
        reason,
        message,
        None,
        running or failed,
        number if again else None,
        obsolete,
        next_check=_LOOK_AGAIN_SECONDS if running is not None or again else left,
        field=TOKEN_FIELD if reason is Reason.TOKEN_INVALID else "",
    )


def _unbound(claim: ClaimFacts) -> str:
    """What is known of a claim that has no volume yet."""
    named = f"StorageClass {claim.storage_class}" if claim.storage_class else "no StorageClass, and there is no default"
    return f"claim {claim.name} is {claim.phase}, with {named}: kubectl describe pvc says why, if it stays so"


def _back_off(reason: Reason) -> BackOff:
    return _BACK_OFF.get(reason, SOON)


def _in(job: CopyJobFacts, claim: ClaimFacts | None, *, owned: bool) -> bool:
    """Whether a Job wrote into the claim that is there now, and not into one of that name before it."""
    if not owned:
        return True
    if claim is None or job.created is None:
        return claim is not None
    # To the second: no Job copies and another one erases within one, but a copy may be asked for as soon as it is erased.
    emptied = claim.erased is not None and job.created < claim.erased.at
    return not emptied and (claim.created is None or job.created >= claim.created)


def _is_touched(claim: ClaimFacts, jobs: list[CopyJobFacts]) -> bool:
    """Whether a Job has begun to erase what the claim remembers as verified: another license ended, and this one has not."""
    at = None if claim.copied is None else claim.copied.at
    return at is not None and any(job.erases and job.created is not None and job.created >= at for job in jobs)


def _verified(job: CopyJobFacts) -> bool:
    said = job.verdict is not None and job.verdict.verdict is CopyOutcome.VERIFIED
    return job.finished is not None and (said or job.succeeded)


def told(job: CopyJobFacts) -> CopiedFacts | None:
    """What a Job that ended well says of the copy; None if its pod was gone before anybody looked."""
    verdict = job.verdict
    if verdict is None or job.finished is None:
        return None
    lasted = 0 if job.created is None else round((job.finished - job.created).total_seconds())
    return CopiedFacts(
        digest=verdict.digest or "",
        bytes=verdict.bytes,
        files=verdict.files,
        commit=verdict.commit or "",
        # Of the Job, with its image, its volume and its pods that went on; its own clock is that of whole seconds.
        seconds=max(round(verdict.seconds), lasted),
        at=job.finished,
    )


def _ours(observed: Observed, jobs: list[CopyJobFacts]) -> tuple[CopyJobFacts, ...]:
    """Jobs of this deployment that have ended, but for erasing ones, whose words the end of a license needs."""
    name = observed.deployment.metadata.name
    return tuple(job for job in jobs if job.deployment == name and job.finished is not None and not job.erases)


def _failure(copy: Copy, job: CopyJobFacts) -> tuple[Reason, str]:
    verdict = job.verdict
    reason = Reason.COPY_FAILED if verdict is None else _REASONS.get(verdict.verdict, Reason.COPY_FAILED)
    lacks = verdict is not None and verdict.file is not None and reason is Reason.NOT_FOUND
    advice = (_LACKS_A_FILE if lacks else _ADVICE[reason]).format(claim=copy.claim, source=copy.source.words)
    said = job.detail if verdict is None else _said(verdict)
    return reason, f"{advice}; Job {job.name}: {said}" if said else f"{advice}; Job {job.name}"


def _said(verdict: CopyVerdict) -> str:
    return ": ".join(filter(None, (verdict.file, verdict.message)))


def _copied(copy: Copy, seen: CopiedFacts | None) -> str:
    size = "" if seen is None else f", {seen.files} files, {gigabytes(seen.bytes)}"
    return f"{copy.source.words} is in claim {copy.claim}, folder {copy.id}{size}; every digest was compared"


def _in_image(copy: Copy) -> str:
    return f"pods mount {copy.source.words}, which each node pulls once; nothing is copied, and who made the image vouches for its files"


def _not_looked_at(copy: Copy) -> str:
    return f"{copy.source.words} is copied into claim {copy.claim} before anything starts; no cluster was asked whether it is there"


_NOT_ALLOWED: Final = (
    "claims may not be read or written, so nothing is copied and nothing new starts: apply the roles of this version of the operator "
    "(persistentvolumeclaims: get, list, watch, create, patch, delete)"
)


def _copying(copy: Copy, job: CopyJobFacts | None, name: str) -> str:
    size = f" ({gigabytes(copy.expected_bytes)})" if copy.expected_bytes else ""
    text = f"{copy.source.words}{size} is copied into claim {copy.claim}"
    if job is None:
        return text
    what = f"Job {job.name} erases it first" if job.erases else f"Job {job.name}"
    whose = f" of LlamaDeployment {job.deployment}" if job.deployment != name else ""
    waits = f"; {job.detail}" if job.detail else ""
    return f"{text} by {what}{whose}{waits}" if not job.erases else f"{text}; {what}{whose}{waits}"


def gigabytes(amount: int) -> str:
    """Write a size for people, in units of 1e9 bytes."""
    return f"{amount / 1e9:.1f} GB"


def _differs(deployment: LlamaDeployment, claim: ClaimFacts) -> str:
    """Why the claim that is there is not the one that the spec asks for; empty if it is."""
    cache = deployment.spec.weights.cache
    if cache.storage_class_name is not None and cache.storage_class_name != claim.storage_class:
        theirs = claim.storage_class or "no class"
        asked = f"storageClassName {cache.storage_class_name}"
    elif cache.access_mode.value not in claim.access_modes:
        theirs = ", ".join(claim.access_modes) or "no access mode"
        asked = f"accessMode {cache.access_mode}"
    else:
        return ""
    others = ", ".join(name for name in sorted(claim.users) if name != deployment.metadata.name)
    whose = f", which {others} uses too" if others else ""
    return (
        f"claim {claim.name} has {theirs}{whose}, and the spec asks for {asked}: ask for the same, or delete the claim when no pod uses "
        "it, and it is made anew"
    )

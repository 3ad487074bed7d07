"""Who uses which claim: what the deployment holds, and what it lets go. Called by `decide.decision`.

Each deployment writes its own entry into a claim, under a field manager of its own: that it uses it, and, unless the claim is to
stay, that it is one of its owners. Kubernetes deletes the claim with its last owner; the operator counts nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.weights import Retention
from llama_operator.decide.copies.facts import ClaimFacts, CopiedFacts, CopyJobFacts, WeightsFacts
from llama_operator.decide.copies.source import Copy, Role
from llama_operator.decide.observed import Observed
from llama_operator.decide.weights.copying import Copying
from llama_operator.decide.weights.erasing import EraseState, Erasing

_GIB: Final = 1024**3
_ENGINE_CACHE_GIB: Final = 10
_UNKNOWN_GIB: Final = 200
_ADAPTER_GIB: Final = 10
"""Nobody declares the size of an adapter; one of rank 64 for 70 billion parameters has 2 GiB."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A claim that the deployment uses, and whose entry has to be written.

    Attributes:
        copy: What for.
        live: The claim as it is; None if it has to be made.
        owns: Whether the deployment is to be one of its owners.
        uses: Whether the deployment is to be among its users; neither means that it lets go of it.
    """

    copy: Copy | None
    live: ClaimFacts | None
    owns: bool
    uses: bool = True


@dataclass(frozen=True, slots=True)
class Memory:
    """What a claim has to remember of its copy."""

    claim: ClaimFacts
    copied: CopiedFacts


@dataclass(frozen=True, slots=True)
class ClaimPlan:
    """What to write about claims.

    Attributes:
        hold: Entries to write before anything else.
        remember: What claims have to remember.
        release: Entries to take away once nothing of the deployment reads the claim.
        remove: Claims that only this deployment used, to delete.
        stray_jobs: Jobs of this deployment that copy what it no longer asks for, or have erased what the status tells of.
    """

    hold: tuple[Hold, ...] = ()
    remember: tuple[Memory, ...] = ()
    release: tuple[Hold, ...] = ()
    remove: tuple[ClaimFacts, ...] = ()
    stray_jobs: tuple[CopyJobFacts, ...] = ()


def gibibytes(copy: Copy) -> int:
    """Size of a claim for a copy: a tenth more than is expected, and room for the engine's caches."""
    if copy.role is Role.ADAPTER:
        return _ADAPTER_GIB
    if copy.expected_bytes is None:
        return _UNKNOWN_GIB
    return -(-copy.expected_bytes * 11 // (10 * _GIB)) + _ENGINE_CACHE_GIB


def plan_claims(
    observed: Observed,
    copying: Copying | None,
    ended: Erasing | None,
    settled: Iterable[str] | None,
    *,
    known: bool,
) -> ClaimPlan:
    """Say what to write about claims.

    Args:
        observed: What this pass knows.
        copying: How far the copies of the wanted revision are; None if it needs none, or if that is not known.
        ended: How far the copies are erased whose license has ended; None if none has.
        settled: Revisions that are kept, once it is known which; None while something is in between: then nothing is let go.
        known: Whether it is known what the spec asks for: then no Job copies anything else.
    """
    states = () if copying is None else copying.states
    held = {
        state.copy.claim: state.copy
        for state in states
        if state.copy.owned and state.reason is not Reason.CLAIM_DIFFERS
    }
    facts = observed.weights
    if facts is None:
        return ClaimPlan()
    kept = dict(_in_use(observed, settled)) | held
    hold = tuple(_holds(observed, facts, kept.values(), held))
    claims = ((facts.claim(state.copy.claim), state.remember) for state in states if state.copy.owned)
    remember = tuple(Memory(claim, seen) for claim, seen in claims if claim is not None and seen is not None)
    erased = () if ended is None else ended.states
    gone = tuple(one for one in _let_go(facts, erased, kept, settled) if _is_ours(observed, one))
    alone = tuple(one for one in gone if _only_user(observed, one))
    release = tuple(Hold(None, one, owns=False, uses=False) for one in gone if one not in alone)
    wanted, name = {state.copy.id for state in states}, observed.deployment.metadata.name
    told = {each.copy.id for each in erased if each.is_told and (each.claim is None or each.claim.erased is not None)}
    strays = tuple(
        job
        for job in facts.jobs
        if job.deployment == name
        and not job.leaving
        and (job.finished is not None and job.id in told if job.erases else known and job.id not in wanted)
    )
    return ClaimPlan(hold, remember, release, alone, strays)


def _let_go(
    facts: WeightsFacts, erased: Iterable[EraseState], kept: Mapping[str, Copy], settled: Iterable[str] | None
) -> Iterator[ClaimFacts]:
    """Claims that nothing reads any more: an empty one as soon as the status tells what was erased from it, and never before."""
    states = {state.copy.claim: state for state in erased}
    for claim in facts.claims:
        state = states.get(claim.name)
        if claim.name in kept:
            continue
        if state is not None and state.reason is not Reason.COPY_SHARED:
            if state.is_told and claim.erased is not None and not claim.retained:
                yield claim
        elif settled is not None:
            yield claim


def _in_use(observed: Observed, settled: Iterable[str] | None) -> Iterator[tuple[str, Copy]]:
    """Copies of revisions that run, have the traffic, or are kept."""
    names = {service.name for service in observed.ray_services} | set(settled or ())
    if observed.traffic is not None:
        names.add(observed.traffic.revision)
    for record in observed.revisions:
        if record.name in names:
            yield from ((copy.claim, copy) for copy in record.copies if copy.owned)


def _holds(observed: Observed, facts: WeightsFacts, kept: Iterable[Copy], made: Mapping[str, Copy]) -> Iterator[Hold]:
    uid, name = observed.deployment.metadata.uid, observed.deployment.metadata.name
    for copy in kept:
        live = facts.claim(copy.claim)
        if live is None and (copy.claim not in made or facts.is_leaving(copy.claim)):
            continue
        retain = _retains(observed) or (live is not None and bool(live.retaining - {name}))
        right = (
            live is not None
            and live.users.get(name) == uid
            and (live.owners.get(name) == uid) is not retain
            and (name in live.retaining) is _retains(observed)
        )
        if not right:
            yield Hold(copy, live, owns=not retain)


def _retains(observed: Observed) -> bool:
    return observed.deployment.spec.weights.cache.retention is Retention.RETAIN


def _is_ours(observed: Observed, claim: ClaimFacts) -> bool:
    metadata = observed.deployment.metadata
    entries = (claim.users.get(metadata.name), claim.owners.get(metadata.name))
    return not claim.leaving and metadata.uid in entries


def _only_user(observed: Observed, claim: ClaimFacts) -> bool:
    """Whether nobody else uses it, so that it goes with this deployment's entry."""
    name = observed.deployment.metadata.name
    others = {*claim.users, *claim.owners} - {name}
    return not others and not claim.strangers and not claim.retaining - {name} and not _retains(observed)

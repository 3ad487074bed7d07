"""All objects of a deployment. Called by the reconcile and by `kubectl llama plan`."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed, RayServiceFacts, RevisionFacts, Settings
from llama_operator.decide.rollout.ending import NO_REVISION
from llama_operator.decide.rollout.queued import evicted, queue_of
from llama_operator.decide.rollout.rollout import Rollout
from llama_operator.decide.starts.claim import most_now
from llama_operator.desired import access_check, budget, network, rayservice, revision, route, shared
from llama_operator.desired.shared import Shared


@dataclass(frozen=True, slots=True)
class Deletion:
    """A child to delete, if it is still the one that was looked at."""

    api_version: str
    kind: str
    name: str
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Desired:
    """What to write, in this order: a revision is pinned before it runs, and traffic moves before anything is deleted.

    Attributes:
        steps: Objects to apply; those of one step in any order or at once, after all of the step before.
        bounds: Bounds of running clusters to change in place.
        delete: Children to delete.
        routes: Routes to apply after all of that: nothing waits for them, and nothing is disturbed if one is refused.
        old_routes: Routes to delete once those of `routes` are written.
        beside: Other objects to apply after all of that, which nothing waits for either.
        shared: What is written before anything else into objects that other deployments write as well.
    """

    steps: tuple[tuple[dict[str, Any], ...], ...] = ()
    bounds: tuple[rayservice.Bounds, ...] = ()
    delete: tuple[Deletion, ...] = ()
    routes: tuple[dict[str, Any], ...] = ()
    old_routes: tuple[Deletion, ...] = ()
    beside: tuple[dict[str, Any], ...] = ()
    shared: Shared = field(default_factory=Shared)

    @property
    def apply(self) -> tuple[dict[str, Any], ...]:
        """All objects to apply."""
        return (*(obj for step in self.steps for obj in step), *self.beside, *self.routes)


def build(observed: Observed, decision: Decision, settings: Settings) -> Desired:
    """Build what shall exist. With a problem nothing new starts; what serves is kept as it is pinned.

    Args:
        observed: What this pass knows.
        decision: What it decided.
        settings: Settings of the operator.
    """
    desired = replace(_deployment(observed, decision, settings), shared=shared.build(observed, decision, settings))
    # It leads to the Service, and stays as long as that does.
    served = observed.traffic is not None or any(obj["kind"] == "Service" for obj in desired.apply)
    exposure = decision.exposure
    return replace(
        desired,
        routes=route.build(observed.deployment, exposure) if served else (),
        old_routes=tuple(
            Deletion(old.kind.api_version, old.kind.kind, old.name, old.uid)
            for old in exposure.obsolete
            # A cluster that cannot have the new one keeps the old one.
            if not exposure.lacks
        ),
    )


def _budget(observed: Observed, pinned: RevisionFacts | None) -> tuple[dict[str, Any], ...]:
    """The budgets of the revision that has the traffic; without one there is nothing to keep."""
    return () if pinned is None else budget.build(observed.deployment, pinned, observed.ray_clusters)


def _deployment(observed: Observed, decision: Decision, settings: Settings) -> Desired:
    asking = _access_checks(observed, decision, settings)
    if decision.stopped:
        return _stop(observed, decision, settings, asking)
    rollout = decision.rollout
    if rollout is None:
        return _keep_up(observed, decision, settings, asking)
    records = _records(observed, decision, rollout, settings)
    running = _running(observed, decision, records, rollout.run)
    return Desired(
        steps=(
            # The end of a license is remembered before anything is done about it, and the policy comes before its pods.
            (
                *_to_write(observed, records, {rollout.wanted, *rollout.run, *_here(observed)}),
                *_policies(observed, settings, records, rollout.run),
            ),
            (*_ray_services(observed, running), *_service(observed, decision)),
        ),
        bounds=_bounds(observed, running),
        delete=(
            *(_ray_service(service) for service in dict.fromkeys((*rollout.obsolete, *evicted(observed)))),
            *(Deletion(revision.API_VERSION, revision.KIND, name) for name in revision.over(observed, rollout)),
            *asking.delete,
        ),
        beside=_budget(observed, records.get(rollout.traffic)),
    )


def _stop(observed: Observed, decision: Decision, settings: Settings, asking: Desired) -> Desired:
    """A person wants no hardware held: clients keep the name, and the policy waits for the next pods. Weights may be copied ahead of them."""
    records = {record.name: _without_rollout(record, observed, decision) for record in observed.revisions}
    policy = () if decision.traffic is None else _policies(observed, settings, records, ())
    return Desired(
        steps=(
            (
                *_to_write(observed, records, {decision.traffic or "", *_here(observed)}),
                *policy,
                *(obj for step in asking.steps for obj in step),
                *_service(observed, decision),
            ),
        ),
        delete=(*(_ray_service(service) for service in observed.ray_services), *asking.delete),
        beside=_budget(observed, records.get(decision.traffic or "")),
    )


def _keep_up(observed: Observed, decision: Decision, settings: Settings, asking: Desired) -> Desired:
    """Without a rollout: what serves is kept, drains and ended licenses go their way, and nothing new starts."""
    upkeep = decision.upkeep
    if upkeep is None:
        return asking
    records = {record.name: _without_rollout(record, observed, decision) for record in observed.revisions}
    # Without live settings (a record of an older operator) only those of the spec are known, and it has a problem.
    known = {name: record for name, record in records.items() if record.live is not None}
    running = _running(observed, decision, known, upkeep.run)
    ended = () if decision.ending is None else decision.ending.remove
    if not upkeep.makes:
        return _end(observed, decision, records)
    return Desired(
        steps=(
            (
                *_to_write(observed, records, {upkeep.traffic, *upkeep.run, *_here(observed), *_ended(decision)}),
                *_policies(observed, settings, records, upkeep.run),
                *(obj for step in asking.steps for obj in step),
            ),
            (*_ray_services(observed, running), *_service(observed, decision)),
        ),
        bounds=_bounds(observed, running),
        delete=(
            *(_ray_service(service) for service in dict.fromkeys((*upkeep.obsolete, *ended, *evicted(observed)))),
            *asking.delete,
        ),
        beside=_budget(observed, records.get(upkeep.traffic)),
    )


def _end(observed: Observed, decision: Decision, records: Mapping[str, RevisionFacts]) -> Desired:
    """Of a deployment that is being deleted, only what an ended license asks for: its children go, and none comes back."""
    ending = decision.ending
    if ending is None:
        return Desired()
    changed = [
        record for name, record in records.items() if name not in observed.lost and record != observed.pinned(name)
    ]
    service = () if observed.traffic is None else _service(observed, decision)
    return Desired(
        steps=((*(revision.build(observed, record) for record in changed), *service),),
        delete=tuple(_ray_service(gone) for gone in ending.remove),
    )


def _ray_services(observed: Observed, running: Iterable[RevisionFacts]) -> Iterator[dict[str, Any]]:
    return (rayservice.build(observed.deployment, record, queue_of(observed, record.name)) for record in running)


def _policies(
    observed: Observed, settings: Settings, records: Mapping[str, RevisionFacts], run: Iterable[str]
) -> tuple[dict[str, Any], ...]:
    """The policies around the pods of revisions that run, shall run, or are going."""
    names = {*run, *_here(observed)}
    here = (records[name] for name in sorted(names) if name in records)
    return network.policies(observed.deployment, settings, here)


def _here(observed: Observed) -> Iterator[str]:
    return (service.name for service in observed.ray_services)


def _ended(decision: Decision) -> tuple[str, ...]:
    return () if decision.ending is None else decision.ending.revisions


def _to_write(
    observed: Observed, records: Mapping[str, RevisionFacts], kept: Collection[str]
) -> Iterator[dict[str, Any]]:
    """Records that are new or have changed; those in `kept` also if not, in case somebody else changed them."""
    for name, record in records.items():
        if name in kept or name in observed.lost or record != observed.pinned(name):
            yield revision.build(observed, record)


def _running(
    observed: Observed, decision: Decision, records: Mapping[str, RevisionFacts], names: Iterable[str]
) -> tuple[RevisionFacts, ...]:
    """Records of the revisions whose RayService is written.

    What the chain refuses goes on as it is: it gets no new bounds, and it is not made again.
    """
    here = {service.name for service in observed.ray_services if not service.leaving}
    known = [records[name] for name in names if name in records]
    return tuple(
        record
        for record in known
        if decision.may_start(record.name) or (record.name in here and record.live is not None)
    )


def _bounds(observed: Observed, running: Iterable[RevisionFacts]) -> tuple[rayservice.Bounds, ...]:
    deployment, clusters = observed.deployment, observed.ray_clusters
    return tuple(
        bounds for record in running for bounds in rayservice.bounds(deployment, record, clusters, observed.pods)
    )


def _service(observed: Observed, decision: Decision) -> tuple[dict[str, Any], ...]:
    """The Service; none while no revision was ever given the traffic."""
    rollout, upkeep, ending = decision.rollout, decision.upkeep, decision.ending
    if rollout is not None:
        return (network.service(observed.deployment, rollout.traffic, rollout.traffic_since),)
    if upkeep is None:
        return ()
    if upkeep.traffic == NO_REVISION and observed.traffic is None and ending is None:
        return ()
    since = upkeep.traffic_since
    if upkeep.traffic == NO_REVISION and ending is not None and (since is None or ending.holds_traffic):
        since = ending.since
    return (network.service(observed.deployment, upkeep.traffic, since),)


def _without_rollout(record: RevisionFacts, observed: Observed, decision: Decision) -> RevisionFacts:
    """The record as it is now: its license may have ended or come back, and it may have served for the first time.

    One that was being started when a problem came, and is freed now, leaves why it did not serve.
    """
    record = revision.with_license_end(record, decision)
    if decision.stopped:
        return replace(record, live=None)
    obsolete = () if decision.upkeep is None else decision.upkeep.obsolete
    record = revision.with_desk(record, observed.deployment, decision)
    return revision.with_service(revision.with_last_words(record, observed, obsolete), observed)


def _access_checks(observed: Observed, decision: Decision, settings: Settings) -> Desired:
    """The Job that asks the next question about access, and those whose answer is no longer needed.

    The new one first: the Jobs that exist say how often was asked.
    """
    check = decision.access_check
    if check is None:
        return Desired()
    job = () if check.start is None else (access_check.build(observed.deployment, *check.start, settings),)
    return Desired(
        steps=(job,),
        delete=tuple(
            Deletion(access_check.API_VERSION, access_check.KIND, old.name, old.uid) for old in check.obsolete
        ),
    )


def _records(observed: Observed, decision: Decision, rollout: Rollout, settings: Settings) -> dict[str, RevisionFacts]:
    """All revisions by name, the wanted one included, as they shall be pinned."""
    pinned = {record.name: record for record in observed.revisions}
    if rollout.wanted not in pinned:
        pinned[rollout.wanted] = revision.new(observed, decision, settings)
    deployment = observed.deployment
    records = {
        name: revision.with_license(revision.brought_up_to_date(record, observed, rollout), observed, decision)
        for name, record in pinned.items()
    }
    given, takes_over = decision.given_up, decision.handover
    most = {} if given is None else {given.revision: most_now(given, observed)}
    least: dict[str, int] = {}
    records = {name: replace(record, takes_over=0) if record.takes_over else record for name, record in records.items()}
    if takes_over is not None:
        records[takes_over.revision] = replace(records[takes_over.revision], takes_over=takes_over.least)
        least[takes_over.revision] = takes_over.least
        most[takes_over.revision] = takes_over.most or most.get(takes_over.revision)
    return {
        name: revision.with_live(
            record,
            deployment,
            decision,
            runs=name in rollout.run,
            now=observed.dated,
            most=most.get(name),
            least=least.get(name),
        )
        for name, record in records.items()
    }


def _ray_service(service: RayServiceFacts) -> Deletion:
    return Deletion(rayservice.API_VERSION, rayservice.KIND, service.name, service.uid)

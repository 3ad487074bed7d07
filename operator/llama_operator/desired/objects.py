"""All objects of a deployment. Called by the reconcile and by `kubectl llama plan`."""

from dataclasses import dataclass
from typing import Any

from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed, RayServiceFacts, RevisionFacts, Settings
from llama_operator.decide.rollout.ending import NO_REVISION
from llama_operator.decide.rollout.rollout import Rollout
from llama_operator.desired import access_check, network, rayservice, revision


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
        delete: Children to delete, last.
    """

    steps: tuple[tuple[dict[str, Any], ...], ...] = ()
    bounds: tuple[rayservice.Bounds, ...] = ()
    delete: tuple[Deletion, ...] = ()

    @property
    def apply(self) -> tuple[dict[str, Any], ...]:
        """All objects to apply."""
        return tuple(obj for step in self.steps for obj in step)


def build(observed: Observed, decision: Decision, settings: Settings) -> Desired:
    """Build what shall exist. A decision with a problem changes nothing: what already serves goes on serving.

    Args:
        observed: What this pass knows.
        decision: What it decided.
        settings: Settings of the operator.
    """
    asking = _access_checks(observed, decision, settings)
    if decision.rollout is None or decision.problem is not None:
        return _end(observed, decision, asking)
    deployment, rollout = observed.deployment, decision.rollout
    policy, service = network.network_policy(deployment, settings), network.service(deployment, rollout)
    if decision.stopped:
        return Desired(
            steps=((*_license_ends(observed, decision), policy, service),),
            delete=tuple(_ray_service(service) for service in observed.ray_services),
        )
    records = _records(observed, decision, rollout, settings)
    # What the chain refuses goes on as it is: it gets no new bounds, and it is not made again.
    running = [records[name] for name in rollout.run if name in records and decision.may_start(name)]
    pinned = [record for name, record in records.items() if name == rollout.wanted or record != observed.pinned(name)]
    return Desired(
        steps=(
            # The end of a license is remembered before anything is done about it, and the policy comes before its pods.
            (*(revision.build(observed, record) for record in pinned), policy),
            (*(rayservice.build(deployment, record) for record in running), service),
        ),
        bounds=tuple(
            bounds for record in running for bounds in rayservice.bounds(deployment, record, observed.ray_clusters)
        ),
        delete=(
            *(_ray_service(service) for service in rollout.obsolete),
            *(Deletion(revision.API_VERSION, revision.KIND, name) for name in revision.over(observed, rollout)),
            *asking.delete,
        ),
    )


def _end(observed: Observed, decision: Decision, asking: Desired) -> Desired:
    """With a problem in the spec only an ended license changes what runs.

    Its revisions get no request from now on, and go when they have had their time.
    """
    ending = decision.ending
    if ending is None:
        return asking
    steps = [_license_ends(observed, decision), *asking.steps]
    traffic = observed.traffic
    if traffic is not None and (ending.holds_traffic or traffic.revision == NO_REVISION):
        since = ending.since if ending.holds_traffic else traffic.since or ending.since
        steps.append((network.idle_service(observed.deployment, since),))
    return Desired(
        steps=tuple(steps),
        delete=(*(_ray_service(service) for service in ending.remove), *asking.delete),
    )


def _license_ends(observed: Observed, decision: Decision) -> tuple[dict[str, Any], ...]:
    """Records whose license has ended, or has come back, since they were written."""
    changed = ((record, revision.with_license_end(record, decision)) for record in observed.revisions)
    return tuple(revision.build(observed, new) for old, new in changed if new != old)


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
    return {
        name: revision.with_license(revision.brought_up_to_date(record, observed, rollout), observed, decision)
        for name, record in pinned.items()
    }


def _ray_service(service: RayServiceFacts) -> Deletion:
    return Deletion(rayservice.API_VERSION, rayservice.KIND, service.name, service.uid)

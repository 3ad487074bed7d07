"""All objects of a deployment. Called by the reconcile and by `kubectl llama plan`."""

from dataclasses import dataclass
from typing import Any

from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed, RayServiceFacts, RevisionFacts, Settings
from llama_operator.decide.rollout.ending import Ending
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
    if decision.ending is not None:
        return _end(observed, decision.ending, asking)
    if decision.problem is not None or decision.rollout is None:
        return asking
    deployment, rollout = observed.deployment, decision.rollout
    policy, service = network.network_policy(deployment, settings), network.service(deployment, rollout)
    if decision.stopped:
        return Desired(
            steps=((policy, service),), delete=tuple(_ray_service(service) for service in observed.ray_services)
        )
    records = _records(observed, decision, rollout, settings)
    running = [records[name] for name in rollout.run if name in records]
    pinned = [record for name, record in records.items() if name == rollout.wanted or record != observed.pinned(name)]
    return Desired(
        steps=(
            # The policy before the pods that it guards.
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


def _end(observed: Observed, ending: Ending, asking: Desired) -> Desired:
    """The Service sends requests to no pod, and what runs is deleted at the end of its time."""
    return Desired(
        steps=((network.idle_service(observed.deployment, ending.since),),) if observed.traffic is not None else (),
        delete=(*(_ray_service(service) for service in ending.remove), *asking.delete),
    )


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
    return {name: revision.brought_up_to_date(record, observed, rollout) for name, record in pinned.items()}


def _ray_service(service: RayServiceFacts) -> Deletion:
    return Deletion(rayservice.API_VERSION, rayservice.KIND, service.name, service.uid)

"""What applying a spec would do to what runs, in one sentence. Pure; called by `cli.diff.command`."""

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment, RolloutStrategy
from llama_operator.cli.shared.changes import Change
from llama_operator.decide.access import door_of_revision
from llama_operator.decide.decision import Decision
from llama_operator.decide.exposure import open_to_everyone
from llama_operator.decide.observed import Observed
from llama_operator.decide.rollout.revision import revision_of
from llama_serving.contract.door import Access

_IN_PLACE = "changes the running cluster in place, no engine restarts"
_LATE = "it did not serve in time"
_EXPOSE = "spec.endpoint.expose"
_REPLICAS = ("spec.scaling.", "spec.replicas")


def effect(
    before: LlamaDeployment | None,
    changed: tuple[Change, ...],
    observed: Observed,
    decision: Decision,
    *,
    seen: bool,
) -> str:
    """Say what happens when the deployment of `observed` replaces `before`, and `decision` follows from it.

    Without `seen`, the user may not read what runs: then only what the spec alone tells is said.
    """
    if before is not None and before.metadata.deletion_timestamp is not None:
        return "starts nothing: the deployment is being deleted, which no apply ends; apply it again when it is gone"
    if before is not None and not changed:
        return "changes nothing"
    if decision.problem is not None:
        return f"{_stays(observed)}: {decision.problem.reason}: {decision.problem.text}"
    if decision.stopped:
        return "frees all hardware: no engine runs until the deployment is active again"
    revision = decision.revision.name
    way_in = _way_in(changed, decision)
    if before is None:
        return f"creates the deployment: starts revision {revision}{_size(decision)}{way_in}"
    old = revision_of(before, observed.revisions).name
    if not seen:
        restarts = f"starts revision {revision} in place of {old}{_size(decision)}"
        return f"{_IN_PLACE if old == revision else restarts}{way_in}"
    if old == revision:
        return f"{_in_place(changed, observed, revision)}{way_in}"
    return f"{_replaces(observed, decision)}{way_in}"


def _stays(observed: Observed) -> str:
    if any(service.serves for service in observed.ray_services):
        return "what serves goes on serving, nothing else happens"
    return "what runs stays as it is" if observed.ray_services else "nothing is started"


def _in_place(changed: tuple[Change, ...], observed: Observed, revision: str) -> str:
    if not any(service.name == revision for service in observed.ray_services):
        return f"starts revision {revision}, which does not run now"
    text = _IN_PLACE
    if any(change.field.startswith(_REPLICAS) for change in changed):
        text += "; replicas may be added or removed"
    return text


def _way_in(changed: tuple[Change, ...], decision: Decision) -> str:
    """What becomes of the way in from outside; empty if that stays as it is."""
    if not any(change.field.startswith(_EXPOSE) for change in changed):
        return ""
    exposure = decision.exposure
    if exposure.spec is None:
        return "; requests from outside have no way in any more"
    if exposure.lacks:
        return f"; no way in from outside is made: {exposure.lacks}"
    everyone = open_to_everyone(exposure.spec, decision.door)
    return f"; a way in from outside is made, {everyone}" if everyone else "; a way in from outside is made"


def _replaces(observed: Observed, decision: Decision) -> str:
    revision, rollout = decision.revision.name, decision.rollout
    pinned = observed.pinned(revision)
    failed = f", which was given up before ({pinned.failure or _LATE})," if pinned and pinned.failed_at else ""
    again = f"{failed} with the plan pinned as revision {pinned.number}" if pinned else ""
    others = [service for service in observed.ray_services if service.name != revision]
    if rollout is not None and rollout.given_up is not None:
        return (
            f"goes to revision {revision}, which was given up before ({rollout.given_up.message or _LATE}): "
            "it is not tried again without a new spec.rollout.restartedAt"
        )
    if rollout is None or not others:
        return f"starts revision {revision}{again}{_size(decision)}{_door(observed, decision)}"
    old = next((service.name for service in others if service.serves), others[0].name)
    why = f"({rollout.strategy.reason})"
    if rollout.strategy.kind is RolloutStrategy.RECREATE:
        how = f"stops {old}, then starts revision {revision}{again} by Recreate {why}: nothing answers until it serves"
    else:
        how = f"starts revision {revision}{again} beside {old} by BlueGreen {why}{_size(decision)} until the old one is drained"
    return f"{how}{_door(observed, decision)}"


def _door(observed: Observed, decision: Decision) -> str:
    """What changes for clients: any change of the spec may bring another answer to `access.mode: Auto`, a rollback too."""
    record = observed.pinned(observed.traffic.revision) if observed.traffic is not None else None
    if record is None or decision.door is None:
        return ""
    before, after = door_of_revision(record, observed.deployment.metadata.name), decision.door
    if before.access is after.access:
        return ""
    if after.access is Access.OPEN:
        return "; from then on it answers without a key"
    return f"; from then on every request needs a key ({after.words})"


def _size(decision: Decision) -> str:
    chosen = decision.chosen
    if chosen is None:
        return ""
    unit = "rank(s)" if chosen.accelerator == "CPU" else f"{chosen.accelerator}"
    return f", which takes {chosen.gpus_per_replica} {unit} per replica"

"""What an event is, and the reasons that there are. Used by the other modules of this folder; docs/reference/events.md is generated from it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from llama_operator.api.reasons import Reason
from llama_operator.api.said import shortened

_NOTE_LIMIT = 1024
"""Kubernetes' own limit for the note of an event, in bytes."""


class EventReason(StrEnum):
    """Reasons of events."""

    REVISION_STARTED = "RevisionStarted"
    """The RayService of a revision was created."""
    REVISION_REMOVED = "RevisionRemoved"
    """The RayService of a revision was deleted, which frees its hardware."""
    TRAFFIC_MOVED = "TrafficMoved"
    """The Service points to another revision."""
    ROLLED_BACK = "RolledBack"
    """A revision did not serve in time and was given up; the note has the cause."""
    ACCESS_CHECK_STARTED = "AccessCheckStarted"
    """A Job asks the Hub whether the weights may be downloaded."""
    WEIGHTS_ACCESSIBLE = "WeightsAccessible"
    """The Hub lets the weights be downloaded."""
    WEIGHTS_NOT_ACCESSIBLE = "WeightsNotAccessible"
    """The Hub does not let them be downloaded, or could not be asked; the note says what to do."""
    COPY_STARTED = "CopyStarted"
    """A Job copies the weights into a claim."""
    WEIGHTS_COPIED = "WeightsCopied"
    """The copies of the weights are complete and verified."""
    WEIGHTS_ERASED = "WeightsErased"
    """The license has ended, and a copy of the weights was erased; the note says how many bytes."""
    WEIGHTS_NOT_ERASED = "WeightsNotErased"
    """The license has ended, and a copy of the weights was not erased; the note says why."""
    WEIGHTS_NOT_COPIED = "WeightsNotCopied"
    """A copy failed; the note says what to do."""
    READY = "Ready"
    """The endpoint answers with the model asked for."""
    NOT_READY = "NotReady"
    """The endpoint answered, and does not any more: a Warning, unless a person or the autoscaler wants it so."""
    BLOCKED = "Blocked"
    """It waits for a person to change something; the note says what."""
    LICENSE_ENDED = "LicenseEnded"
    """The acceptance was terminated: no new requests, then no hardware; the note says what else has to be deleted."""
    ORPHAN_ENDED = "OrphanEnded"
    """A RayService outlived its LlamaDeployment without an owner: no new requests, then no hardware."""
    SCALED = "Scaled"
    """Serve changed the number of replicas."""
    REPAIRED = "Repaired"
    """Somebody deleted or changed an object of the deployment; it is set right."""
    EXPOSED = "Exposed"
    """Requests from outside have a way in; the note has the URLs."""
    CONTESTED = "Contested"
    """Somebody keeps changing an object of the deployment; the note says who, as far as it is known."""
    NODES_LEAVING = "NodesLeaving"
    """Nodes that hold pods of the deployment are cordoned, or an autoscaler takes them away; the note says what goes with them."""
    PLAN_MISSED = "PlanMissed"
    """The engines measured a KV cache that differs from the planned one by more than 10 %: a Warning when it is smaller."""

    ACCESS_ADVICE = "AccessAdvice"
    """What serves answers without a key although the purpose is Production, or counts no limits of tenants yet; it fails nothing."""


CAUSES = (
    Reason.NODES_LOST,
    Reason.PODS_UNSCHEDULABLE,
    Reason.PODS_REFUSED,
    Reason.CLUSTER_NOT_MADE,
    Reason.IMAGE_NOT_PULLED,
    Reason.CONTAINER_FAILED,
    Reason.PROBE_FAILED,
    Reason.WRITE_REFUSED,
    Reason.SCALE_UP_GIVEN_UP,
    Reason.SCALE_UP_STUCK,
    Reason.ENGINE_FAILED,
    Reason.BOARD_FAILED,
    Reason.LICENSE_FILES_MISSING,
    Reason.CHECKPOINT_REFUSED,
    Reason.ENGINE_TOO_OLD,
    Reason.ROUTE_KIND_MISSING,
    Reason.ROUTE_NOT_ACCEPTED,
    Reason.ROUTE_NOT_RESOLVED,
)
"""Reasons of conditions that are reasons of events, too: Warnings, each cause told once."""
FROM_CONDITIONS = (*CAUSES, Reason.DEGRADED, Reason.PROGRESS_DEADLINE_EXCEEDED, Reason.OPEN_TO_EVERYONE)
"""All reasons of events that are those of a condition."""


@dataclass(frozen=True, slots=True)
class EventFacts:
    """One event, before it has a time and an object."""

    type: Literal["Normal", "Warning"]
    reason: str
    action: str
    """What the operator did or saw, as one CamelCase word."""
    note: str


def event(kind: Literal["Normal", "Warning"], reason: EventReason | Reason, action: str, note: str) -> EventFacts:
    """Return an event whose note fits into one."""
    return EventFacts(kind, reason, action, shortened(note, _NOTE_LIMIT))

"""From the JSON of what belongs to a deployment to typed facts. Called by `observe.gather`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from llama_operator.api import meta
from llama_operator.api.v1alpha1.llamadeployment import LicenseSpec, RolloutStrategy
from llama_operator.decide.observed import (
    LONG_AGO,
    AccessCheckFacts,
    ConditionFacts,
    LicenseEnd,
    RayClusterFacts,
    RayServiceFacts,
    RevisionFacts,
    ServeDeploymentFacts,
    TrafficFacts,
    UnreadRevision,
    WorkerGroupFacts,
)
from llama_operator.desired import access_check
from llama_operator.kube.port import Object
from llama_operator.observe import pinned_data
from llama_serving.config import APPLICATION_NAME, AccessVerdict, LiveSettings

_KUBERAY_VERSION = "ray.io/kuberay-version"
_DETAIL_LIMIT = 512
"""A registry's own error may be long."""


def ray_service_facts(obj: Object) -> RayServiceFacts:
    """What KubeRay reports about a RayService. Its own Ready means one endpoint, so the application is read too."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    application = _application(status, "activeServiceStatus") or _application(status, "pendingServiceStatus")
    deployments = application.get("serveDeploymentStatuses") or {}
    conditions = _conditions(status)
    ready = next((condition for condition in conditions if condition.type == "Ready"), None)
    return RayServiceFacts(
        name=metadata["name"],
        revision=(metadata.get("labels") or {}).get(meta.LABEL_REVISION, ""),
        endpoints=int(status.get("numServeEndpoints") or 0),
        application_status=application.get("status", ""),
        application_message=application.get("message", ""),
        deployments=tuple(
            ServeDeploymentFacts(name, said.get("status", ""), said.get("message", ""))
            for name, said in sorted(deployments.items())
        ),
        message="" if ready is None or ready.status == "True" else ready.message,
        uid=metadata.get("uid", ""),
        created=_moment(metadata.get("creationTimestamp")),
        leaving="deletionTimestamp" in metadata,
        conditions=conditions,
    )


def _conditions(status: Mapping[str, Any]) -> tuple[ConditionFacts, ...]:
    return tuple(
        ConditionFacts(*(condition.get(name, "") for name in ("type", "status", "reason", "message")))
        for condition in status.get("conditions") or ()
    )


def _application(status: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    """State of our application; KubeRay calls a new cluster pending until its applications have run once."""
    state: Mapping[str, Any] = ((status.get(part) or {}).get("applicationStatuses") or {}).get(APPLICATION_NAME) or {}
    return state


def ray_cluster_facts(obj: Object) -> RayClusterFacts:
    """Bounds of a RayCluster's worker groups."""
    metadata = obj["metadata"]
    groups = (obj.get("spec") or {}).get("workerGroupSpecs") or ()
    return RayClusterFacts(
        name=metadata["name"],
        revision=(metadata.get("labels") or {}).get(meta.LABEL_REVISION, ""),
        groups=tuple(
            WorkerGroupFacts(group["groupName"], int(group.get("minReplicas") or 0), int(group.get("maxReplicas") or 0))
            for group in groups
        ),
        conditions=_conditions(obj.get("status") or {}),
        kuberay=(metadata.get("annotations") or {}).get(_KUBERAY_VERSION, ""),
    )


def revision_facts(obj: Object) -> RevisionFacts | UnreadRevision:
    """What a ControllerRevision of a deployment pins, or why that cannot be read."""
    metadata = obj["metadata"]
    annotations = metadata.get("annotations") or {}
    number = obj.get("revision")
    try:
        plan, data = pinned_data.read(obj.get("data"))
    except pinned_data.UnreadableError as error:
        return UnreadRevision(metadata["name"], number if isinstance(number, int) else 0, str(error))
    return RevisionFacts(
        name=metadata["name"],
        number=number if isinstance(number, int) else 0,
        plan=plan,
        inputs=data["inputs"],
        serve_config=data["serveConfig"],
        cluster=data["cluster"],
        served_at=annotations.get(meta.ANNOTATION_SERVED_AT, ""),
        failed_at=annotations.get(meta.ANNOTATION_FAILED_AT, ""),
        failure=annotations.get(meta.ANNOTATION_FAILURE, ""),
        strategy=_strategy(annotations.get(meta.ANNOTATION_STRATEGY, "")),
        strategy_reason=annotations.get(meta.ANNOTATION_STRATEGY_REASON, ""),
        weights_checked_at=annotations.get(meta.ANNOTATION_WEIGHTS_CHECKED_AT, ""),
        created=_created(metadata),
        license=_declared(annotations.get(meta.ANNOTATION_LICENSE, "")),
        license_end=_license_end(annotations.get(meta.ANNOTATION_LICENSE_END, "")),
        families=tuple(annotations.get(meta.ANNOTATION_LICENSE_FAMILIES, "").split()),
        live=_live(annotations.get(meta.ANNOTATION_LIVE, "")),
        data=data,
    )


def revisions(items: Iterable[Object]) -> tuple[tuple[RevisionFacts, ...], tuple[UnreadRevision, ...]]:
    """What the ControllerRevisions of a deployment pin, and those that cannot be read."""
    found = [revision_facts(item) for item in items]
    read = tuple(facts for facts in found if isinstance(facts, RevisionFacts))
    return read, tuple(facts for facts in found if isinstance(facts, UnreadRevision))


def _strategy(text: str) -> RolloutStrategy | None:
    """What strategy `Auto` came to; None for one that only a newer version knows."""
    return RolloutStrategy(text) if text in set(RolloutStrategy) else None


def _declared(text: str) -> LicenseSpec | None:
    """Declarations about the license, as far as this version knows them; None where there are none, or none to be read."""
    try:
        return LicenseSpec.model_validate_json(text, extra="ignore") if text else None
    except ValidationError:
        return None


def _live(text: str) -> LiveSettings | None:
    """Live settings; None where there are none, or none that can be read."""
    try:
        return LiveSettings.model_validate_json(text) if text else None
    except ValidationError:
        return None


def _license_end(text: str) -> LicenseEnd | None:
    """The end of a license. One that cannot be read is still an end: it never frees a revision."""
    if not text:
        return None
    try:
        end = json.loads(text)
        at = end["at"]
        return LicenseEnd(
            str(end["acceptance"]),
            str(end["entity"]),
            tuple(str(family) for family in end["families"]),
            str(end["on"]),
            None if at is None else _moment(str(at)) or LONG_AGO,
            str(end.get("grant", "")),
            drain_seconds if isinstance(drain_seconds := end.get("drainSeconds"), int) else None,
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return LicenseEnd("", "", (), "", LONG_AGO)


def traffic_facts(service: Object, deployment: str) -> TrafficFacts | None:
    """Where the Service of `deployment` points; None where there is none, or one that belongs to something else."""
    if not service or (service["metadata"].get("labels") or {}).get(meta.LABEL_DEPLOYMENT) != deployment:
        return None
    selector = (service.get("spec") or {}).get("selector") or {}
    since = (service["metadata"].get("annotations") or {}).get(meta.ANNOTATION_TRAFFIC_SINCE)
    return TrafficFacts(selector.get(meta.LABEL_REVISION, ""), _moment(since))


def access_check_facts(job: Object, pods: Sequence[Object]) -> AccessCheckFacts:
    """What came of a Job that asks for access to weights.

    Args:
        job: The Job.
        pods: Its pods, as far as they still exist; their container's last word is the verdict.
    """
    metadata = job["metadata"]
    annotations = metadata.get("annotations") or {}
    conditions: list[Object] = (job.get("status") or {}).get("conditions") or []
    ended = next(
        (each for each in conditions if each["type"] in {"Complete", "Failed"} and each.get("status") == "True"), None
    )
    states = [_probe_state(pod) for pod in pods]
    words = [_verdict(state.get("terminated") or {}) for state in states]
    detail = next((text for state, pod in zip(states, pods, strict=True) if (text := _state_text(state, pod))), "")
    if ended is not None and ended["type"] == "Failed" and not detail:
        detail = ended.get("message") or ended.get("reason") or ""
    attempt = annotations.get(meta.ANNOTATION_ATTEMPT, "")
    return AccessCheckFacts(
        name=metadata["name"],
        subject=annotations.get(meta.ANNOTATION_SUBJECT, ""),
        attempt=int(attempt) if attempt.isdecimal() else 1,
        finished=None if ended is None else _moment(ended.get("lastTransitionTime")) or _created(metadata),
        succeeded=ended is not None and ended["type"] == "Complete",
        verdict=next((word for word in words if word is not None), None),
        detail=detail[:_DETAIL_LIMIT],
        uid=metadata.get("uid", ""),
        leaving="deletionTimestamp" in metadata,
    )


def _probe_state(pod: Object) -> Object:
    """State of the container that asks; a sidecar may stand before it in the list."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    state: Object = next((one.get("state") or {} for one in statuses if one.get("name") == access_check.CONTAINER), {})
    return state


def _state_text(state: Object, pod: Object) -> str:
    """Why a container or its pod waits, or how it ended; what it said itself is no part of it."""
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    if not state:
        conditions = (pod.get("status") or {}).get("conditions") or ()
        return next((each.get("message") or "" for each in conditions if each.get("reason") == "Unschedulable"), "")
    if waiting.get("reason") == "ContainerCreating":
        return ""
    if waiting:
        return " ".join(part for part in (waiting.get("reason"), waiting.get("message")) if part)
    return f"{ended.get('reason', 'Error')}, exit code {ended['exitCode']}" if ended.get("exitCode") else ""


def _verdict(terminated: Object) -> AccessVerdict | None:
    """What the probe wrote; None for anything else, an image without the probe say."""
    try:
        return AccessVerdict.model_validate_json(terminated.get("message") or "")
    except ValidationError:
        return None


def _created(metadata: Mapping[str, Any]) -> datetime | None:
    return _moment(metadata.get("creationTimestamp"))


def _moment(written: str | None) -> datetime | None:
    """Parse an RFC 3339 time; None if there is none, or none that can be read."""
    try:
        return datetime.fromisoformat(written) if written else None
    except ValueError:
        return None

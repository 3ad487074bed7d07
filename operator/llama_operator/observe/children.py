"""From the JSON of what belongs to a deployment to typed facts. Called by `observe.gather`."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from llama_operator.api import meta, readings
from llama_operator.api.readings import mapping, mappings, moment, text
from llama_operator.api.said import said
from llama_operator.api.v1alpha1.llamadeployment import LicenseSpec, RolloutStrategy
from llama_operator.decide.conditions import ConditionFacts
from llama_operator.decide.copies.source import Copy
from llama_operator.decide.copies.source import of_json as copy_of_json
from llama_operator.decide.observed import (
    LONG_AGO,
    LicenseEnd,
    RayClusterFacts,
    RayServiceFacts,
    RevisionFacts,
    ServeDeploymentFacts,
    TrafficFacts,
    UnreadRevision,
    WorkerGroupFacts,
)
from llama_operator.decide.placement.queue import LABEL_PRIORITY, LABEL_QUEUE, Queue
from llama_operator.kube.port import Object
from llama_operator.observe import pinned_data
from llama_operator.observe.unreadable import UnreadableError
from llama_serving.config import APPLICATION_NAME, BOARD_APPLICATION_NAME, LiveSettings

_KUBERAY_VERSION = "ray.io/kuberay-version"
_SUPPOSED = re.compile(
    r"This may be due to a problem with its constructor[^.\n]*\. (?:The update is stopped[^.\n]*\. )?"
    r"See controller logs for details\. ?"
)
_LONG_LIST = re.compile(r"(\[(?:'[^'\n]*', ){3})(?:'[^'\n]*', ){7,}('[^'\n]*'\])")
"""vLLM names all of its three hundred architectures when it misses one."""
_STRATEGIES = frozenset(RolloutStrategy) - {RolloutStrategy.AUTO}
_MOST = 1 << 30
"""More than any size of a plan."""


def ray_service_facts(obj: Object) -> RayServiceFacts:
    """What KubeRay reports about a RayService. Its own Ready means one endpoint, so the application is read too."""
    metadata, status = obj["metadata"], mapping(obj.get("status"))
    application = _application(status, "activeServiceStatus") or _application(status, "pendingServiceStatus")
    board = _application(status, "activeServiceStatus", BOARD_APPLICATION_NAME) or _application(
        status, "pendingServiceStatus", BOARD_APPLICATION_NAME
    )
    deployments = mapping(application.get("serveDeploymentStatuses"))
    said_of_itself = conditions(mappings(status.get("conditions")))
    ready = next((condition for condition in said_of_itself if condition.type == "Ready"), None)
    return RayServiceFacts(
        name=metadata["name"],
        revision=readings.labels(obj).get(meta.LABEL_REVISION, ""),
        endpoints=readings.whole(status.get("numServeEndpoints")) or 0,
        application_status=text(application.get("status")),
        application_message=_of_serve(application.get("message")),
        deployments=tuple(
            ServeDeploymentFacts(name, text(mapping(one).get("status")), _of_serve(mapping(one).get("message")))
            for name, one in sorted(deployments.items())
        ),
        board_status=text(board.get("status")),
        board_message=_of_application(board),
        message="" if ready is None or ready.status == "True" else ready.message,
        uid=metadata.get("uid", ""),
        created=moment(metadata.get("creationTimestamp")),
        leaving="deletionTimestamp" in metadata,
        conditions=said_of_itself,
        queue=_queue(readings.labels(obj)),
        suspended=mapping(mapping(obj.get("spec")).get("rayClusterConfig")).get("suspend") is True,
    )


def _queue(labels: Mapping[str, str]) -> Queue | None:
    name = labels.get(LABEL_QUEUE, "")
    return Queue(name, labels.get(LABEL_PRIORITY, "")) if name else None


def _of_serve(message: object) -> str:
    """What Serve says, without what it supposes of every failure (that was no health check, mostly), and without long lists."""
    return _LONG_LIST.sub(r"\1… \2", _SUPPOSED.sub("", said(message)))


def _of_application(application: Mapping[str, Any]) -> str:
    """What Serve says of an application, or else of its deployments."""
    parts = mapping(application.get("serveDeploymentStatuses")).values()
    told = (application.get("message"), *(mapping(part).get("message") for part in parts))
    return next((words for words in map(_of_serve, told) if words), "")


def conditions(entries: Iterable[Mapping[str, Any]]) -> tuple[ConditionFacts, ...]:
    """Conditions of an object of another controller."""
    return tuple(
        ConditionFacts(
            type=text(condition.get("type")),
            status=text(condition.get("status")),
            reason=text(condition.get("reason")),
            message=said(condition.get("message")),
        )
        for condition in entries
    )


def _application(status: Mapping[str, Any], part: str, name: str = APPLICATION_NAME) -> Mapping[str, Any]:
    """State of an application of ours; KubeRay calls a new cluster pending until its applications have run once."""
    return mapping(mapping(mapping(status.get(part)).get("applicationStatuses")).get(name))


def ray_cluster_facts(obj: Object) -> RayClusterFacts:
    """Bounds of a RayCluster's worker groups."""
    metadata = obj["metadata"]
    groups = mapping(obj.get("spec")).get("workerGroupSpecs")
    return RayClusterFacts(
        name=metadata["name"],
        revision=readings.labels(obj).get(meta.LABEL_REVISION, ""),
        # A group that cannot be read keeps its place: others are patched by their position.
        groups=tuple(_group(mapping(group)) for group in (groups if isinstance(groups, list) else ())),
        conditions=conditions(mappings(mapping(obj.get("status")).get("conditions"))),
        kuberay=readings.annotations(obj).get(_KUBERAY_VERSION, ""),
        created=moment(metadata.get("creationTimestamp")),
        leaving="deletionTimestamp" in metadata,
    )


def _group(group: Mapping[str, Any]) -> WorkerGroupFacts:
    least, most, wanted = (readings.whole(group.get(name)) or 0 for name in ("minReplicas", "maxReplicas", "replicas"))
    hosts = readings.whole(group.get("numOfHosts")) or 1
    return WorkerGroupFacts(text(group.get("groupName")), least, most, wanted, hosts)


def revision_facts(obj: Object) -> RevisionFacts | UnreadRevision:
    """What a ControllerRevision of a deployment pins, or why that cannot be read."""
    name, annotations = obj["metadata"]["name"], readings.annotations(obj)
    number = readings.whole(obj.get("revision"), most=readings.EXACT - 1)
    try:
        plan, data = pinned_data.read(obj.get("data"))
    except pinned_data.UnreadableError as error:
        return UnreadRevision(name, number or 0, str(error))
    strategy = annotations.get(meta.ANNOTATION_STRATEGY, "")
    return RevisionFacts(
        name=name,
        number=number or 0,
        plan=plan,
        inputs=data["inputs"],
        serve_config=data["serveConfig"],
        cluster=data["cluster"],
        served_at=annotations.get(meta.ANNOTATION_SERVED_AT, ""),
        admitted_at=annotations.get(meta.ANNOTATION_ADMITTED_AT, ""),
        takes_over=readings.units(annotations.get(meta.ANNOTATION_TAKES_OVER, "")) or 0,
        failed_at=annotations.get(meta.ANNOTATION_FAILED_AT, ""),
        failure=annotations.get(meta.ANNOTATION_FAILURE, ""),
        # What only a newer version knows is none.
        strategy=RolloutStrategy(strategy) if strategy in _STRATEGIES else None,
        strategy_reason=annotations.get(meta.ANNOTATION_STRATEGY_REASON, ""),
        weights_checked_at=annotations.get(meta.ANNOTATION_WEIGHTS_CHECKED_AT, ""),
        copies=_copies(data),
        created=moment(obj["metadata"].get("creationTimestamp")),
        license=_declared(annotations.get(meta.ANNOTATION_LICENSE, "")),
        license_end=_license_end(annotations.get(meta.ANNOTATION_LICENSE_END, "")),
        families=tuple(annotations.get(meta.ANNOTATION_LICENSE_FAMILIES, "").split()),
        live=_live(annotations.get(meta.ANNOTATION_LIVE, "")),
        copy_of=annotations.get(meta.ANNOTATION_COPY_OF, ""),
        data=data,
    )


def readable_revision(obj: Object) -> RevisionFacts:
    """What a ControllerRevision pins.

    Raises:
        UnreadableError: If that cannot be read.
    """
    facts = revision_facts(obj)
    if isinstance(facts, UnreadRevision):
        raise UnreadableError(facts.why)
    return facts


def revisions(items: Iterable[Object]) -> tuple[tuple[RevisionFacts, ...], tuple[UnreadRevision, ...]]:
    """What the ControllerRevisions of a deployment pin, and those that cannot be read."""
    found = [revision_facts(item) for item in items]
    read = tuple(facts for facts in found if isinstance(facts, RevisionFacts))
    return read, tuple(facts for facts in found if isinstance(facts, UnreadRevision))


def _copies(data: Mapping[str, Any]) -> tuple[Copy, ...]:
    """Copies of weights that a revision reads."""
    written = (copy_of_json(values) for values in mappings(data.get("copies")))
    return tuple(copy for copy in written if copy is not None)


def _declared(written: str) -> LicenseSpec | None:
    """Declarations about the license, as far as this version knows them; None where there are none, or none to be read."""
    try:
        return LicenseSpec.model_validate_json(written, extra="ignore") if written else None
    except ValidationError:
        return None


def _live(written: str) -> LiveSettings | None:
    """Live settings; None where there are none, or none that can be read."""
    try:
        return LiveSettings.model_validate_json(written) if written else None
    except ValidationError:
        return None


def _license_end(written: str) -> LicenseEnd | None:
    """The end of a license. One that cannot be read is still an end: it never frees a revision."""
    if not written:
        return None
    try:
        end = json.loads(written)
        at = end["at"]
        return LicenseEnd(
            str(end["acceptance"]),
            str(end["entity"]),
            tuple(str(family) for family in end["families"]),
            str(end["on"]),
            None if at is None else moment(at) or LONG_AGO,
            str(end.get("grant", "")),
            readings.whole(end.get("drainSeconds"), most=_MOST),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return LicenseEnd("", "", (), "", LONG_AGO)


def traffic_facts(service: Object, deployment: str) -> TrafficFacts | None:
    """Where the Service of `deployment` points; None where there is none, or one that belongs to something else.

    Args:
        service: The Service; empty where there is none.
        deployment: Name of the deployment.
    """
    if not service or readings.labels(service).get(meta.LABEL_DEPLOYMENT) != deployment:
        return None
    selector = mapping(mapping(service.get("spec")).get("selector"))
    since = moment(readings.annotations(service).get(meta.ANNOTATION_TRAFFIC_SINCE))
    return TrafficFacts(text(selector.get(meta.LABEL_REVISION)), since)

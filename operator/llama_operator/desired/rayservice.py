"""The RayService of a revision. Called by `desired.revision` and `desired.objects`.

It has two steps. When a revision is made, its template is rendered, pinned, and never rendered again. In every pass the
live numbers are put into the template. KubeRay realizes the result and restores it while our operator is down, but never
upgrades it (`upgradeStrategy.type: None`): that is our part. See docs/designs/0001-shape.md and 0008-revisions.md.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.decide.access import KeysObject, door_of_revision
from llama_operator.decide.bounds import live_settings
from llama_operator.decide.copies.source import Copy, is_read
from llama_operator.decide.guard.planned import GuardPlan
from llama_operator.decide.observed import RayClusterFacts, RevisionFacts, Settings, WorkerGroupFacts
from llama_operator.decide.placement.images import image_for
from llama_operator.decide.placement.queue import Queue
from llama_operator.decide.placement.resolve import resolve
from llama_operator.decide.placement.shape import PodShapes
from llama_operator.decide.plan.adapters import room_of
from llama_operator.decide.plan.candidate import Candidate
from llama_operator.decide.pods import PodFacts
from llama_operator.decide.serve_application import arguments
from llama_operator.decide.starts.measured import measured_seconds
from llama_operator.desired import naming, serve_config
from llama_operator.desired.guard import bounds_of, group_name, with_resource
from llama_operator.desired.pods import (
    adapters,
    caches,
    chat_template,
    drain,
    engine_cache,
    head,
    head_store,
    keys,
    pod_settings,
    store,
    tracing,
    weights,
    worker,
)
from llama_operator.desired.pods.parts import PodParts
from llama_serving.config import LiveSettings, RequestPath, ServingConfig, pod_environment
from llama_serving.contract.guard import GUARD_GROUP, GUARD_RESOURCE, MODEL_RESOURCE
from llama_serving.contract.tenants import HouseLimits

API_VERSION = "ray.io/v1"
KIND = "RayService"

_IDLE_TIMEOUT_SECONDS = 60
"""How long a worker without replicas keeps its node."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds that a worker group of an existing RayCluster shall get, counted as KubeRay counts it.

    KubeRay takes them from the RayCluster only, and all groups are one atomic list there, so they are patched.
    """

    cluster: str
    index: int
    """Position of the group in `spec.workerGroupSpecs`."""
    group: str
    least: int
    most: int


def cluster_template(
    deployment: LlamaDeployment,
    chosen: Candidate,
    shapes: PodShapes,
    config: ServingConfig,
    *,
    keys_object: KeysObject | None,
    settings: Settings,
    guard: GuardPlan | None = None,
    copies: tuple[Copy, ...] = (),
) -> dict[str, Any]:
    """Build the `rayClusterConfig` that runs `config`, without the bounds of its worker group.

    Args:
        deployment: The deployment.
        chosen: The plan of one replica.
        shapes: Its pods.
        config: What the pods serve.
        keys_object: What holds the API keys; None where no key is asked for.
        settings: Settings of the operator.
        guard: The plan of its guard; None without one.
        copies: Copies of weights that its pods read.
    """
    card = chosen.accelerator
    image = image_for(card, asked=deployment.spec.image, usual=settings.image, others=settings.card_images)
    # Sorted: the order says nothing, and a stable one shows changes only.
    environment = dict(sorted(pod_environment(config).items()))
    revision = config.identity.revision
    common = PodParts(labels=naming.labels(deployment, revision), environment=environment) + caches.in_pod()
    common += keys.folder(keys_object)
    # The head too: the process that answers requests there reads the tokenizer.
    common += weights.copies(copies)
    named = deployment.spec.usage_store
    common += store.folder(config.store, None if named is None else named.secret)
    from_hub = "HuggingFace" in {config.source.kind, None if config.guard is None else config.guard.source.kind}
    if from_hub or (config.adapters is not None and config.adapters.fetches):
        common += weights.hub(settings.hub_endpoint) + weights.token_file(deployment.spec.weights.token_secret)
    wanted = resolve(deployment.spec, settings.pods, card.image)
    of_head = drain.of_head() + head_store.certificates(deployment.spec.head_store)
    head_parts = pod_settings.over(common + of_head, wanted.head, pod_settings.peers(revision, "head"))
    shared = guard is not None and guard.shapes is None
    parts = common + _of_guard(deployment, guard, settings, copies) if guard is not None and shared else common
    group = _group(deployment, chosen, shapes, config, parts, image, config.path, settings, copies)
    groups = [group]
    if guard is not None:
        group["rayStartParams"] = with_resource(group["rayStartParams"], MODEL_RESOURCE)
    if guard is not None and shared:
        params = with_resource(group["rayStartParams"], GUARD_RESOURCE)
        group["rayStartParams"] = worker.with_more_ranks(params, guard.best)
    if guard is not None and guard.shapes is not None and config.guard is not None:
        own = image_for(
            guard.best.accelerator, asked=deployment.spec.image, usual=settings.image, others=settings.card_images
        )
        of_guard = _group(
            deployment, guard.best, guard.shapes, config.guard, common, own, config.path, settings, copies
        )
        of_guard["groupName"] = group_name(guard.best.accelerator.name)
        of_guard["rayStartParams"] = with_resource(of_guard["rayStartParams"], GUARD_RESOURCE)
        groups.append(of_guard)
    return {
        "rayVersion": settings.ray_version,
        "enableInTreeAutoscaling": True,
        # Written out: with the version left to Ray, KubeRay makes pods whose idle termination does not work.
        "autoscalerOptions": {"version": "v2", "idleTimeoutSeconds": _IDLE_TIMEOUT_SECONDS}
        | head.autoscaler(_IDLE_TIMEOUT_SECONDS),
        # Written out: an empty authOptions makes a Secret and leaves the dashboard open.
        "authOptions": {"mode": "token"},
        **head_store.fault_tolerance(deployment.spec.head_store),
        "headGroupSpec": {
            # Without GPUs: on a GPU node Ray would find those that other pods hold, and put replicas on them.
            "rayStartParams": {"num-cpus": "0", "num-gpus": "0", "dashboard-host": "0.0.0.0"},  # noqa: S104 - KubeRay reaches it by the pod's address; token and NetworkPolicy guard it
            "template": head.template(shapes.head, image, tracing.traced(head_parts, deployment, revision)),
        },
        "workerGroupSpecs": groups,
    }


def _of_guard(deployment: LlamaDeployment, guard: GuardPlan, settings: Settings, copies: tuple[Copy, ...]) -> PodParts:
    """What a guard in the pods of the model needs to get at its weights."""
    variant = guard.best.variant
    claim = None if settings.weights_path or is_read(variant, copies) else variant.volume_claim
    at_store = variant.uri is not None and claim is None
    return weights.claim(claim) + (
        weights.store_of(variant, deployment.spec.weights.store_secret) if at_store else PodParts()
    )


def _group(
    deployment: LlamaDeployment,
    chosen: Candidate,
    shapes: PodShapes,
    config: ServingConfig,
    common: PodParts,
    image: str,
    path: RequestPath,
    settings: Settings,
    copies: tuple[Copy, ...],
) -> dict[str, Any]:
    """The workers of one engine; HAProxy runs on those of a guard too."""
    # The head shall not wait for what only engines read, and a guard has its own template.
    template = deployment.spec.model.chat_template if config.engine.chat_template is not None else None
    volume = chat_template.file(template)
    whole = None if settings.weights_path or is_read(chosen.variant, copies) else chosen.variant.volume_claim
    volume += weights.claim(whole)
    if config.source.kind == "ObjectStore":
        # Only workers read it; the head needs no credentials.
        volume += weights.store_of(chosen.variant, deployment.spec.weights.store_secret)
    if config.adapters is not None:
        volume += adapters.volume(deployment.spec.adapter_slots)
    wanted = resolve(deployment.spec, settings.pods, chosen.accelerator.image)
    drain_seconds = deployment.spec.rollout.drain_seconds
    parts = pod_settings.over(
        engine_cache.kept(common, deployment, chosen, config, image, copies)
        + volume
        + drain.of_worker(drain_seconds, path),
        wanted.workers,
        pod_settings.peers(config.identity.revision, "worker"),
        spans_nodes=chosen.nodes > 1,
    )
    return {
        "groupName": chosen.accelerator.name.lower(),
        # Pods of one replica come and go together: half a replica over nodes answers nothing, and holds its cards.
        **({"numOfHosts": chosen.nodes} if chosen.nodes > 1 else {}),
        # Written out: KubeRay adds it when it writes the object, and that would be a change of somebody, to be undone.
        "scaleStrategy": {},
        "rayStartParams": worker.start_params(chosen),
        "template": worker.template(shapes.worker, image, tracing.traced(parts, deployment, config.identity.revision)),
    }


def build(deployment: LlamaDeployment, pinned: RevisionFacts, queue: Queue | None = None) -> dict[str, Any]:
    """Build the RayService of a revision, with the bounds and limits of its record.

    Args:
        deployment: The owner; its spec has the live settings if the record has none.
        pinned: The revision.
        queue: The queue of Kueue in which it waits for quota; None if it waits in none.
    """
    metadata = naming.metadata(deployment, pinned.name, pinned.name)
    if queue is not None:
        metadata |= {"labels": metadata["labels"] | queue.labels, "annotations": queue.annotations}
    live = pinned.live or live_of(deployment, pinned)
    cluster = dict(pinned.cluster)
    cluster["workerGroupSpecs"] = [
        {
            "groupName": group["groupName"],
            "replicas": least,
            "minReplicas": least,
            "maxReplicas": most,
            **{key: value for key, value in group.items() if key != "groupName"},
        }
        for group in pinned.cluster["workerGroupSpecs"]
        for least, most in (bounds_of(group, pinned, live),)
    ]
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": metadata,
        "spec": {
            "upgradeStrategy": {"type": "None"},
            **({"excludeHeadPodFromServeSvc": True} if _goes_on_without_its_head(pinned, live) else {}),
            "serveConfigV2": serve_config.to_yaml(serve_config.with_live(pinned.serve_config, live)),
            "rayClusterConfig": cluster,
        },
    }


def _goes_on_without_its_head(pinned: RevisionFacts, live: LiveSettings) -> bool:
    """Whether no request shall come in through the head, which ends it if the head does.

    At zero replicas the head is the only one that could take the request that starts one.
    """
    return head_store.outlives_the_head(pinned.cluster) and live.min_replicas > 0


def bounds(
    deployment: LlamaDeployment,
    pinned: RevisionFacts,
    clusters: tuple[RayClusterFacts, ...],
    pods: Iterable[PodFacts] | None = (),
) -> Iterator[Bounds]:
    """Yield the bounds that the RayClusters of a revision do not have yet.

    An upper bound never falls below the pods that have a node: Ray's autoscaler would stop some of them at once, busy or not, and not those
    whose replicas Serve lets finish. They go when they are idle, and the bound follows.

    Args:
        deployment: Its spec has the bounds, in replicas, if the record has none.
        pinned: The revision.
        clusters: RayClusters of all revisions.
        pods: Those of the deployment; None if they are not known: then no upper bound falls.
    """
    live = pinned.live or live_of(deployment, pinned)
    ours = {group["groupName"]: group for group in pinned.cluster["workerGroupSpecs"]}
    for cluster in clusters:
        if cluster.revision != pinned.name:
            continue
        for index, group in enumerate(cluster.groups):
            if group.name not in ours:
                continue
            least, most = bounds_of(ours[group.name], pinned, live)
            most = max(most, min(group.most, _placed(pinned.name, group, pods)))
            if (group.least, group.most) != (least, most):
                yield Bounds(cluster.name, index, group.name, least, most)


def _placed(revision: str, group: WorkerGroupFacts, pods: Iterable[PodFacts] | None) -> int:
    """How many of a worker group have a node, counted as KubeRay counts it; all that it may have, where pods are not known."""
    if pods is None:
        return group.most
    role = "guard" if group.name.startswith(GUARD_GROUP) else "worker"
    there = sum(pod.revision == revision and pod.role == role and bool(pod.node) and not pod.leaving for pod in pods)
    return -(-there // max(1, group.hosts))


def live_of(
    deployment: LlamaDeployment,
    pinned: RevisionFacts,
    house: HouseLimits | None = None,
    now: datetime | None = None,
    most: int | None = None,
    least: int | None = None,
) -> LiveSettings:
    """Live settings of the spec at `now`, for an engine with the batch size that the revision pins, within house policy.

    With `most` no more replicas than these, which have a place; with `least` no fewer, because it takes over from another.
    """
    chosen = pinned.plan.chosen
    path = door_of_revision(pinned, deployment.metadata.name).path
    return live_settings(
        deployment.spec,
        chosen.max_num_seqs if chosen else 1,
        path,
        house,
        guarded=pinned.plan.guard is not None,
        adapters=room_of(pinned.serve_config),
        counts_work="cost" in arguments(pinned.serve_config),
        cold_start=measured_seconds(
            None if deployment.status is None else deployment.status.cold_start, chosen, _told(pinned)
        ),
        now=now,
        most=most,
        least=least,
    )


def _told(pinned: RevisionFacts) -> float | None:
    """What its autoscaler was told of starts last; None if nothing."""
    desk = None if pinned.live is None else pinned.live.desk
    return None if desk is None or desk.scaling is None else desk.scaling.cold_start

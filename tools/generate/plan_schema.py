"""The schema of `kubectl llama plan -o json`: a stable interface. Called by `generate`.

The models below are the interface: docs/reference/plan-output.schema.json is generated from them, and docs/plan-output.md
explains them. Fields are added, never renamed or removed; every field is always there, null where nothing is known.
`cli.plan.document` writes the document without them: to build their validators takes longer than to plan.
"""

from collections.abc import Iterator
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from llama_operator.api.crd import field_docs
from llama_operator.api.meta import ApiModel, api_name
from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan


class _Part(ApiModel):
    """Part of the document; written by us alone, and free to grow."""

    model_config = ConfigDict(extra="ignore", strict=False, json_schema_serialization_defaults_required=True)


class DeploymentPart(_Part):
    """Whose plan it is."""

    name: str
    namespace: str


class DenialPart(_Part):
    """One check of the license chain that refuses."""

    rule: str
    """Number of the rule in docs/licenses.md."""
    reason: str
    message: str
    unblock: str
    """What would change it."""
    clause: str
    """Clause of the license that the rule rests on."""
    origin: str
    """`License`, `Record` (evidence that the operator wants) or `HousePolicy`."""


class LicensePart(_Part):
    """Verdict of the license chain."""

    allowed: bool | None
    """Null when nothing refuses it, but the acceptance was not looked up: `reason` and `message` say so."""
    tier: str
    """Duties that the license brings."""
    families: tuple[str, ...]
    reason: str
    message: str
    denials: tuple[DenialPart, ...]


class CandidatePart(_Part):
    """One way to shard one replica. Memory is that of the fullest GPU."""

    candidate: str
    """Short name: precision, accelerator, tensor and pipeline size."""
    precision: str
    repository: str
    """Repository of the weights; empty for generated ones."""
    accelerator: str
    tensor_parallel_size: int
    pipeline_parallel_size: int
    gpus_per_replica: int
    nodes_per_replica: int
    memory_bytes_per_gpu: int
    """What the engine may use of each GPU."""
    weight_bytes_per_gpu: int
    reserve_bytes_per_gpu: int
    """Activations, graphs and communication buffers, estimated."""
    kv_cache_bytes_per_gpu: int
    """What is left for the KV cache; 0 when the weights and the reserve leave nothing."""
    kv_cache_tokens: int
    """Tokens that the KV cache of one replica holds."""
    replicas_for_objectives: int | None = None
    """Replicas that the rate of spec.objectives needs; null without a rate."""
    usd_micros_per_hour: int | None = None
    """Price of the GPUs of one replica, in millionths of a dollar per hour; null without a price."""
    time_to_first_token_ms: int | None = None
    """Estimated at the rate of spec.objectives; null when nothing was estimated."""
    time_per_output_token_us: int | None = None
    """Estimated, in microseconds; null when nothing was estimated."""
    requests_per_minute: int | None = None
    """What one replica sustains, estimated; null when nothing was estimated."""


class ChosenPart(ChosenPlan):
    """The candidate that is used: what status.plan.chosen says, and its short name."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    candidate: str
    """Short name: precision, accelerator, tensor and pipeline size."""


class AlternativePart(CandidatePart):
    """Another candidate that fits."""

    message: str
    """Why it was not chosen."""


class RejectedPart(CandidatePart):
    """A candidate that does not fit."""

    reason: str
    """Failed check, one CamelCase word of docs/reference/conditions.md."""
    message: str
    """Its numbers."""
    nearest: str
    """The nearest change that would make it fit; empty when there is none."""


class ChangePart(_Part):
    """One field of the spec with a value that makes the rest fit."""

    field: str
    """API path of the field."""
    value: str | int
    """What to set it to."""
    gives: str
    """What is planned then, where the field does not say it; else empty."""


class PlanPart(_Part):
    """Outcome of the search."""

    chosen: ChosenPart | None
    """Null when none fits."""
    alternatives: tuple[AlternativePart, ...]
    """Others that fit, best first."""
    rejected: tuple[RejectedPart, ...]
    """All that do not, nearest to fitting first."""
    changes: tuple[ChangePart, ...]
    """If nothing fits: the smallest change of every kind with which something does."""


class StagePart(_Part):
    """One stage of a cold start."""

    name: str
    """Node, Image, Weights, Engine, Compile or Graphs."""
    seconds: int


class ColdStartPart(_Part):
    """Estimated time from nothing to the first answer: a new node, no image on it, weights from their repository."""

    seconds: int
    """Sum of the stages."""
    stages: tuple[StagePart, ...]
    """In their order."""


class PodPart(_Part):
    """What one pod asks of its node, containers that KubeRay adds included."""

    cpu_millicores: int
    memory_bytes: int
    ephemeral_storage_bytes: int
    """Disk of the node, for the files that are downloaded."""
    devices: dict[str, int]
    """Whole units of extended resources by name."""


class PodsPart(_Part):
    """What the pods ask of their nodes."""

    workers_per_replica: int
    head: PodPart
    worker: PodPart


class KeysPart(_Part):
    """The object that holds the API keys."""

    kind: Literal["ConfigMap", "Secret"]
    name: str


class DoorPart(_Part):
    """How requests reach the revision, and who may send them."""

    path: str
    """Direct or Ingress."""
    access: str
    """Keys or Open."""
    keys: KeysPart | None
    """Null for an open endpoint."""
    message: str


class RoutingRulePart(_Part):
    """One rule about the way of choosing a replica."""

    number: int
    """Its place in docs/data-plane.md."""
    routing: str
    """What it speaks for."""
    holds: str
    """Yes, No, or If under a condition that clients know."""
    why: str


class RoutingPart(_Part):
    """How a replica is chosen, and what speaks for another way."""

    routing: str
    """What the spec says: LeastConnections, ConsistentHash or PrefixAware."""
    message: str
    rules: tuple[RoutingRulePart, ...]


class LoaderPart(_Part):
    """How the engine reads the weights."""

    load_format: str
    """Safetensors, RunaiStreamer or Fastsafetensors; what `loadFormat: Auto` came to."""
    message: str
    """Why."""


class CapacityPart(_Part):
    """Whether the nodes that were given hold the plan."""

    status: str
    """True, False or Unknown, as the condition CapacityFound would be."""
    reason: str
    message: str


class ProblemPart(_Part):
    """What stands in the way."""

    condition: str
    """Condition that is False because of it."""
    field: str
    """Path of the field to change; empty where none is to blame."""
    reason: str
    message: str


class PlanDocument(_Part):
    """What `kubectl llama plan -o json` prints."""

    deployment: DeploymentPart
    license: LicensePart | None
    """Null when the model is not known."""
    plan: PlanPart
    cold_start: ColdStartPart | None
    """Null when nothing fits."""
    loader: LoaderPart | None
    """Null when nothing fits."""
    pods: PodsPart | None
    """Null when nothing fits."""
    door: DoorPart | None
    """Null while the model is not known."""
    routing: RoutingPart | None
    """Null while the model is not known."""
    capacity: CapacityPart | None
    """Null when no nodes were given, or nothing fits."""
    problem: ProblemPart | None
    """What stands in the way; null when nothing does."""
    warnings: tuple[str, ...]
    """What nobody refuses and a person should know: nodes whose accelerators are not used, an image that the card needs."""
    objects: tuple[dict[str, Any], ...]
    """Kubernetes objects that would be applied, in this order; empty with a problem."""


def schema() -> dict[str, Any]:
    """JSON schema of the document. Called by `make generate`."""
    document: dict[str, Any] = PlanDocument.model_json_schema(by_alias=True, mode="serialization")
    models: tuple[type[BaseModel], ...] = (PlanDocument, *_models(PlanDocument))
    for model in models:
        part = document if model is PlanDocument else document["$defs"][model.__name__]
        for name, text in field_docs(model).items():
            if name in model.model_fields:
                part["properties"][api_name(name)]["description"] = text
        for field in part["properties"].values():
            # Pydantic's titles are the names again, without their capitals.
            field.pop("title", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | document


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Models that the fields of `model` hold."""
    for info in model.model_fields.values():
        for part in (info.annotation, *get_args(info.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield part
                yield from _models(part)

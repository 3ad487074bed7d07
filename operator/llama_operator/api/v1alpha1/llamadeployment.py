"""The `LlamaDeployment` resource: what a user asks for.

Read by `decide` (through `Observed`), by the CLI and by the CRD generator. The generator takes the descriptions from the
docstrings here: `kubectl explain lld.spec` shows them. Cross-field rules are in `api.rules`, as CEL for the API server and
as Python for manifests, with one message for both.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr

from llama_operator.api.meta import API_VERSION, ApiModel, ObjectMeta
from llama_operator.api.v1alpha1.access import AccessSpec
from llama_operator.api.v1alpha1.adapters import AdapterList, AdapterSlotsSpec
from llama_operator.api.v1alpha1.common import ObjectName
from llama_operator.api.v1alpha1.endpoint import EndpointSpec
from llama_operator.api.v1alpha1.guard import GuardSpec
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.api.v1alpha1.pods import ObjectName as NameInNamespace
from llama_operator.api.v1alpha1.pods import PodsSpec
from llama_operator.api.v1alpha1.scaling import ScalingSpec
from llama_operator.api.v1alpha1.stores import HeadStoreSpec, UsageStoreSpec
from llama_operator.api.v1alpha1.tenants import Limits, Tenants
from llama_operator.api.v1alpha1.weights import WeightsSpec

MAX_NAME_LENGTH = 38
"""KubeRay allows RayService names of at most 47 characters; ours are `<deployment>-<8 characters>`."""


class Precision(StrEnum):
    """Number format of the weights."""

    AUTO = "Auto"
    BF16 = "BF16"
    FP16 = "FP16"
    FP8 = "FP8"
    INT8 = "INT8"
    INT4 = "INT4"


class WeightPrecision(StrEnum):
    """Number format of the weights that `precision: Auto` may choose."""

    BF16 = "BF16"
    FP16 = "FP16"
    FP8 = "FP8"
    INT8 = "INT8"
    INT4 = "INT4"


class KVCacheDtype(StrEnum):
    """Number format of the KV cache."""

    AUTO = "Auto"
    FP8 = "FP8"


class ParallelismMode(StrEnum):
    """Who chooses the tensor and pipeline parallel sizes."""

    AUTO = "Auto"
    MANUAL = "Manual"


class Purpose(StrEnum):
    """What the deployment is for, as licenses distinguish it."""

    PRODUCTION = "Production"
    EVALUATION = "Evaluation"
    NON_COMMERCIAL_RESEARCH = "NonCommercialResearch"


class RolloutStrategy(StrEnum):
    """How a new revision replaces the old one."""

    AUTO = "Auto"
    BLUE_GREEN = "BlueGreen"
    RECREATE = "Recreate"


class Activation(StrEnum):
    """Whether the deployment may hold hardware."""

    ACTIVE = "Active"
    SUSPENDED = "Suspended"
    PREFETCH = "Prefetch"


class GraphMode(StrEnum):
    """Whether vLLM captures graphs."""

    CAPTURED = "Captured"
    EAGER = "Eager"


class PrefixCaching(StrEnum):
    """Whether vLLM reuses the KV cache of common prefixes."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class LoadFormat(StrEnum):
    """How vLLM reads the weights. All formats read safetensors; vLLM never loads pickled weights."""

    AUTO = "Auto"
    SAFETENSORS = "Safetensors"
    RUNAI_STREAMER = "RunaiStreamer"
    FASTSAFETENSORS = "Fastsafetensors"


class ChatTemplateKey(ApiModel):
    """A key of a ConfigMap in the deployment's own namespace, with a chat template in Jinja."""

    config_map: NameInNamespace
    """Name of the ConfigMap. Pods read it when they start: for other words make another ConfigMap, and name that."""
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._-]+$")] = "chat_template.jinja"
    """Key in the ConfigMap."""


class ModelSpec(ApiModel):
    """Which model, in which precision."""

    name: Annotated[str, Field(min_length=1, max_length=192, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:-]*$")]
    """Name of a catalog entry, for example `llama-3.3-70b-instruct`, or of a LlamaModel; `kubectl llama models` lists them."""
    precision: Precision = Precision.AUTO
    """Precision of the weights. `Auto` takes the highest quality that fits on the fewest GPUs. The operator uses a named
    precision or refuses it; it never takes another one."""
    precisions: Annotated[tuple[WeightPrecision, ...], Field(max_length=5, strict=False)] = ()
    """Precisions that `precision: Auto` may choose from. Default: 16-bit and FP8."""
    variant: (
        Annotated[str, Field(min_length=1, max_length=192, pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$")] | None
    ) = None
    """Repository (`owner/name`) of the variant, if a precision has several."""
    chat_template: ChatTemplateKey | None = None
    """What makes a prompt of a conversation. Default: the template of the checkpoint, which base models do not have: they only
    answer completions."""


class ContextSpec(ApiModel):
    """What one replica must be able to hold in its KV cache."""

    max_model_length: Annotated[int, Field(ge=16, le=16_777_216)] | None = None
    """Longest sequence in tokens, prompt and answer together. Default: the length that the model was trained for, or the
    part of it that fits on the fewest nodes that can serve the model. The plan says how much that is."""
    concurrent_sequences: Annotated[int, Field(ge=1, le=4096)] = 1
    """Sequences of full length that one replica must hold at the same time. It can hold more if they are shorter."""


class HardwareSpec(ApiModel):
    """Which accelerators, and at most how many."""

    accelerator: Annotated[
        str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")
    ] = "Auto"
    """Name of an accelerator of the catalog (for example `H100-80GB`, `L4-24GB`, `CPU`) or of an Accelerator. `Auto` reads it
    from the labels of the nodes, and takes no CPU."""
    gpus_per_node: Annotated[int, Field(ge=1, le=72)] | None = None
    """Accelerators in one node. Default: the usual node of this accelerator."""
    max_gpus: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Upper limit on the accelerators of all replicas together."""


class ParallelismSpec(ApiModel):
    """How one replica is sharded."""

    mode: ParallelismMode = ParallelismMode.AUTO
    """`Auto` plans both sizes from memory and divisibility. `Manual` takes the sizes below, or refuses them."""
    tensor: Annotated[int, Field(ge=1, le=64)] | None = None
    """Tensor parallel size: GPUs that share each layer. Must divide the model's attention heads."""
    pipeline: Annotated[int, Field(ge=1, le=64)] | None = None
    """Pipeline parallel size: groups of layers that compute one after the other. Default: 1."""


class EngineArguments(ApiModel):
    """The engine arguments that may be set; the plan sets all others."""

    max_num_seqs: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Sequences that one replica computes at once. Further requests wait and count as queue depth. Default: the number
    that the KV cache is likely to hold."""
    max_num_batched_tokens: Annotated[int, Field(ge=16, le=1_048_576)] | None = None
    """Tokens in one step of the engine."""
    graphs: GraphMode = GraphMode.CAPTURED
    """`Eager` starts faster and computes slower. A CPU always computes eagerly."""
    prefix_caching: PrefixCaching = PrefixCaching.ENABLED
    """Whether requests with the same beginning share its KV cache."""
    load_format: LoadFormat = LoadFormat.AUTO
    """How the weights are read."""
    seed: Annotated[int, Field(ge=0, le=4_294_967_295)] = 0
    """Seed of sampling."""


class EngineSpec(ApiModel):
    """Settings of vLLM."""

    kv_cache_dtype: KVCacheDtype = KVCacheDtype.AUTO
    """`Auto` keeps the precision of the model; `FP8` halves the memory of the KV cache."""
    gpu_memory_utilization_percent: Annotated[int, Field(ge=10, le=99)] = 92
    """Share of the GPU's total memory that the engine may use."""
    arguments: EngineArguments = EngineArguments()
    """Allow-listed engine arguments."""


class ObjectivesSpec(ApiModel):
    """Estimates that the plan must reach: a load, and the average latencies at that load."""

    time_to_first_token_milliseconds: Annotated[int, Field(ge=1, le=600_000)] | None = None
    """Longest time until the first token, on average. Default: no limit."""
    time_per_output_token_milliseconds: Annotated[int, Field(ge=1, le=60_000)] | None = None
    """Longest time between two tokens of an answer, on average. Default: no limit."""
    requests_per_minute: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """Requests that all replicas together must sustain. Default: as many as one replica can."""
    prompt_tokens: Annotated[int, Field(ge=1, le=16_777_216)] = 1155
    """Tokens of a usual prompt. The default is the average of a public trace of conversations."""
    output_tokens: Annotated[int, Field(ge=1, le=16_777_216)] = 211
    """Tokens of a usual answer. The default is the average of a public trace of conversations."""


class OutputUse(StrEnum):
    """Whether answers are used to improve other models, as the user who deploys it declares."""

    NOT_FOR_TRAINING = "NotForTraining"
    TRAINS_MODELS = "TrainsModels"


class UseCase(StrEnum):
    """Field of use, as licenses distinguish it."""

    GENERAL = "General"
    CRITICAL_INFRASTRUCTURE = "CriticalInfrastructure"
    MILITARY = "Military"
    WEAPONS = "Weapons"
    SURVEILLANCE = "Surveillance"
    BIOMETRIC_PROCESSING = "BiometricProcessing"


TrainedModel = Annotated[
    str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9]([A-Za-z0-9 ._/-]*[A-Za-z0-9])?$")
]
"""Name of a model as an object, an endpoint or a license writes it."""


class LicenseSpec(ApiModel):
    """The right by which the model is used. The operator records evidence; it gives no legal advice."""

    acceptance: ObjectName | None = None
    """Name of the LicenseAcceptance that covers this model. Needed for every model whose license asks for an acceptance."""
    purpose: Purpose = Purpose.EVALUATION
    """What the deployment is for."""
    attribution_url: Annotated[str, Field(min_length=8, max_length=2048, pattern=r"^https?://[^\s]+$")] | None = None
    """Page that shows the attribution that the license asks for. The operator records it and never fetches it."""
    output_use: OutputUse = OutputUse.NOT_FOR_TRAINING
    """`TrainsModels` if answers improve other models. Llama 2 and 3 allow that only for their own family, newer ones
    under a name rule."""
    trained_models: Annotated[tuple[TrainedModel, ...], Field(max_length=16, strict=False)] = ()
    """Models that the answers improve: catalog entries, LlamaModels, or the names that they will have, for example
    `Llama 3 Acme`. Letter case and separators do not count."""
    use_case: UseCase = UseCase.GENERAL
    """What it is used for. The acceptable use policies exclude some fields."""
    guard_model: ObjectName | None = None
    """Model that screens requests and answers somewhere in front of this deployment, if there is one: catalog entry or LlamaModel.
    Llama Guard is itself a Llama: the operator judges its license too. A guard in `spec.guard` needs no entry here."""


class RolloutSpec(ApiModel):
    """How the operator rolls out changes that need new engines."""

    strategy: RolloutStrategy = RolloutStrategy.AUTO
    """`BlueGreen` starts the new revision beside the old one, with as many replicas as serve, and moves the traffic when they
    all do. `Recreate` frees the hardware of the old one first: requests that run are cut, and none are served until the new
    one is up.
    `Auto` is `BlueGreen` if free accelerators and `maxGPUs` have room for a second copy, else `Recreate`. The status says
    which one, and why. It also says whether a second copy starts when the node of the Ray head is about to be emptied."""
    progress_deadline_seconds: Annotated[int, Field(ge=10, le=86_400)] | None = None
    """How long a new revision may take until it serves. After that the operator gives it up, and the revision before it
    gets or keeps the traffic. The first revision of a deployment has none before it: the operator keeps trying. Default: one hour, or
    three times what a start takes (`status.coldStart`) if that is longer. 3600, which older definitions wrote by themselves, counts as
    unset."""
    drain_seconds: Annotated[int, Field(ge=0, le=86_400)] = 300
    """How long an old revision runs after the traffic has moved, and how long a removed replica may take to finish its
    requests."""
    revision_history_limit: Annotated[int, Field(ge=0, le=100)] = 5
    """Number of old revisions that are kept for a rollback, and of those that never served, with the cause; they hold no
    hardware."""
    restarted_at: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9:.+-]+$")] | None = None
    """Any new value, usually the time, starts a new revision of the same spec with a new plan."""


class LlamaDeploymentSpec(ApiModel):
    """What the user asks for."""

    model: ModelSpec
    """Which model, in which precision."""
    context: ContextSpec = ContextSpec()
    """What one replica must be able to hold in its KV cache."""
    hardware: HardwareSpec = HardwareSpec()
    """Which accelerators."""
    parallelism: ParallelismSpec = ParallelismSpec()
    """How one replica is sharded."""
    engine: EngineSpec = EngineSpec()
    """Settings of vLLM."""
    objectives: ObjectivesSpec | None = None
    """Latencies and rate by which the operator chooses among the plans that fit. Default: the fewest GPUs, at any speed."""
    scaling: ScalingSpec = ScalingSpec()
    """How many replicas."""
    replicas: Annotated[int, Field(ge=0, le=1024)] | None = None
    """Number of replicas in scaling modes `Manual` and `External`; written by `kubectl scale`."""
    endpoint: EndpointSpec = EndpointSpec()
    """How requests reach the engines."""
    access: AccessSpec = AccessSpec()
    """Who may send requests."""
    tenants: Tenants = ()
    """What each tenant may use. Changes take effect within seconds, without a restart."""
    other_tenants: Limits | None = None
    """What each tenant may use that `tenants` does not list, each of them by itself. Default: no limits."""
    adapter_slots: AdapterSlotsSpec | None = None
    """Room for LoRA adapters in the engines. Default: none. A change starts new engines."""
    adapters: AdapterList = ()
    """LoRA adapters of the model, each served under its own name. Changes take effect while engines run."""
    guard: GuardSpec | None = None
    """A second model that reads requests and answers before they pass. Default: none."""
    usage_store: UsageStoreSpec | None = None
    """Where what tenants use is counted together with other deployments of the namespace, by a Valkey or Redis server of the team.
    Default: each deployment counts by itself, and needs no server."""
    head_store: HeadStoreSpec | None = None
    """Where Ray's head keeps what it knows, so that replicas go on when it ends. Default: nowhere, its end stops them all for as long
    as they take to load."""
    license: LicenseSpec = LicenseSpec()
    """The right by which the model is used."""
    weights: WeightsSpec = WeightsSpec()
    """How pods get the weights."""
    rollout: RolloutSpec = RolloutSpec()
    """How the operator rolls out new revisions."""
    pods: PodsSpec = PodsSpec()
    """Where the pods run and what they get from their surroundings; the platform says which of these fields a team may set."""
    activation: Activation = Activation.ACTIVE
    """`Suspended` keeps the object and frees its hardware. `Prefetch` does the same, and has the weights copied into the claim of
    spec.weights.cache, so that a later start finds them there."""
    image: (
        Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[a-z0-9]([A-Za-z0-9._/:@-]*[A-Za-z0-9])?$")]
        | None
    ) = None
    """Container image of the Ray pods. Default: the serving image of the operator's version."""


class LlamaDeployment(ApiModel):
    """A Llama model, served by a Ray cluster of its own behind an OpenAI-compatible URL."""

    api_version: Literal["llama-operator.io/v1alpha1"] = API_VERSION
    kind: Literal["LlamaDeployment"] = "LlamaDeployment"
    metadata: ObjectMeta
    spec: LlamaDeploymentSpec
    """What the user asks for."""
    status: LlamaDeploymentStatus | None = None
    """What exists."""

    _beyond: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def beyond(self) -> Mapping[str, Any]:
        """Fields of the spec that this version does not know, nested as there; only a live object has some."""
        return self._beyond

    def keep_beyond(self, fields: Mapping[str, Any]) -> None:
        """Keep what the live object says beyond this version; `api.manifest` calls it while it makes the object."""
        self._beyond = dict(fields)

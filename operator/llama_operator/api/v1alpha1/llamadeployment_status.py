"""Status of a `LlamaDeployment`: what exists, for the generation named in it. Only `status` writes it."""

from typing import Annotated

from pydantic import Field

from llama_operator.api.meta import Condition, StatusModel, Timestamp
from llama_operator.api.v1alpha1.guard import GuardPlacement

Name = Annotated[str, Field(max_length=253)]
MOST_TEXT = 1024
Text = Annotated[str, Field(max_length=MOST_TEXT)]
Url = Annotated[str, Field(max_length=2048)]
Count = Annotated[int, Field(ge=0, le=9_007_199_254_740_991)]
"""A whole number that JSON carries exactly."""


class ChosenPlan(StatusModel):
    """How one replica is sharded, and how much memory that takes on each GPU."""

    model: Name
    """Catalog entry."""
    precision: Name
    """Precision of the weights."""
    repository: Text = ""
    """Repository of the weights; empty for generated ones."""
    accelerator: Name
    """Accelerator of the catalog."""
    tensor_parallel_size: Count
    """GPUs that share each layer."""
    pipeline_parallel_size: Count
    """Groups of layers."""
    gpus_per_replica: Count
    """Accelerators of one replica."""
    nodes_per_replica: Count
    """Nodes of one replica."""
    max_model_length: Count
    """Longest sequence, in tokens."""
    max_num_seqs: Count
    """Sequences computed at once."""
    memory_bytes_per_gpu: Count
    """What the engine may use of each GPU."""
    weight_bytes_per_gpu: Count
    """Weights on the GPU with the least room, which limits the KV cache of all GPUs."""
    reserve_bytes_per_gpu: Count
    """Activations, graphs and communication buffers, estimated."""
    adapter_bytes_per_gpu: Count | None = None
    """Room for LoRA adapters; absent where spec.adapterSlots asks for none."""
    guard_bytes_per_gpu: Count | None = None
    """What the guard takes of the same GPU; absent where it has GPUs of its own."""
    kv_cache_bytes_per_gpu: Count
    """What remains for the KV cache on that GPU; on a CPU, the size that is set for it."""
    kv_cache_tokens: Count
    """Tokens that the KV cache of one replica holds."""
    replicas_for_objectives: Count | None = None
    """Replicas that the rate of spec.objectives needs; absent without a rate."""
    time_to_first_token_ms: Count | None = None
    """Estimated time to the first token at the rate that a replica sustains, in milliseconds."""
    time_per_output_token_us: Count | None = None
    """Estimated time between two tokens of an answer at that rate, in microseconds."""
    requests_per_minute: Count | None = None
    """Estimated rate that one replica sustains, within spec.objectives if there are any."""
    cold_start_seconds: Count | None = None
    """Estimated time from no replica to the first answer, a new node and its image included."""
    usd_per_hour_cents: Count | None = None
    """List price of one replica for one hour, in US cents; absent if the accelerator has no price."""
    network_gigabits_per_second: Count | None = None
    """Network between nodes that the estimates assume, in gigabits a second for each GPU; absent if a replica takes one node."""
    placement: GuardPlacement | None = None
    """`Shared` for a guard on the model's GPUs, which takes none of its own; else absent."""
    warning: Text | None = None
    """What stands against sizes that the spec names by hand, although they are used."""


class RejectedPlan(StatusModel):
    """A candidate that does not fit, and why."""

    candidate: Name
    """Precision, accelerator, tensor and pipeline size, in one line."""
    reason: Name
    """Failed check, one CamelCase word."""
    message: Text
    """Its numbers, and what would make it fit."""
    nearest: Text = ""
    """The nearest change that would make it fit."""


class PlanStatus(StatusModel):
    """The plan of the active revision."""

    chosen: ChosenPlan | None = None
    """The candidate that is used; absent if none fits."""
    rejected: Annotated[tuple[RejectedPlan, ...], Field(max_length=16)] = ()
    """The nearest candidates that do not fit."""
    guard: ChosenPlan | None = None
    """How one replica of the guard is sharded; absent without a guard."""


class KVCacheStatus(StatusModel):
    """The KV cache of one replica, as planned and as the engine measured it when it started."""

    revision: Name
    """Revision that the figures are about."""
    planned_tokens: Count
    """Tokens that it should hold by the plan, or by the size that was set (on CPU)."""
    measured_tokens: Count
    """Tokens that it holds in the replica with the fewest."""
    planned_concurrency: Count
    """Sequences of plan.chosen.maxModelLength that it should hold at once."""
    measured_concurrency: Count
    """Sequences of plan.chosen.maxModelLength that it holds at once."""


class RevisionStatus(StatusModel):
    """Which revisions exist."""

    active: Name = ""
    """RayService that gets the traffic; in an outage the one that got it last."""
    pending: Name = ""
    """RayService that is starting."""
    last_failed: Name = ""
    """Last revision that did not come to serve."""
    last_failed_reason: Text = ""
    """Why it did not serve."""


MOST_KEYS_CHARACTERS = 263
"""A kind, a space and the longest name that Kubernetes allows."""


class AccessStatus(StatusModel):
    """Who may send requests to the revision that gets the traffic."""

    revision: Name
    """Revision that it is about: the spec may ask for something that only the next one has."""
    mode: Name
    """`Keys` or `Open`."""
    path: Name
    """`Direct` or `Ingress`."""
    keys: Annotated[str, Field(max_length=MOST_KEYS_CHARACTERS)] = ""
    """Kind and name of the object that holds the keys; empty for an open endpoint."""
    house_limits: Text = ""
    """What LicensePolicies let each tenant use in a minute at most, and which policies; empty if they say nothing."""
    advice: Text = ""
    """What a person should know about it, with what to do; empty if there is nothing."""


class AdapterStatus(StatusModel):
    """A LoRA adapter of spec.adapters."""

    name: Name
    """Its name."""
    loaded_replicas: Count
    """Replicas that serve it."""
    replicas: Count
    """Replicas that run."""
    rank: Count | None = None
    """Its rank, as its files say; absent until it was loaded."""
    digest: Name = ""
    """SHA-256 of its weights."""
    reason: Name = ""
    """Why a replica does not serve it, one CamelCase word; empty if there is nothing to say."""
    message: Text = ""
    """The same for people."""


class WeightsCopyStatus(StatusModel):
    """A copy of weights that the revision that the spec asks for reads from a claim, or an image that its pods mount."""

    id: Name
    """Name of the copy, which follows from its source: its folder in the claim."""
    role: Name
    """What it is for: `Model`, `Guard` or `Adapter`."""
    state: Name
    """How far it is: `Copied`, `Copying`, or the reason why it is not there; `Erased` once the license has ended and it was erased."""
    claim: Name
    """PersistentVolumeClaim that it is in; empty for an image."""
    source: Text
    """Where it comes from."""
    commit: Name = ""
    """Commit that is copied; empty for a source without commits."""
    expected_bytes: Count | None = None
    """Size, as the catalog or a LlamaModel says; absent if nobody does."""
    bytes: Count | None = None
    """Size as it was verified, or bytes that were erased; absent until then."""
    files: Count | None = None
    """Files that were verified, or erased; absent until then."""
    digest: Name = ""
    """Digest of its manifest, which has the digest of each file; empty until it is verified."""
    started_at: Timestamp | None = None
    """When the Job that copies was made; absent once the copy is there."""
    deadline: Timestamp | None = None
    """When the Job is given up, and another one goes on with the files that are whole; absent while none runs."""
    verified_at: Timestamp | None = None
    """When it was verified; absent until then."""
    message: Text = ""
    """What became of it at the end of a license; empty before that."""
    erased_at: Timestamp | None = None
    """When it was erased; absent if it was not."""


class ScalingEvent(StatusModel):
    """One change of the number of replicas."""

    time: Timestamp
    """When the operator saw it."""
    from_replicas: Count
    """Replicas before."""
    to_replicas: Count
    """Replicas after."""
    reason: Text
    """Why."""


class ColdStartStage(StatusModel):
    """One stage of a start."""

    name: Name
    """`Copy`, `Node`, `Image`, `Engine`, `Weights`, `Compile`, `Graphs` or `FirstToken`. The copy of the weights is made once, before the first
    start: it is part of no total."""
    predicted_seconds: Count | None = None
    """What the plan predicts; absent where it predicts nothing."""
    measured_seconds: Count | None = None
    """Median of those of the last starts that tell it; of the copy, what the Job took that made it."""


class ReplicaStart(StatusModel):
    """How one replica started. Stages that nobody could see are absent; their time is part of `engineSeconds`."""

    replica: Name
    """Its name in Ray Serve."""
    ready: Timestamp
    """When its engine answered."""
    total_seconds: Count
    """From the pod to the engine that answers; from the process to it where the pod was there before."""
    node_seconds: Count | None = None
    """Until the pod had a node."""
    image_seconds: Count | None = None
    """Until its container ran: image, volumes, and the wait for Ray's head."""
    engine_seconds: Count | None = None
    """Processes, imports, memory profiling, and what is in no other stage."""
    weights_seconds: Count | None = None
    """Reading the weights."""
    compile_seconds: Count | None = None
    """Compiling the model."""
    graphs_seconds: Count | None = None
    """Capturing graphs."""
    first_token_seconds: Count | None = None
    """From the first request to its first token; not part of the total."""


MOST_STARTS = 5


class ColdStartStatus(StatusModel):
    """What a start of a replica takes, as planned and as measured."""

    plan: Text
    """Weights and sharding that it is about: starts of another plan do not count."""
    predicted_seconds: Count | None = None
    """What the plan predicts, a new node and its image included; absent where it predicts nothing."""
    measured_seconds: Count | None = None
    """Median of the last starts; absent before one was seen."""
    stages: Annotated[tuple[ColdStartStage, ...], Field(max_length=8)] = ()
    """Both by stage. The medians of stages do not add up to the median of the starts."""
    starts: Annotated[tuple[ReplicaStart, ...], Field(max_length=MOST_STARTS)] = ()
    """The last starts, newest first."""


class GivenUpStatus(StatusModel):
    """Replicas that were asked for and found no node in time: they are not asked for again before `retryAt`."""

    revision: Name
    """Revision that asked."""
    generation: Count
    """Generation of the spec that asked: a new one is tried at once."""
    replicas: Count
    """Replicas that are kept meanwhile."""
    missing: Count
    """Replicas that found no node."""
    at: Timestamp
    """When they were given up."""
    retry_at: Timestamp
    """When they may be asked for again."""
    tries: Count
    """How often in a row: the wait doubles, up to an hour."""
    message: Text
    """Why no node took their pods, as the scheduler says it."""


class LlamaDeploymentStatus(StatusModel):
    """What exists, for the generation named in `observedGeneration`."""

    observed_generation: Annotated[int, Field(ge=-1)] = 0
    """Generation of the spec that this status describes; -1 until the operator has looked at the object for the first time."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=24)] = ()
    """What the operator knows: LicenseAccepted, ModelResolved, Planned, CapacityFound, ModelLoaded, EndpointReady, UpToDate,
    PlanAccurate, ObjectsKept, and WeightsCopied, Exposed, AdaptersReady and GuardReady where the spec asks for them; in sum: Ready,
    Reconciling, Stalled."""
    plan: PlanStatus | None = None
    """How one replica is sharded."""
    revisions: RevisionStatus | None = None
    """Which revisions exist."""
    replicas: Count = 0
    """Replicas that are wanted."""
    ready_replicas: Count = 0
    """Replicas that serve."""
    selector: Text = ""
    """Label selector of the serving pods, for the scale subresource."""
    queue_depth: Count | None = None
    """Waiting requests, rounded to two digits; absent if the operator could never read it."""
    serving_silent_since: Timestamp | None = None
    """When the serving pods stopped telling about themselves: queueDepth, kvCacheTokens and the replicas are what they told
    before. Absent while they answer."""
    down_since: Timestamp | None = None
    """When the endpoint stopped to answer. Absent while it answers, before it first did, and while nobody wants it to."""
    kv_cache_tokens: Count | None = None
    """KV cache of one replica that answers now, in tokens, as its engine measured it; absent until it is known."""
    kv_cache: KVCacheStatus | None = None
    """KV cache of the revision that the spec asks for, as planned and as measured; absent until it was measured."""
    scaling_history: Annotated[tuple[ScalingEvent, ...], Field(max_length=10)] = ()
    """Last changes of the number of replicas, newest first."""
    cold_start: ColdStartStatus | None = None
    """What a start of a replica takes; absent while there is no plan."""
    given_up: GivenUpStatus | None = None
    """Replicas that found no node; absent while all found one, or are still waited for."""
    access: AccessStatus | None = None
    """Who may send requests to what serves; absent while nothing has the traffic."""
    adapters: Annotated[tuple[AdapterStatus, ...], Field(max_length=64)] | None = None
    """LoRA adapters of spec.adapters; absent where it lists none."""
    weights: Annotated[tuple[WeightsCopyStatus, ...], Field(max_length=66)] | None = None
    """Copies of weights in claims; absent where spec.weights.cache asks for none."""
    url: Annotated[str, Field(max_length=2048)] = ""
    """Base URL of the OpenAI API."""
    urls: Annotated[tuple[Url, ...], Field(max_length=8)] | None = None
    """Base URLs of the OpenAI API from outside the cluster, one for each host of spec.endpoint.expose; absent until the way in
    is open. A `*` stands for a name."""

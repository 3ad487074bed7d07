"""The contract between the operator and the serving pods.

The operator renders a `ServingConfig` into `applications[].args` of the Serve config; `llama_serving.app:build` reads
it back. It is the only module of this package that the operator imports: it imports only pydantic.

Everything in `ServingConfig` belongs to a revision: Serve restarts the engines when `args` change. What may change
while engines run (replica bounds, queue limits, the target queue depth, limits of tenants) is in the `deployments[]` overrides of the Serve
config instead: see `LiveSettings`.
"""

import re
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from llama_serving.contract import haproxy
from llama_serving.contract.adapters import MOST_NAME_CHARACTERS, AdapterRoom
from llama_serving.contract.contents import DeclaredContents
from llama_serving.contract.door import DOOR_CALLBACK, DOOR_VARIABLE, DoorSettings
from llama_serving.contract.frozen import Frozen
from llama_serving.contract.guard import GUARD_DEPLOYMENT
from llama_serving.contract.media import MOST_MEDIA_DOMAINS, MediaDomain, media_environment
from llama_serving.contract.routing import Routing
from llama_serving.contract.routing import environment as routing_environment
from llama_serving.contract.scaling import EngineCost
from llama_serving.contract.status import DeploymentIdentity
from llama_serving.contract.tenants import DeskSettings, StoreSettings

IMPORT_PATH = "llama_serving.app:build"
"""`applications[].import_path` of every Serve config that the operator renders."""

APPLICATION_NAME = "llama"
"""Name of the Serve application with the engines in a RayService."""

SERVER_CLASS = "LlamaServer"
"""Class name of the engine's Serve deployment; Ray makes it the prefix of the deployment's name."""

INGRESS_DEPLOYMENT = "OpenAiIngress"
"""Name of the Serve deployment that answers HTTP."""

BOARD_DEPLOYMENT = "Board"
"""Name of the Serve deployment of the second application."""

HEAD_RESOURCE = "node:__internal_head__"
"""Resource that Ray gives its head node, and no other."""

POLICY = "llama_serving.autoscaling:QueueDepthPolicy"
"""Import path of the autoscaling policy, never varied: a changed policy restarts every engine."""

HTTP_PORT = 8000
"""Port of Serve's HTTP proxy in every pod, and of the deployment's Service."""

BOARD_APPLICATION_NAME = "llama-board"
"""Name of the second Serve application of the direct path: it answers what needs no engine."""

BOARD_IMPORT_PATH = "llama_serving.app:build_board"
"""`applications[].import_path` of the second application."""

BOARD_PREFIX = "/llama"
"""`route_prefix` of the second application."""

STATUS_PATH = "/llama/status"
"""Path of the read-only status endpoint on the deployment's Service."""

ABOUT_PATH = "/about"
"""Path of the page that says what is served and under which license."""

LICENSES_PATH = "/licenses"
"""Path of the license texts from the model's own folder."""

LICENSE_FILES_MISSING = "LicenseFilesMissing"
"""First word of the message of an engine that does not start because license files are missing."""

CHECKPOINT_REFUSED = "CheckpointRefused"
"""First word of the message of an engine that does not start because the model's folder is not what was declared."""

DIRECT_ONGOING_REQUESTS = 100_000
"""Requests that a replica of the direct path accepts: the queue stands in the engine, where its length can be seen."""

LEAST_ENGINE_VERSION = "0.32.0"
"""Oldest vLLM whose replicas count as ready: the checks of model folders rest on what it loads and how."""

ATTRIBUTION_HEADER = "x-llama-attribution"
"""Response header with the line that the license asks to display."""

OUTPUT_TERMS_HEADER = "x-llama-output-terms"
"""Response header that says whether the output may improve other models."""

CPU_RAY_EXECUTOR_VARIABLE = "LLAMA_SERVING_CPU_RAY_EXECUTOR"
"""Environment variable; `1` makes `llama_serving.cpu_ray_platform` vLLM's platform."""

REQUEST_TIMEOUT_SECONDS = 1800
"""Longest request, with its stream: a long answer takes minutes, and what gives up earlier wastes what the GPU computed."""

METRICS_INTERVAL_SECONDS = 1
"""How often replicas and routers report the length of their queues to Serve's controller, which calls the policy."""

METRICS_WINDOW_SECONDS = 3
"""Over how many seconds Serve averages the reports. Ray requires more than one interval."""


class ModelSource(Frozen):
    """Where the weights come from.

    `HuggingFace`: `location` is `owner/name`. `ObjectStore`: the URI of a folder, which each node downloads. `Path`: an
    absolute folder that every pod sees. `Generated`: the serving pod writes a tiny random checkpoint itself,
    deterministically, so that every node has the same weights.
    """

    kind: Literal["HuggingFace", "ObjectStore", "Path", "Generated"]
    location: str = Field(min_length=1, max_length=1088)
    revision: str | None = Field(default=None, max_length=128)


class StreamSettings(Frozen):
    """How the Run:ai streamer reads files: vLLM's extra configuration of this loader."""

    concurrency: int = Field(ge=1, le=256)
    """Reads at once, of each process."""
    memory_limit: int = Field(ge=1)
    """Bytes of its buffers, of each process; the largest tensor has to fit."""
    distributed: bool = False
    """Whether each rank reads a part, and all exchange what they read."""


class EngineSettings(Frozen):
    """Arguments of vLLM that the plan fixes. Lengths are in tokens."""

    tensor_parallel_size: int = Field(ge=1, le=64)
    pipeline_parallel_size: int = Field(default=1, ge=1, le=64)
    max_model_len: int = Field(ge=1)
    max_num_seqs: int = Field(ge=1, le=4096)
    max_num_batched_tokens: int | None = Field(default=None, ge=1)
    dtype: Literal["auto", "bfloat16", "float16"] = "auto"
    kv_cache_dtype: Literal["auto", "fp8"] = "auto"
    quantization: str | None = Field(default=None, max_length=64)
    allow_deprecated_quantization: bool = False
    """For checkpoint formats that vLLM still reads but refuses by default."""
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    kv_cache_memory_bytes: int | None = Field(default=None, ge=1)
    """Only on GPU: size of the KV cache per rank, where another engine is on the card; None for what is free of it."""
    cpu_kv_cache_mib: int | None = Field(default=None, ge=1)
    """Only on CPU: size of the KV cache per rank, in MiB. vLLM fills it with zeros, 4 s a GiB at every start."""
    enforce_eager: bool = False
    enable_prefix_caching: bool = True
    load_format: str | None = Field(default=None, max_length=64)
    stream: StreamSettings | None = None
    """For `load_format` runai_streamer; None for its own defaults."""
    seed: int = 0
    tool_call_parser: Literal["llama3_json", "llama4_pythonic"] | None = None
    """How calls of tools are read out of answers; None for models that were not trained to call any."""
    chat_template: str | None = Field(default=None, max_length=1024)
    """File with the template of conversations; None for the checkpoint's own."""
    allowed_media_domains: tuple[MediaDomain, ...] | None = Field(default=None, max_length=MOST_MEDIA_DOMAINS)
    """Hosts from which images are fetched; None for nothing but what the request itself has."""

    @property
    def cpu_kv_cache_bytes(self) -> int | None:
        """Size of the KV cache per rank on CPU."""
        return None if self.cpu_kv_cache_mib is None else self.cpu_kv_cache_mib * 1024**2


class Placement(Frozen):
    """How Ray places the ranks of one replica: one bundle for each rank, all in one placement group."""

    device: Literal["GPU", "CPU"]
    accelerator_type: str | None = Field(default=None, max_length=64)
    """Ray's name of the accelerator (for example `H100`); the worker group must declare it as a resource."""
    strategy: Literal["STRICT_PACK", "PACK", "STRICT_SPREAD"] = "STRICT_PACK"
    cpus_per_rank: int = Field(default=1, ge=0, le=256)
    node_resource: str | None = Field(default=None, max_length=63)
    """Resource of Ray that only nodes for these replicas have; None where one kind of node takes all."""
    card_share: float | None = Field(default=None, gt=0, lt=1)
    """What Ray books of a card for each rank, where another engine is on the same cards. Then one replica takes the whole `node_resource` of
    its node. None for whole cards."""


LicenseFileKind = Literal["License", "UsePolicy", "Notice"]
"""Kind of a file beside the weights, by its name: `LICENSE*`, `USE_POLICY*`, `NOTICE*`."""


class OutputTerms(StrEnum):
    """What a license says about the use of output: the one list for catalog, verdicts, headers and pages.

    Strictest first: where several families apply, their terms are listed in this order.
    """

    sentence: str
    """For people; `{prefix}` is how a name must begin."""

    def __new__(cls, value: str, sentence: str) -> Self:
        """Make a member that equals `value` and has `sentence` beside it."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member

    NO_OTHER_MODELS = "NoOtherModels", "The output must not be used to improve any other large language model."
    SHARED_RESTRICTION = "SharedRestriction", "The output may be used only as the weights themselves may be."
    ALLOWED_WITH_NAME = (
        "AllowedWithName",
        (
            "An AI model that is made or improved with the output and made available must carry a name that begins with "
            "“{prefix}”."
        ),
    )
    UNRESTRICTED = "Unrestricted", "No rule of this license about what is done with the output."

    @property
    def strictness(self) -> int:
        """Rank, 0 for the strictest."""
        return list(OutputTerms).index(self)


_HeaderText = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[!-~]([ -~]*[!-~])?$")]
"""Printable ASCII: it travels in response headers."""


class LicenseFamilyDuties(Frozen):
    """What one license family asks to show, and its terms for the output: facts of the operator's catalog."""

    id: str = Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")
    title: str = Field(min_length=1, max_length=128)
    attribution: _HeaderText | None = None
    """Line to display; None if the license asks for none."""
    name_prefix: _HeaderText | None = None
    """How the name of a model made with it, or with its output, must begin; None without a name rule."""
    notice: str | None = Field(default=None, min_length=1, max_length=512)
    """Line of the Notice file."""
    output_use: OutputTerms = OutputTerms.UNRESTRICTED
    text_hashes: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...] = Field(default=(), max_length=32)
    """Hashes (`licenses.text.text_hash`) of the texts of the license and its policy, as the catalog knows them."""


class LicenseDuties(Frozen):
    """What the serving pods show of a model's licenses, and which files its folder must have before an engine starts."""

    tier: str = Field(min_length=1, max_length=63)
    families: tuple[LicenseFamilyDuties, ...] = Field(min_length=1, max_length=16)
    """All families whose duties apply."""
    required_files: tuple[LicenseFileKind, ...] = Field(default=(), max_length=3)
    """Kinds of files without which the engine must not start."""


class RequestPath(StrEnum):
    """How requests reach the engine."""

    INGRESS = "Ingress"
    """Through Serve's proxy and a deployment of `ray.serve.llm` that reads and writes every message again."""
    DIRECT = "Direct"
    """HAProxy hands the connection to the replica, which runs vLLM's own HTTP application."""


class ServingConfig(Frozen):
    """`applications[].args`: one model, one engine shape."""

    model_id: str = Field(min_length=1, max_length=MOST_NAME_CHARACTERS)
    """Name in `/v1/models` and in requests."""
    source: ModelSource
    engine: EngineSettings
    placement: Placement
    identity: DeploymentIdentity
    license: LicenseDuties | None = None
    """None if no license asks to show anything, and in configs that were pinned before the field existed."""
    contents: DeclaredContents | None = None
    """None for weights that the pods generate, and in configs that were pinned before the field existed."""
    path: RequestPath = RequestPath.INGRESS
    """How requests reach the engine; as it was before the field existed where a config does not say it."""
    door: DoorSettings | None = None
    """None in configs that were pinned before the field existed: then there is no door."""
    routing: Routing | None = None
    """By what HAProxy chooses replicas on the direct path; None for the fewest connections."""
    adapters: AdapterRoom | None = None
    """None where no adapter can be loaded."""
    guard: "ServingConfig | None" = None
    """The guard's own model and engine; None without a guard."""
    store: StoreSettings | None = None
    """Server with the ledger of limits; None for one within the Ray cluster."""
    cost: EngineCost | None = None
    """What the autoscaling policy knows of a replica; None in configs that were pinned before the field existed."""

    @model_validator(mode="after")
    def _device_fits_engine(self) -> Self:
        if self.placement.device == "GPU" and self.engine.gpu_memory_utilization is None:
            raise ValueError("engine.gpu_memory_utilization must be set when placement.device is GPU")
        if self.placement.device == "CPU" and self.engine.cpu_kv_cache_mib is None:
            raise ValueError("engine.cpu_kv_cache_mib must be set when placement.device is CPU")
        if self.guard is not None and self.path is not RequestPath.DIRECT:
            raise ValueError("guard needs the path Direct")
        return self

    @property
    def server_deployment(self) -> str:
        """Name of the engine's Serve deployment, the key of the `deployments[]` override."""
        return server_deployment_name(self.model_id)

    @property
    def ranks(self) -> int:
        """Processes of one replica that hold a shard: `tensor x pipeline`."""
        return self.engine.tensor_parallel_size * self.engine.pipeline_parallel_size

    @property
    def cpu_across_nodes(self) -> bool:
        """Whether CPU ranks are spread over Ray nodes, one each.

        vLLM's Ray executor counts accelerators, so every node then has to declare one stand-in (`--num-gpus=1`).
        """
        return self.placement.device == "CPU" and self.ranks > 1 and self.placement.strategy == "STRICT_SPREAD"


class LiveSettings(Frozen):
    """Settings that change in place. They are rendered into `deployments[]`, from the first deploy on.

    The first *appearance* of an override restarts the engines, as does any change of its policy; later changes of
    these numbers do not. Delays are in seconds.
    """

    min_replicas: int = Field(ge=0, le=1024)
    max_replicas: int = Field(ge=1, le=1024)
    target_queue_depth: int = Field(ge=1, le=100_000)
    """Waiting requests that a replica may have; the policy reads it as `target_ongoing_requests`."""
    max_ongoing_requests: int = Field(ge=1, le=1_000_000)
    """Requests a replica accepts (running + waiting in the engine); further requests wait in Serve's router, from
    where a new replica can take them."""
    max_queued_requests: int = Field(ge=-1, le=10_000_000)
    """Requests that may wait in each router before it answers 503; -1 is no limit."""
    upscale_delay_seconds: int = Field(default=5, ge=0, le=86_400)
    downscale_delay_seconds: int = Field(default=300, ge=0, le=86_400)
    graceful_shutdown_seconds: int = Field(default=300, ge=1, le=86_400)
    desk: DeskSettings | None = None
    """Limits of tenants, for a revision of the direct path; None for any other."""
    guard_replicas: int | None = Field(default=None, ge=1, le=64)
    """Replicas of the guard; None without one."""

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise ValueError("max_replicas must be at least min_replicas")
        return self


def server_deployment_name(model_id: str) -> str:
    """Name that `ray.serve.llm` gives the deployment of `model_id` (`/` becomes `--`, `.` becomes `_`)."""
    return f"{SERVER_CLASS}:{re.sub(r'[.]', '_', model_id.replace('/', '--'))}"


NICENESS_VARIABLE: Final = "RAY_worker_niceness"
"""How far the processes that Ray starts give way to others, from 0 to 19."""


def pod_environment(config: ServingConfig) -> dict[str, str]:
    """Environment variables that every Ray pod of `config` needs, head and workers alike.

    Ray hands a replica the environment of its node, and vLLM hands its own to the ranks, so what an engine needs must
    be on every node.
    """
    environment = {
        "DO_NOT_TRACK": "1",
        # Imports vLLM into every process that Ray starts, whether it needs it or not.
        "RAYLLM_ENABLE_WORKER_PROCESS_SETUP_HOOK": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        # By itself Ray runs engines, replicas and HAProxy at niceness 15: they get a 28th of what its own processes in the pod get.
        NICENESS_VARIABLE: "0",
        "VLLM_NO_USAGE_STATS": "1",
        # Tokenizers' own thread pool and forked processes dead-lock; Serve already runs requests concurrently.
        "TOKENIZERS_PARALLELISM": "false",
    }
    from_hub = "HuggingFace" in {config.source.kind, None if config.guard is None else config.guard.source.kind}
    if not from_hub and not (config.adapters and config.adapters.fetches):
        environment |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if config.placement.device == "CPU":
        threads = max(1, config.placement.cpus_per_rank)
        environment |= {
            # Pinning asks for one NUMA node a rank, and two replicas on a machine would pin to the same cores.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(threads),
            # Ray warns in every process that it will one day stop hiding accelerators; there are none.
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        }
    environment |= media_environment(config.engine.allowed_media_domains or ())
    if config.cpu_across_nodes:
        environment[CPU_RAY_EXECUTOR_VARIABLE] = "1"
    if config.door is not None:
        environment |= {
            DOOR_VARIABLE: config.door.model_dump_json(exclude_none=True),
            "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": DOOR_CALLBACK,
        }
    if config.path is RequestPath.DIRECT:
        environment |= {
            haproxy.SWITCH_VARIABLE: "1",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            **haproxy.times(REQUEST_TIMEOUT_SECONDS),
            # Else the lines of a thousand requests are lost with a replica.
            "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
            # Both compute beside the engine, whether anybody asks or not: Serve's controller looks at all replicas ten times a second by
            # itself, and Ray's agent at all processes of the pod every 5 s.
            "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.25",
            "REPORTER_UPDATE_INTERVAL_MS": "15000",
            **routing_environment(config.routing),
        }
    return environment


def live_override(live: LiveSettings) -> dict[str, Any]:
    """Render what `live` says, and nothing else, under the names that Serve gives it."""
    desk = {} if live.desk is None else {"user_config": live.desk.model_dump(mode="json", exclude_none=True)}
    return {
        **desk,
        "max_ongoing_requests": live.max_ongoing_requests,
        "max_queued_requests": live.max_queued_requests,
        "graceful_shutdown_timeout_s": live.graceful_shutdown_seconds,
        "autoscaling_config": {
            "min_replicas": live.min_replicas,
            "max_replicas": live.max_replicas,
            "target_ongoing_requests": live.target_queue_depth,
            "upscale_delay_s": live.upscale_delay_seconds,
            "downscale_delay_s": live.downscale_delay_seconds,
        },
    }


def board_application(arguments: dict[str, Any], live: LiveSettings) -> dict[str, Any]:
    """Render the second application of the direct path, as JSON.

    Args:
        arguments: `applications[].args` of the engine's application.
        live: Its adapters and further names of the model are told to the board, which lists them while no engine runs.
    """
    application = {
        "name": BOARD_APPLICATION_NAME,
        "route_prefix": BOARD_PREFIX,
        "import_path": BOARD_IMPORT_PATH,
        "args": arguments,
    }
    desk = live.desk
    if desk is None or (desk.adapters is None and desk.aliases is None):
        # The board takes the empty settings of `app.board_options` then; boards of before take none at all.
        return application
    told = DeskSettings(adapters=desk.adapters, aliases=desk.aliases).model_dump(mode="json", exclude_none=True)
    return {**application, "deployments": [{"name": BOARD_DEPLOYMENT, "user_config": told}]}


def guard_override(replicas: int) -> dict[str, Any]:
    """Render the entry of `deployments[]` for the guard, as JSON."""
    return {"name": GUARD_DEPLOYMENT, "num_replicas": replicas}


def deployment_override(config: ServingConfig, live: LiveSettings) -> dict[str, Any]:
    """Render `live` as the entry of `deployments[]`, as JSON.

    It replaces the `autoscaling_config` that `llama_serving.app` builds as a whole, so it repeats
    everything that the policy needs: without the interval the queue that it sees would be 10 s old.
    """
    numbers = live_override(live)
    return {
        "name": config.server_deployment,
        **numbers,
        "autoscaling_config": {
            **numbers["autoscaling_config"],
            "metrics_interval_s": METRICS_INTERVAL_SECONDS,
            "look_back_period_s": METRICS_WINDOW_SECONDS,
            "policy": {"policy_function": POLICY},
        },
    }

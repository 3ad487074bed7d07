"""The Serve config of a revision: what Ray Serve runs, and with which live settings.

Called by `desired.rayservice` and `desired.revision`. Everything under `args` belongs to the revision. Everything that
may change while engines run is in `deployments[]`, from the first deploy on: to add an override later, or to change its
policy, would restart the engines.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import yaml

from llama_operator.api.v1alpha1.adapters import repository_of
from llama_operator.api.v1alpha1.licensepolicy import LicenseTier
from llama_operator.api.v1alpha1.llamadeployment import (
    GraphMode,
    KVCacheDtype,
    LlamaDeployment,
    LoadFormat,
    PrefixCaching,
)
from llama_operator.api.v1alpha1.stores import Tls
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.catalog.models import Model
from llama_operator.decide.access import Door
from llama_operator.decide.copies.source import Copy, Role, is_read
from llama_operator.decide.license import LicenseVerdict
from llama_operator.decide.observed import Settings
from llama_operator.decide.plan.adapters import places_of
from llama_operator.decide.plan.candidate import Candidate
from llama_operator.decide.plan.memory import cpu_kv_cache_mib
from llama_operator.decide.serve_application import engine_application
from llama_operator.decide.weights.loader import Loader, loader
from llama_operator.desired.contents import declared_contents
from llama_operator.desired.engine_cost import engine_cost
from llama_operator.desired.pods import chat_template
from llama_operator.desired.pods.adapters import folder
from llama_operator.desired.pods.weights import WEIGHTS_FOLDER, folder_of
from llama_serving.config import (
    APPLICATION_NAME,
    BOARD_APPLICATION_NAME,
    HTTP_PORT,
    IMPORT_PATH,
    REQUEST_TIMEOUT_SECONDS,
    EngineSettings,
    LicenseDuties,
    LicenseFamilyDuties,
    LiveSettings,
    ModelSource,
    Placement,
    RequestPath,
    ServingConfig,
    StreamSettings,
    board_application,
    deployment_override,
    guard_override,
    live_override,
)
from llama_serving.contract.adapters import AdapterRoom
from llama_serving.contract.door import KEYS_FOLDER, Access, DoorSettings
from llama_serving.contract.haproxy import KEEP_ALIVE_SECONDS
from llama_serving.contract.routing import Routing
from llama_serving.contract.status import DeploymentIdentity
from llama_serving.contract.tenants import STORE_FOLDER, StoreSettings

_MIB = 1024**2

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""libyaml's emitter where it is there: ten times as fast, and one config is rendered in every pass."""

_DTYPES = {"BF16": "bfloat16", "FP16": "float16"}
_LOAD_FORMATS = {
    # Never vLLM's own `auto`: it falls back to pickles, which can run the code of their maker.
    LoadFormat.SAFETENSORS: "safetensors",
    LoadFormat.RUNAI_STREAMER: "runai_streamer",
    LoadFormat.FASTSAFETENSORS: "fastsafetensors",
}


def serving_config(
    deployment: LlamaDeployment,
    model: Model,
    chosen: Candidate,
    verdict: LicenseVerdict,
    *,
    door: Door,
    revision: str,
    max_model_length: int,
    max_num_seqs: int,
    settings: Settings,
    copies: tuple[Copy, ...] = (),
) -> ServingConfig:
    """Build the contract with the serving pods."""
    spec = deployment.spec
    on_cpu = chosen.accelerator.device == "CPU"
    arguments = spec.engine.arguments
    reads = loader(arguments, model.architecture, chosen, copied=is_read(chosen.variant, copies))
    return ServingConfig(
        model_id=model.served_name,
        source=_source(model, chosen, settings),
        engine=EngineSettings(
            tensor_parallel_size=chosen.sharding.tensor,
            pipeline_parallel_size=chosen.sharding.pipeline,
            max_model_len=max_model_length,
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=arguments.max_num_batched_tokens,
            dtype=_DTYPES.get(chosen.variant.precision, "auto"),
            kv_cache_dtype="fp8" if spec.engine.kv_cache_dtype is KVCacheDtype.FP8 else "auto",
            quantization=chosen.variant.quantization,
            allow_deprecated_quantization=any(
                limit.argument == "allow_deprecated_quantization" for limit in chosen.variant.engine_limits
            ),
            gpu_memory_utilization=None if on_cpu else spec.engine.gpu_memory_utilization_percent / 100,
            cpu_kv_cache_mib=cpu_kv_cache_mib(chosen.memory, max_model_length, max_num_seqs) if on_cpu else None,
            enforce_eager=on_cpu or arguments.graphs is GraphMode.EAGER,
            enable_prefix_caching=arguments.prefix_caching is PrefixCaching.ENABLED,
            load_format=_LOAD_FORMATS[reads.load_format],
            stream=_stream(reads),
            seed=arguments.seed,
            tool_call_parser=tool_call_parser(model),
            chat_template=None if spec.model.chat_template is None else chat_template.FILE,
            allowed_media_domains=spec.access.media_domains or None,
        ),
        placement=Placement(
            device=chosen.accelerator.device,
            accelerator_type=chosen.accelerator.ray_accelerator_type,
            # Within a node a replica must not be cut in two; across nodes PACK fills whole nodes one after the other.
            strategy="STRICT_PACK" if chosen.nodes == 1 else "PACK",
        ),
        identity=DeploymentIdentity(
            namespace=deployment.metadata.namespace, name=deployment.metadata.name, revision=revision
        ),
        license=license_duties(verdict),
        contents=None if model.generated and not settings.weights_path else declared_contents(model, chosen.variant),
        path=door.path,
        door=DoorSettings(
            access=door.access,
            keys_folder=(settings.keys_path or KEYS_FOLDER) if door.access is Access.KEYS else None,
            max_body_bytes=spec.access.max_body_mib * _MIB,
        ),
        # Unsaid for the fewest connections, as before there was a choice.
        routing=None if spec.endpoint.routing is Routing.LEAST_CONNECTIONS else spec.endpoint.routing,
        adapters=_adapter_room(deployment, chosen, settings, copies),
        store=None if settings.local else _store(deployment),
        cost=engine_cost(spec, model, chosen),
    )


def _store(deployment: LlamaDeployment) -> StoreSettings | None:
    """The server with the ledger of limits. On a machine without Kubernetes nothing mounts its credentials."""
    named = deployment.spec.usage_store
    if named is None:
        return None
    return StoreSettings(
        address=named.address,
        scope=deployment.metadata.namespace,
        tls=named.tls is Tls.ENABLED,
        folder=None if named.secret is None else STORE_FOLDER,
    )


def _adapter_room(
    deployment: LlamaDeployment, chosen: Candidate, settings: Settings, copies: tuple[Copy, ...]
) -> AdapterRoom | None:
    slots = deployment.spec.adapter_slots
    if slots is None:
        return None
    own = None if is_read(chosen.variant, copies) else chosen.variant.volume_claim
    places = places_of(slots, folder(slots, own, settings.weights_path))
    if places is None:
        return None
    named = (repository_of(one) for one in deployment.spec.adapters)
    repositories = tuple(dict.fromkeys(one for one in named if one is not None))
    copied = {copy.subject: folder_of(copy) for copy in copies if copy.role is Role.ADAPTER}
    return places.room.model_copy(update={"repositories": repositories or None, "copies": copied or None})


def tool_call_parser(model: Model) -> Literal["llama3_json", "llama4_pythonic"] | None:
    """Name of vLLM's parser for the calls of tools that a model writes; None for models that were not trained to call any.

    The model cards say in which form: JSON since Llama 3.1, Python-like lists since Llama 4. A model that was made from one of
    them keeps the form.
    """
    if model.family == "llama-guard":
        return None
    families = set(model.license_families)
    if "llama-4" in families:
        return "llama4_pythonic"
    return "llama3_json" if model.generated or families & {"llama-3.1", "llama-3.2", "llama-3.3"} else None


def license_duties(verdict: LicenseVerdict) -> LicenseDuties | None:
    """What the pods show and check for the licenses of `verdict`; None when no Llama license is among them.

    A model under other licenses gets the same Serve config as before there were duties in it.
    """
    families = [family for family in verdict.duties.families if family.tier is not LicenseTier.OTHER_LICENSE]
    duties = duties_under(families, verdict)
    return None if duties is None else duties.model_copy(update={"tier": verdict.tier})


def duties_under(families: Sequence[LicenseFamily], verdict: LicenseVerdict) -> LicenseDuties | None:
    """What the pods show and check under license families, strictest first; None without one."""
    if not families:
        return None
    return LicenseDuties(
        tier=families[0].tier,
        families=tuple(
            LicenseFamilyDuties(
                id=family.id,
                title=family.title,
                attribution=family.attribution,
                name_prefix=family.name_prefix,
                notice=family.notice,
                output_use=family.output_use,
                text_hashes=(*family.license_text_hashes, *family.policy_text_hashes),
            )
            for family in families
        ),
        # The agreement alone: acceptable use policies are part of it by their address, and few copies have a notice.
        required_files=("License",) if verdict.duties.license_files == "Required" else (),
    )


def serve_config(config: ServingConfig, live: LiveSettings) -> dict[str, Any]:
    """Build the Serve config (`ServeDeploySchema`) as JSON."""
    return {
        "proxy_location": "EveryNode",
        "http_options": {
            "host": "0.0.0.0",  # noqa: S104 - inside the pod; the NetworkPolicy decides who reaches it
            "port": HTTP_PORT,
            "request_timeout_s": REQUEST_TIMEOUT_SECONDS,
            "keep_alive_timeout_s": KEEP_ALIVE_SECONDS,
        },
        "applications": [
            {
                "name": APPLICATION_NAME,
                "route_prefix": "/",
                "import_path": IMPORT_PATH,
                "args": config.model_dump(mode="json", exclude_none=True),
                "deployments": [deployment_override(config, live), *_guard_overrides(config, live)],
            }
        ],
    }


def with_live(pinned: Mapping[str, Any], live: LiveSettings) -> dict[str, Any]:
    """A pinned Serve config with what `live` says in it, and nothing else of its engines changed.

    The override of the server is kept as it was when the revision was made: a newer operator that renders it in
    another way, with another policy say, would restart the engines. The board is not pinned: it has no engine, restarts within
    a second, and an operator without it reads the record.
    """
    application = engine_application(pinned)
    override, *of_guard = application["deployments"]
    numbers = live_override(live)
    autoscaling = {**override["autoscaling_config"], **numbers["autoscaling_config"]}
    changed = {**override, **numbers, "autoscaling_config": autoscaling}
    others = [one for one in pinned["applications"] if one is not application]
    if application["args"].get("path") == RequestPath.DIRECT:
        others = [one for one in others if one.get("name") != BOARD_APPLICATION_NAME]
        others.append(board_application(application["args"], live))
    guards = [guard_override(live.guard_replicas) if live.guard_replicas else one for one in of_guard]
    return {**pinned, "applications": [{**application, "deployments": [changed, *guards]}, *others]}


def _guard_overrides(config: ServingConfig, live: LiveSettings) -> list[dict[str, Any]]:
    return [] if config.guard is None else [guard_override(live.guard_replicas or 1)]


def to_yaml(config: dict[str, Any]) -> str:
    """Render for `serveConfigV2`, the same bytes for the same config: KubeRay compares the string.

    Keys are sorted: a config that comes back from the API server has them in another order than one just built.
    """
    return _yaml(json.dumps(config, sort_keys=True))


@functools.lru_cache(maxsize=4096)
def _yaml(config: str) -> str:
    """Render JSON as YAML; a pass that changes nothing renders what the one before did."""
    text: str = yaml.dump(json.loads(config), Dumper=_DUMPER, sort_keys=True, width=120, allow_unicode=True)
    return text


def _source(model: Model, chosen: Candidate, settings: Settings) -> ModelSource:
    if settings.weights_path:
        return ModelSource(kind="Path", location=settings.weights_path)
    if model.generated:
        return ModelSource(kind="Generated", location=model.id)
    variant = chosen.variant
    if variant.volume_claim is not None:
        return ModelSource(kind="Path", location="/".join(filter(None, (WEIGHTS_FOLDER, variant.volume_path))))
    if variant.uri is not None:
        return ModelSource(kind="ObjectStore", location=variant.uri)
    return ModelSource(kind="HuggingFace", location=variant.repository or model.id, revision=variant.revision)


def _stream(reads: Loader) -> StreamSettings | None:
    if reads.streams is None or reads.buffer_bytes is None:
        return None
    return StreamSettings(concurrency=reads.streams, memory_limit=reads.buffer_bytes, distributed=reads.is_shared)

"""Translates the contract into `ray.serve.llm`'s configuration. Pure; called by `app`, `server` and `ingress`.

Light on purpose: it names Ray's fields in a dictionary instead of importing Ray's classes, which import vLLM.
"""

from typing import Any, Final

from llama_serving.config import RequestPath, ServingConfig
from llama_serving.contract.adapters import cpu_places
from llama_serving.contract.media import NOWHERE
from llama_serving.generated import checkpoint

PER_WORKER_VARIABLE: Final = "VLLM_RAY_PER_WORKER_GPUS"
"""vLLM's name for what a rank asks of a card."""

_STREAM_BATCH_MILLISECONDS = 20
"""How long tokens of a stream are collected: fewer messages between processes against smoother output."""


def llm_config_of(config: ServingConfig) -> dict[str, Any]:
    """Translate to `ray.serve.llm.LLMConfig`, as a dictionary of its fields."""
    placement = config.placement
    return {
        "model_loading_config": {"model_id": config.model_id, "model_source": _model_source(config)},
        "engine_kwargs": _engine_arguments(config),
        # Ray refuses the accelerator type of a CPU.
        "accelerator_type": placement.accelerator_type if placement.device == "GPU" else None,
        "placement_group_config": {"bundles": placement_bundles(config), "strategy": placement.strategy},
        "callback_config": {
            "callback_class": "llama_serving.engine.nodes.PrepareNodes",
            "callback_kwargs": {"source": config.source.model_dump(mode="json")},
        },
        "experimental_configs": {"stream_batching_interval_ms": _STREAM_BATCH_MILLISECONDS},
    }


def placement_bundles(config: ServingConfig) -> list[dict[str, float]]:
    """Return what Ray reserves for one replica: a bundle a rank. The replica itself lives in the first one."""
    placement = config.placement
    bundle: dict[str, float] = {}
    if placement.cpus_per_rank:
        bundle["CPU"] = placement.cpus_per_rank
    if placement.device == "GPU" or config.cpu_across_nodes:
        # Ray takes a bundle without GPU for a machine without GPU, and then keeps all ranks on one node.
        bundle["GPU"] = placement.card_share or 1
    if placement.device == "GPU" and placement.accelerator_type is not None:
        bundle[f"accelerator_type:{placement.accelerator_type}"] = 0.001
    if placement.node_resource is not None:
        # All ranks of a replica together: the whole, so that a node has one replica, which leaves room for the other engine's. Ray counts
        # in ten-thousandths.
        whole = placement.card_share is not None
        bundle[placement.node_resource] = max(0.0001, 10_000 // config.ranks / 10_000) if whole else 0.001
    return [dict(bundle) for _ in range(config.ranks)]


def replica_environment(config: ServingConfig) -> dict[str, str]:
    """Return variables of the process of a replica, beside those of its pod."""
    placement = config.placement
    if placement.device == "CPU" or placement.card_share is None:
        return {}
    # vLLM asks Ray for a whole card for each rank otherwise, which the bundles do not have.
    return {PER_WORKER_VARIABLE: str(placement.card_share)}


def _model_source(config: ServingConfig) -> str:
    return str(checkpoint.default_folder()) if config.source.kind == "Generated" else config.source.location


def _engine_arguments(config: ServingConfig) -> dict[str, Any]:
    """Arguments of vLLM; those that are None are left to its own defaults."""
    engine = config.engine
    arguments = engine.model_dump(exclude={"cpu_kv_cache_mib", "stream"}) | {
        "model_loader_extra_config": None if engine.stream is None else engine.stream.model_dump(),
        # Without it vLLM on CPU reserves nearly all memory of the machine.
        "kv_cache_memory_bytes": engine.cpu_kv_cache_bytes
        if config.placement.device == "CPU"
        else engine.kv_cache_memory_bytes,
        "revision": config.source.revision,
        # Left to itself, vLLM prefers a params.json beside it, which nobody compares with what was declared.
        "config_format": "hf" if config.contents is not None else None,
        # Of an empty list vLLM makes the whole world.
        "allowed_media_domains": list(engine.allowed_media_domains or ()) or [NOWHERE],
        "enable_auto_tool_choice": True if engine.tool_call_parser is not None else None,
        # Tenants may have priorities, which the desk writes into requests; with equal ones the order is that of arrival.
        "scheduling_policy": "priority" if config.path is RequestPath.DIRECT else None,
        # The door lets nobody there; without it vLLM builds a description of all its routes.
        "disable_fastapi_docs": True if config.path is RequestPath.DIRECT else None,
        **_adapter_arguments(config),
    }
    return {name: value for name, value in arguments.items() if value is not None}


def _adapter_arguments(config: ServingConfig) -> dict[str, Any]:
    """Room for adapters. None is named here: replicas load the list that they get while they run."""
    room = config.adapters
    if room is None:
        return {}
    arguments = {"enable_lora": True, **room.model_dump(exclude={"folder", "repositories", "copies"})}
    if config.placement.device == "CPU":
        arguments |= dict.fromkeys(("max_loras", "max_cpu_loras"), cpu_places(room))
    return arguments

"""Configs of the generated model on CPU, as the operator renders them. For `tests/serving` and `make bench-serving`."""

from typing import Any

from llama_operator.desired import serve_config as desired
from llama_serving.config import (
    EngineSettings,
    LiveSettings,
    ModelSource,
    Placement,
    RequestPath,
    ServingConfig,
    pod_environment,
)
from llama_serving.contract.adapters import AdapterRoom
from llama_serving.contract.door import Access, DoorSettings
from llama_serving.contract.routing import Routing
from llama_serving.contract.status import DeploymentIdentity
from llama_serving.contract.tenants import DeskSettings
from support.serving.ray_cluster import LOOPBACK

MODEL = "tiny-random-llama"


def tiny_config(
    *,
    placement: Placement | None = None,
    path: RequestPath = RequestPath.DIRECT,
    keys_folder: str | None = None,
    routing: Routing | None = None,
    adapters: AdapterRoom | None = None,
    guard: bool = False,
    **engine: Any,
) -> ServingConfig:
    """Return the config of the generated model on CPU.

    Args:
        placement: How it is placed.
        path: How requests reach it.
        keys_folder: Where the keys are for which its door asks; None for an open one.
        routing: By what replicas are chosen.
        guard: Whether it has a guard, the same model once more; what it says is up to the test (`stand_in_guard`).
        engine: Other settings of the engine.
    """
    settings = {
        "tensor_parallel_size": 1,
        "max_model_len": 512,
        "max_num_seqs": 4,
        "dtype": "bfloat16",
        "cpu_kv_cache_mib": 64,
        "enforce_eager": True,
        "tool_call_parser": "llama3_json",
    }
    return ServingConfig(
        model_id=MODEL,
        source=ModelSource(kind="Generated", location=MODEL),
        engine=EngineSettings.model_validate(settings | engine),
        placement=placement or Placement(device="CPU"),
        identity=DeploymentIdentity(namespace="team-a", name="chat", revision="chat-5f2c"),
        path=path,
        routing=routing,
        door=DoorSettings(
            access=Access.OPEN if keys_folder is None else Access.KEYS,
            keys_folder=keys_folder,
        ),
        adapters=adapters,
        guard=tiny_config(path=RequestPath.INGRESS, max_model_len=2048, tool_call_parser=None) if guard else None,
    )


def live_settings(path: RequestPath = RequestPath.DIRECT, **changes: Any) -> LiveSettings:
    """Return live settings that fit the tiny model: four requests run, and all others wait in the engine."""
    values = {
        "min_replicas": 1,
        "max_replicas": 1,
        "target_queue_depth": 4,
        "max_ongoing_requests": 100_000,
        "max_queued_requests": -1,
        "upscale_delay_seconds": 1,
        "graceful_shutdown_seconds": 5,
        "desk": DeskSettings() if path is RequestPath.DIRECT else None,
    }
    return LiveSettings.model_validate(values | changes)


def _plain(config: ServingConfig) -> ServingConfig:
    return tiny_config(path=config.path).model_copy(update={"door": config.door, "routing": config.routing})


def serve_config(config: ServingConfig, live: LiveSettings, *, http_port: int) -> dict[str, Any]:
    """Return the Serve config as the operator renders it.

    Each revision has Ray pods of its own in production. Here all share one cluster, so what the pods of `config` have in
    their environment beyond those of `tiny_config` comes with the application.
    """
    own = pod_environment(config).items() - pod_environment(_plain(config)).items()
    rendered = desired.with_live(desired.serve_config(config, live), live)
    engine, *others = rendered["applications"]
    if config.guard is not None:
        engine = engine | {"import_path": "support.serving.stand_in_guard:build"}
    return rendered | {
        # One proxy a machine: those of two nodes here would share the port without noticing.
        "proxy_location": "HeadOnly",
        "http_options": rendered["http_options"] | {"host": LOOPBACK, "port": http_port},
        "applications": [engine | {"runtime_env": {"env_vars": dict(own)}}, *others],
    }

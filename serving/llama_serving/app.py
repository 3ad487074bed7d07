"""Builds the Serve application of a revision: `import_path` of every Serve config that the operator renders.

Serve calls `build` in a process of its own, with `args` from the config, before any replica can start. `build` names the
deployments by import path, so this process imports neither vLLM nor `ray.serve.llm`: it takes a second instead of seven,
and the head needs no memory for it. Settings that may change while engines run come from the config's `deployments[]`.
They replace the values below, which only have to be safe.
"""

from typing import Any

from ray import serve
from ray.serve import Application

from llama_serving.config import (
    BOARD_DEPLOYMENT,
    DIRECT_ONGOING_REQUESTS,
    HEAD_RESOURCE,
    INGRESS_DEPLOYMENT,
    METRICS_INTERVAL_SECONDS,
    METRICS_WINDOW_SECONDS,
    POLICY,
    RequestPath,
    ServingConfig,
)
from llama_serving.contract.guard import GUARD_DEPLOYMENT
from llama_serving.llm_config import placement_bundles, replica_environment

_SERVER = "llama_serving.replicas.LlamaServer"
_DIRECT_SERVER = "llama_serving.replicas.DirectServer"
_GUARD = "llama_serving.replicas.GuardServer"
_BOARD = "llama_serving.board.deployment.BoardServer"
_INGRESS = "llama_serving.replicas.Ingress"
_QUEUE_PER_REPLICA = 4
_INGRESS_REQUESTS = 1000
"""Requests in one ingress before another is added; an ingress only passes bytes on."""


def build(args: dict[str, Any]) -> Application:
    """Build the application. Serve takes no builder with a second parameter, not even one with a default.

    Args:
        args: A `ServingConfig` as JSON.

    Raises:
        pydantic.ValidationError: If `args` is not a `ServingConfig`; the message names the field.
    """
    return build_with(args, guard_class=_GUARD)


def build_with(args: dict[str, Any], *, guard_class: str) -> Application:
    """Build the application with a guard of another class: tests have one that says what they want.

    Args:
        args: A `ServingConfig` as JSON.
        guard_class: Import path of the guard's class.

    Raises:
        pydantic.ValidationError: If `args` is not a `ServingConfig`; the message names the field.
    """
    config = ServingConfig.model_validate(args)
    plain = config.model_dump(mode="json")
    if config.path is RequestPath.DIRECT:
        guards = () if config.guard is None else (guard_application(config, guard_class),)
        return serve.deployment(**server_options(config))(_DIRECT_SERVER).bind(plain, *guards)
    server = serve.deployment(**server_options(config))(_SERVER).bind(plain)
    return serve.deployment(**ingress_options())(_INGRESS).bind(plain, server)


def guard_application(config: ServingConfig, guard_class: str) -> Application:
    """Build the guard, whose handle the engine's deployment gets.

    Args:
        config: It has a guard.
        guard_class: Import path of its class.
    """
    if config.guard is None:
        raise ValueError("the config has no guard")
    return serve.deployment(**guard_options(config.guard))(guard_class).bind(config.model_dump(mode="json"))


def build_board(args: dict[str, Any]) -> Application:
    """Build the second application of the direct path, which answers what needs no engine.

    Args:
        args: The same `ServingConfig` as JSON.

    Raises:
        pydantic.ValidationError: If `args` is not a `ServingConfig`; the message names the field.
    """
    config = ServingConfig.model_validate(args)
    return serve.deployment(**board_options())(_BOARD).bind(config.model_dump(mode="json"))


def server_options(config: ServingConfig) -> dict[str, Any]:
    """Options of the engine's deployment."""
    return {
        "name": config.server_deployment,
        # Ray's own default for engines is a billion: nothing would ever queue in Serve, nor scale.
        "max_ongoing_requests": config.engine.max_num_seqs + _QUEUE_PER_REPLICA,
        "autoscaling_config": {
            "min_replicas": 1,
            "max_replicas": 1,
            "target_ongoing_requests": _QUEUE_PER_REPLICA,
            "metrics_interval_s": METRICS_INTERVAL_SECONDS,
            "look_back_period_s": METRICS_WINDOW_SECONDS,
            "policy": {"policy_function": POLICY},
        },
        "placement_group_bundles": placement_bundles(config),
        "placement_group_strategy": config.placement.strategy,
        "ray_actor_options": _actor_options(config),
    }


def _actor_options(config: ServingConfig) -> dict[str, Any]:
    # The bundles carry the CPUs.
    options: dict[str, Any] = {"num_cpus": 0}
    environment = replica_environment(config)
    return options | ({"runtime_env": {"env_vars": environment}} if environment else {})


def guard_options(guard: ServingConfig) -> dict[str, Any]:
    """Options of the guard's deployment.

    Args:
        guard: The guard's model and engine.
    """
    return {
        "name": GUARD_DEPLOYMENT,
        "num_replicas": 1,
        # What waits, waits in the engine: checks have a deadline.
        "max_ongoing_requests": DIRECT_ONGOING_REQUESTS,
        "placement_group_bundles": placement_bundles(guard),
        "placement_group_strategy": guard.placement.strategy,
        "ray_actor_options": _actor_options(guard),
    }


def board_options() -> dict[str, Any]:
    """Options of the deployment that answers what needs no engine: one replica, on the head, which outlives the workers."""
    return {
        "name": BOARD_DEPLOYMENT,
        "num_replicas": 1,
        # Serve tells a replica no settings that are taken away; it tells these then.
        "user_config": {},
        "max_ongoing_requests": 100 * _INGRESS_REQUESTS,
        "ray_actor_options": {"num_cpus": 0, "resources": {HEAD_RESOURCE: 0.001}},
    }


def ingress_options() -> dict[str, Any]:
    """Options of the deployment that answers HTTP."""
    return {
        "name": INGRESS_DEPLOYMENT,
        # Far above the target: an ingress that is full would hide the queue from the engines' autoscaler.
        "max_ongoing_requests": 100 * _INGRESS_REQUESTS,
        # At least one also when every engine is gone, so that the first request finds someone to hold it.
        "autoscaling_config": {"min_replicas": 1, "max_replicas": 4, "target_ongoing_requests": _INGRESS_REQUESTS},
        "ray_actor_options": {"num_cpus": 0},
    }

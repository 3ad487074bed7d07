"""The guard's part of a revision: its engine in the Serve config, and its own worker group if it has one. Called by `desired.revision`.

Nodes of both groups have a resource of Ray that the other group lacks: a replica on the wrong node would leave no place for the
one that belongs there. A guard on the model's cards has no group. Nodes of the model then have both resources, once each, so that one
replica of each is on a node, whichever comes first; and of each card the model books more than half, so that its ranks are on different ones.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from llama_operator.api.v1alpha1.licensepolicy import LicenseTier
from llama_operator.decide.access import Door
from llama_operator.decide.guard.planned import GuardPlan
from llama_operator.decide.license import LicenseVerdict
from llama_operator.decide.observed import RevisionFacts, Settings
from llama_operator.decide.plan.candidate import Candidate
from llama_operator.desired import serve_config
from llama_serving.config import EngineSettings, LiveSettings, RequestPath, ServingConfig
from llama_serving.contract.door import Access
from llama_serving.contract.guard import GUARD_GROUP, GUARD_RESOURCE, GUARD_SHARE, MODEL_RESOURCE, MODEL_SHARE

_PARTS: Final = 10_000
"""Smallest part of a card that is told."""


def guarded(config: ServingConfig, guard: GuardPlan, verdict: LicenseVerdict, settings: Settings) -> ServingConfig:
    """The contract with the serving pods, with a guard in it."""
    own = serve_config.serving_config(
        guard.deployment,
        guard.model,
        guard.best,
        verdict,
        door=Door(RequestPath.INGRESS, Access.OPEN),
        revision=config.identity.revision,
        max_model_length=guard.chosen.max_model_length,
        max_num_seqs=guard.plan.max_num_seqs,
        settings=settings,
    )
    families = [family for family in verdict.duties.guard if family.tier is not LicenseTier.OTHER_LICENSE]
    of_model, of_guard = (MODEL_SHARE, GUARD_SHARE) if guard.shared else (None, None)
    own = own.model_copy(
        update={
            # Nothing but the model's own replicas reaches it.
            "door": None,
            "license": serve_config.duties_under(families, verdict),
            "placement": own.placement.model_copy(update={"node_resource": GUARD_RESOURCE, "card_share": of_guard}),
            "engine": _sized(own.engine, guard.best) if guard.shared else own.engine,
        }
    )
    placement = config.placement.model_copy(update={"node_resource": MODEL_RESOURCE, "card_share": of_model})
    return config.model_copy(update={"guard": own, "placement": placement})


def beside_guard(config: ServingConfig, chosen: Candidate) -> ServingConfig:
    """The contract with an engine that leaves a part of its cards to a guard.

    Args:
        config: The contract with an engine that has them alone.
        chosen: Its plan, which knows what the guard takes.
    """
    return config.model_copy(update={"engine": _sized(config.engine, chosen)})


def _sized(engine: EngineSettings, chosen: Candidate) -> EngineSettings:
    """The engine with a KV cache of a fixed size, and with its own part of the card.

    With a fixed size vLLM looks at its part once, at its start: so much of the card has to be free then.
    """
    memory, card = chosen.memory, chosen.accelerator
    if card.device == "CPU":
        return engine
    part = max(1, (memory.budget - memory.guard) * _PARTS // card.usable_memory_bytes) / _PARTS
    return engine.model_copy(update={"kv_cache_memory_bytes": memory.left_for_kv, "gpu_memory_utilization": part})


def group_name(accelerator: str) -> str:
    """Name of the guard's worker group."""
    return f"{GUARD_GROUP}{accelerator}".lower()


def with_resource(params: Mapping[str, str], resource: str) -> dict[str, str]:
    """`ray start` parameters of nodes that have one more resource."""
    # KubeRay hands the value to a shell unquoted: it has its own quotes.
    known = json.loads(json.loads(params["resources"])) if "resources" in params else {}
    return {**params, "resources": json.dumps(json.dumps({**known, resource: 1}))}


def bounds_of(group: Mapping[str, Any], pinned: RevisionFacts, live: LiveSettings) -> tuple[int, int]:
    """Bounds of a worker group, as KubeRay counts it.

    Args:
        group: What is pinned of it. Where that names `numOfHosts`, KubeRay counts replicas, else pods.
        pinned: The revision.
        live: How many replicas it may have.
    """
    chosen, guard = pinned.plan.chosen, pinned.plan.guard
    of_guard = group["groupName"].startswith(GUARD_GROUP)
    plan = guard if of_guard else chosen
    pods = plan.nodes_per_replica if plan is not None and "numOfHosts" not in group else 1
    if of_guard:
        return (live.guard_replicas or 1) * pods, (live.guard_replicas or 1) * pods
    return live.min_replicas * pods, live.max_replicas * pods

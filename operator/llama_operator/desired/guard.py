"""The guard's part of a revision: its engine in the Serve config, and its own worker group. Called by `desired.revision`.

Nodes of both groups have a resource of Ray that the other group lacks: a replica on the wrong node would leave no place for the
one that belongs there.
"""

import json
from collections.abc import Mapping
from typing import Any

from llama_operator.api.v1alpha1.licensepolicy import LicenseTier
from llama_operator.decide.access import Door
from llama_operator.decide.guard import GuardPlan
from llama_operator.decide.license import LicenseVerdict
from llama_operator.decide.observed import RevisionFacts, Settings
from llama_operator.desired import serve_config
from llama_serving.config import LiveSettings, RequestPath, ServingConfig
from llama_serving.contract.door import Access
from llama_serving.contract.guard import GUARD_GROUP, GUARD_RESOURCE, MODEL_RESOURCE


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
    own = own.model_copy(
        update={
            # Nothing but the model's own replicas reaches it.
            "door": None,
            "license": serve_config.duties_under(families, verdict),
            "placement": own.placement.model_copy(update={"node_resource": GUARD_RESOURCE}),
        }
    )
    placement = config.placement.model_copy(update={"node_resource": MODEL_RESOURCE})
    return config.model_copy(update={"guard": own, "placement": placement})


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

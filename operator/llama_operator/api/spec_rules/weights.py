"""Cross-field rules of the copy of the weights. Part of `rules.RULES`."""

from typing import Final

from llama_operator.api.rule import Rule
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec, RolloutStrategy
from llama_operator.api.v1alpha1.weights import CacheMode, ClaimAccess, Retention, WeightsCacheSpec


def _on_one_node(spec: LlamaDeploymentSpec) -> bool:
    if spec.weights.cache.access_mode is not ClaimAccess.ONCE:
        return True
    one = spec.scaling.max_replicas == 1 and (spec.replicas is None or spec.replicas <= 1)
    return one and spec.rollout.strategy is RolloutStrategy.RECREATE and spec.guard is None


def _only_of_a_claim(cache: WeightsCacheSpec) -> bool:
    return cache.mode is CacheMode.CLAIM or (cache.storage_class_name is None and cache.claim_name is None)


def _not_of_your_claim(cache: WeightsCacheSpec) -> bool:
    return cache.claim_name is None or (
        cache.storage_class_name is None
        and cache.retention is Retention.DELETE
        and cache.access_mode is ClaimAccess.MANY
    )


WEIGHTS_RULES: Final[tuple[Rule, ...]] = (
    Rule(
        model=WeightsCacheSpec,
        field="mode",
        cel=f"self.mode == '{CacheMode.CLAIM}' || (!has(self.storageClassName) && !has(self.claimName))",
        holds=_only_of_a_claim,
        message="must be Claim where storageClassName or claimName is set: they say where the copy goes; set mode to Claim, or leave "
        "them out",
    ),
    Rule(
        model=WeightsCacheSpec,
        field="claimName",
        cel="!has(self.claimName) || (!has(self.storageClassName) && "
        f"self.retention == '{Retention.DELETE}' && self.accessMode == '{ClaimAccess.MANY}')",
        holds=_not_of_your_claim,
        message="must be the only field beside mode: your claim has its own class and access mode, and the operator never deletes it; "
        "leave out storageClassName, accessMode and retention, or leave out claimName",
    ),
    Rule(
        model=LlamaDeploymentSpec,
        field="weights.cache.accessMode",
        cel=f"self.weights.cache.accessMode != '{ClaimAccess.ONCE}' || (self.scaling.maxReplicas == 1 && "
        "(!has(self.replicas) || self.replicas <= 1) && "
        f"self.rollout.strategy == '{RolloutStrategy.RECREATE}' && !has(self.guard))",
        holds=_on_one_node,
        message="may be ReadWriteOnce only with scaling.maxReplicas 1, rollout.strategy Recreate and no guard: such a volume is on one "
        "node at a time, and pods on another node never start; use a StorageClass that has ReadWriteMany",
    ),
)

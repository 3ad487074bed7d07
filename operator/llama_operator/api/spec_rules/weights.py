"""Cross-field rules of the copy of the weights. Part of `rules.RULES`."""

import re
from typing import Final

from llama_operator.api.rule import Rule
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec, RolloutStrategy
from llama_operator.api.v1alpha1.weights import CacheMode, ClaimAccess, Retention, WeightsCacheSpec

_WITH_DIGEST: Final = "@sha256:[0-9a-f]{64}$"


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
        field="image",
        cel=f"has(self.image) == (self.mode == '{CacheMode.IMAGE}')",
        holds=lambda cache: (cache.image is not None) == (cache.mode is CacheMode.IMAGE),
        message="must be set with mode Image, and only then: it names the image that pods mount; set both, or leave out image",
    ),
    Rule(
        model=WeightsCacheSpec,
        field="image",
        cel=f"!has(self.image) || self.image.matches('{_WITH_DIGEST}')",
        holds=lambda cache: cache.image is None or re.search(_WITH_DIGEST, cache.image) is not None,
        message="must end with a digest, @sha256: and 64 hexadecimal digits: a tag can move, and replicas would serve other weights; "
        "`crane digest REFERENCE` or the registry tells it",
    ),
    Rule(
        model=WeightsCacheSpec,
        field="imageFolder",
        cel="self.imageFolder == '' || has(self.image)",
        holds=lambda cache: not cache.image_folder or cache.image is not None,
        message="may be set only with image: it is a folder of it; set image and mode Image, or leave out imageFolder",
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

"""Cross-field rules of the custom resources, each once as CEL (for the API server) and once as Python (for us).

`api.crd` writes the CEL into the CRD; `api.manifest` runs the Python. tests/unit/api/test_rules.py runs both sides of
every rule over the same objects, so that they cannot drift apart.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel

from llama_operator.api.v1alpha1.llamadeployment import (
    MAX_NAME_LENGTH,
    LlamaDeployment,
    LlamaDeploymentSpec,
    ModelSpec,
    ParallelismMode,
    ParallelismSpec,
    Precision,
    ScalingMode,
    ScalingSpec,
)

_DNS_LABEL = "^[a-z]([a-z0-9-]*[a-z0-9])?$"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule over one object of a manifest.

    Attributes:
        model: The model whose instances it judges.
        field: API path of the field to blame, below that object.
        cel: The rule as CEL; `self` is the object.
        holds: The same rule in Python; takes an instance of `model`.
        message: What is allowed and what to do.
    """

    model: type[BaseModel]
    field: str
    cel: str
    holds: Callable[..., bool]
    message: str


def _name_fits(deployment: LlamaDeployment) -> bool:
    name = deployment.metadata.name
    return len(name) <= MAX_NAME_LENGTH and re.fullmatch(_DNS_LABEL, name) is not None


def _bounds(scaling: ScalingSpec) -> bool:
    return scaling.max_replicas >= scaling.min_replicas


def _zero_only_by_queue(scaling: ScalingSpec) -> bool:
    return scaling.min_replicas > 0 or scaling.mode is ScalingMode.QUEUE_DEPTH


def _manual_has_tensor(parallelism: ParallelismSpec) -> bool:
    return parallelism.mode is not ParallelismMode.MANUAL or parallelism.tensor is not None


def _auto_has_no_sizes(parallelism: ParallelismSpec) -> bool:
    sizes = (parallelism.tensor, parallelism.pipeline)
    return parallelism.mode is not ParallelismMode.AUTO or sizes == (None, None)


def _replicas_has_an_owner(spec: LlamaDeploymentSpec) -> bool:
    return spec.replicas is None or spec.scaling.mode is not ScalingMode.QUEUE_DEPTH


def _precisions_only_for_auto(model: ModelSpec) -> bool:
    return not model.precisions or model.precision is Precision.AUTO


def _no_precision_twice(model: ModelSpec) -> bool:
    return len(set(model.precisions)) == len(model.precisions)


def _batch_holds_sequences(spec: LlamaDeploymentSpec) -> bool:
    batch = spec.engine.arguments.max_num_seqs
    return batch is None or batch >= spec.context.concurrent_sequences


RULES: tuple[Rule, ...] = (
    Rule(
        model=LlamaDeployment,
        field="metadata.name",
        cel=f"self.metadata.name.size() <= {MAX_NAME_LENGTH} && self.metadata.name.matches('{_DNS_LABEL}')",
        holds=_name_fits,
        message=f"must be at most {MAX_NAME_LENGTH} characters, lower case letters, digits and '-', "
        "beginning with a letter: it becomes part of the names of Services and RayServices",
    ),
    Rule(
        model=ScalingSpec,
        field="maxReplicas",
        cel="self.maxReplicas >= self.minReplicas",
        holds=_bounds,
        message="must be at least minReplicas; raise maxReplicas or lower minReplicas",
    ),
    Rule(
        model=ScalingSpec,
        field="minReplicas",
        cel="self.minReplicas > 0 || self.mode == 'QueueDepth'",
        holds=_zero_only_by_queue,
        message="may be 0 only in mode QueueDepth; with other modes set spec.activation to Suspended to free the hardware",
    ),
    Rule(
        model=ParallelismSpec,
        field="tensor",
        cel="self.mode != 'Manual' || has(self.tensor)",
        holds=_manual_has_tensor,
        message="must be set when mode is Manual; set it, or use mode Auto",
    ),
    Rule(
        model=ParallelismSpec,
        field="mode",
        cel="self.mode != 'Auto' || (!has(self.tensor) && !has(self.pipeline))",
        holds=_auto_has_no_sizes,
        message="must be Manual when tensor or pipeline is set; set mode to Manual, or remove the sizes",
    ),
    Rule(
        model=ModelSpec,
        field="precisions",
        cel="!has(self.precisions) || self.precisions.size() == 0 || self.precision == 'Auto'",
        holds=_precisions_only_for_auto,
        message="may be set only when precision is Auto: a named precision is the only one; remove one of the two",
    ),
    Rule(
        model=ModelSpec,
        field="precisions",
        cel="!has(self.precisions) || self.precisions.all(p, self.precisions.exists_one(q, p == q))",
        holds=_no_precision_twice,
        message="must name each precision once; remove the repeated ones",
    ),
    Rule(
        model=LlamaDeploymentSpec,
        field="replicas",
        cel="!has(self.replicas) || self.scaling.mode != 'QueueDepth'",
        holds=_replicas_has_an_owner,
        message="may be set only when scaling.mode is Manual or External: in mode QueueDepth the autoscaler owns the "
        "number of replicas; change scaling.minReplicas and scaling.maxReplicas instead",
    ),
    Rule(
        model=LlamaDeploymentSpec,
        field="engine.arguments.maxNumSeqs",
        cel="!has(self.engine.arguments.maxNumSeqs) || "
        "self.engine.arguments.maxNumSeqs >= self.context.concurrentSequences",
        holds=_batch_holds_sequences,
        message="must be at least context.concurrentSequences: memory would be held for sequences that are never "
        "computed together; raise maxNumSeqs or lower concurrentSequences",
    ),
)

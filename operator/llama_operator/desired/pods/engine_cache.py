"""The volume with what engines compile and measure at their start, beside the copy of their weights. Called by `desired.rayservice`.

The folder follows from what the engine is started with, and from nothing that differs between two revisions with the same
arguments: a name, a time or a limit of tenants. The engine's own keys tell apart what it compiles below it. Its variable
is none of what these keys are made of.
"""

import hashlib
import json
from dataclasses import replace
from typing import Final

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.api.v1alpha1.weights import EngineCache
from llama_operator.decide.copies.source import Copy
from llama_operator.decide.plan.candidate import Candidate
from llama_operator.desired.pods.caches import ENGINE_VARIABLE
from llama_operator.desired.pods.parts import PodParts
from llama_operator.desired.pods.weights import volume_of
from llama_serving.config import ServingConfig
from llama_serving.contract.weights import ENGINES_FOLDER

_MOUNT: Final = "/var/cache/llama-engines"
_LENGTH: Final = 16


def kept(
    parts: PodParts,
    deployment: LlamaDeployment,
    chosen: Candidate,
    config: ServingConfig,
    image: str,
    copies: tuple[Copy, ...],
) -> PodParts:
    """The parts with the engine's caches in the claim of its weights; as they are without a copy, or where the spec switches it off.

    Args:
        parts: Parts of a worker, which keep the caches in the pod.
        deployment: The deployment.
        chosen: The plan of one replica.
        config: What the pods serve.
        image: Image of the pods: what another one compiled is not read.
        copies: Copies that the pods read.
    """
    own = (chosen.variant.volume_claim, chosen.variant.volume_path)
    copy = next((one for one in copies if (one.claim, one.weights) == own), None)
    # An image is read-only: what is compiled stays in the pod.
    if copy is None or copy.is_image or deployment.spec.weights.engine_cache is not EngineCache.ENABLED:
        return parts
    folder = f"{_MOUNT}/{key(chosen, config, image)}"
    # The memory plan is of a GPU.
    plan = {} if config.placement.device == "CPU" else {"VLLM_ENABLE_STARTUP_PLAN": "1"}
    moved = replace(parts, environment={**parts.environment, ENGINE_VARIABLE: folder})
    mount = {_MOUNT: {"name": volume_of(copy), "subPath": ENGINES_FOLDER}}
    return moved + PodParts(environment=plan, mounts=mount)


def key(chosen: Candidate, config: ServingConfig, image: str) -> str:
    """Name of the folder: equal for engines that are started with the same."""
    what = {
        "image": image,
        "accelerator": chosen.accelerator.name,
        "source": config.source.model_dump(mode="json", exclude_none=True),
        # How weights are read changes nothing of what is compiled.
        "engine": config.engine.model_dump(mode="json", exclude_none=True, exclude={"load_format", "stream"}),
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:_LENGTH]

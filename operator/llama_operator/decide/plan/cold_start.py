"""Time that a replica takes from nothing to its first answer, stage by stage.

Called by `decide.plan.planner` for the chosen candidate, and by `cli.cost.command`. A sum of published constants; each has its
source in `catalog/data/cold_start.json`, and docs/performance-model.md compares the sum with published totals.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from llama_operator.api.v1alpha1.weights import CacheMode
from llama_operator.catalog.accelerators import Accelerator
from llama_operator.catalog.figures import cold_start as facts
from llama_operator.catalog.figures.cold_start import WeightSourceName
from llama_operator.catalog.models import Model, Variant
from llama_operator.decide.plan.memory import Sharding

StageName = Literal["Copy", "Node", "Image", "Weights", "Engine", "Compile", "Graphs"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a cold start."""

    name: StageName
    seconds: int
    """Rounded up."""


def stages(
    model: Model,
    variant: Variant,
    accelerator: Accelerator,
    sharding: Sharding,
    source: WeightSourceName = "HuggingFace",
    *,
    node_ready: bool = False,
    image_present: bool = False,
) -> tuple[Stage, ...]:
    """Predict the stages of a cold start, in their order.

    Every node of a replica reads all of the weights: that is what a Hugging Face snapshot and a shared volume do.

    Args:
        model: Architecture facts.
        variant: Weights; a start may read more bytes than it keeps.
        accelerator: Card; on the CPU nothing is compiled and no graphs are captured.
        sharding: Tensor and pipeline parallel sizes.
        source: Where the weights are read from.
        node_ready: Whether a node is there already.
        image_present: Whether the image is on the node already.

    Returns:
        Every stage with its seconds, rounded up; 0 for one that is not needed.
    """
    known, layers = facts.load(), model.architecture.num_hidden_layers
    gpu = accelerator.device == "GPU"
    stage_layers = math.ceil(layers / sharding.pipeline)
    to_read = 0 if model.generated else variant.bytes_to_read
    image = known.image_bytes.value / known.image_bytes_per_second.value
    seconds: tuple[tuple[StageName, float], ...] = (
        ("Node", 0 if node_ready else known.node_seconds.value),
        ("Image", 0 if image_present else image),
        ("Weights", to_read / known.weight_source(source).bytes_per_second),
        ("Engine", known.engine_seconds.value + known.engine_seconds_per_rank.value * sharding.ranks),
        (
            "Compile",
            known.compile_seconds.value + known.compile_milliseconds_per_layer.value * stage_layers / 1e3 if gpu else 0,
        ),
        ("Graphs", known.graph_milliseconds_per_layer.value * stage_layers / 1e3 if gpu else 0),
    )
    return tuple(Stage(name, math.ceil(length)) for name, length in seconds)


def read_from(mode: CacheMode, variant: Variant) -> WeightSourceName:
    """Return where pods read weights from: the volume of a copy, the disk of a node with an image, or else the source, on every node."""
    match mode:
        case CacheMode.CLAIM:
            return "NetworkVolume"
        case CacheMode.IMAGE:
            return "LocalDisk"
        case CacheMode.NONE if variant.volume_claim is not None:
            return "NetworkVolume"
        case CacheMode.NONE:
            return "HuggingFace" if variant.uri is None else "ObjectStore"


def stages_of(
    model: Model, variant: Variant, accelerator: Accelerator, sharding: Sharding, mode: CacheMode
) -> tuple[Stage, ...]:
    """Predict the stages of a start on a new node, as `stages` does.

    Args:
        model: Architecture facts.
        variant: Weights.
        accelerator: Card.
        sharding: Tensor and pipeline parallel sizes.
        mode: Where pods read the weights from; a new node pulls an image with weights beside that of the engine.
    """
    found = stages(model, variant, accelerator, sharding, read_from(mode, variant))
    if mode is not CacheMode.IMAGE or model.generated:
        return found
    pull = math.ceil(variant.bytes_to_read / facts.load().image_bytes_per_second.value)
    return tuple(Stage(one.name, one.seconds + pull) if one.name == "Image" else one for one in found)


def copy_stage(sizes: Iterable[int]) -> Stage:
    """Predict the copies that are made once, before any start: side by side, so the longest counts.

    The slower of the Hub and a network volume is the limit.

    Args:
        sizes: Bytes of each.
    """
    known = facts.load()
    rate = min(known.weight_source(name).bytes_per_second for name in ("HuggingFace", "NetworkVolume"))
    return Stage("Copy", math.ceil(max(sizes, default=0) / rate))


def total_seconds(predicted: tuple[Stage, ...]) -> int:
    """Return the sum of all stages of a start, in seconds: the copy is made once, and no start waits for it."""
    return sum(stage.seconds for stage in predicted if stage.name != "Copy")

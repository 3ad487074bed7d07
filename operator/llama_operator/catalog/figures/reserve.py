"""What the engine needs of a GPU beside weights and KV cache: constants of the estimate, and what they were fitted to.

The data is in `data/reserve.json`; `decide.plan.memory` applies the constants, the tests compare them with every working point,
docs/planning.md says how they were found.
"""

from typing import Annotated

from pydantic import Field

from llama_operator.catalog.models import Count, Fact, Name, Precision
from llama_operator.catalog.packaged import packaged


class WorkingPoint(Fact):
    """One published start of an engine: it bounds the reserve from above if it worked, from below if it failed."""

    model: Name
    precision: Precision
    repository: str | None = None
    weight_bytes: Count | None = None
    """Weights that the source states if they are not those of the catalog's variant."""
    accelerator: str
    tensor: Count = 1
    pipeline: Count = 1
    utilization_percent: Count
    kv_element_bytes: Count = 2
    batched_tokens: Count | None = None
    """Tokens of one step if the source or a rule of its engine sets them; None for the card's default."""
    max_num_seqs: Count = 256
    eager: bool = False
    tokens: Count
    """KV cache tokens that the start asked for."""
    works: bool
    older_engine: bool = False
    """It worked with an engine that counted less than the pinned one before it sized the KV cache; the plan must refuse it."""
    kv_cache_bytes: Count | None = None
    """KV cache of a GPU as the engine logged it, if the source says it."""
    source: str


class Reserve(Fact):
    """Constants of the reserve. Sizes in MiB are per GPU."""

    base_mib: Count
    """CUDA context, libraries and what the allocator cannot use."""
    communication_mib: Count
    """Buffers of NCCL and of the all-reduce kernels, with more than one GPU."""
    graph_mib_per_layer: Count
    """What captured graphs take while the engine runs, per layer on the GPU; none in eager mode."""
    graph_piece_kib: Count
    """What vLLM counts for a graph of one piece (a layer) and one size before it sizes the KV cache: the mean of two models."""
    whole_graph_kib: Count
    """What it counts for a graph of a whole decode step of one size."""
    hidden_widths: Count
    """16-bit buffers of the hidden size that one token holds at the peak of a layer: residual, input, output."""
    feed_forward_widths: Count
    """16-bit buffers of the feed-forward width, divided by the tensor size: gate, up and their product, and one that a start
    without a compile cache takes while it compiles (vllm#54122)."""
    logits_bytes_per_entry: Count
    """Bytes of the sampler per sequence and entry of the vocabulary: logits, their 32-bit copies, sorted values, 64-bit
    indices. It runs after the layers: the peak is the larger of the two."""
    experts_mib: Count
    """Workspace of the routed experts' kernels, while a layer runs."""
    image_encoder_mib: Count
    """Image encoder at the largest image, which the engine runs once at the start, and its cache."""
    margin_percent: Count
    """Added to the sum: the allocator's fragments, drivers and versions differ."""
    cpu_share_percent: Count
    """On CPU, share of a rank's memory instead of all this."""
    working_points: Annotated[tuple[WorkingPoint, ...], Field(min_length=1)]


load = packaged("reserve.json", Reserve)
"""Reads the constants that come with the package."""

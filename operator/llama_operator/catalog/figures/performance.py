"""Facts that the performance model needs: links between cards, and coefficients of the engine.

The data is in `data/performance.json`. `decide.plan.performance` predicts with it, and `make calibrate` writes the
coefficients. These figures are fitted; those in `accelerators` come from datasheets.
"""

from typing import Annotated, Literal

from pydantic import Field

from llama_operator.catalog.models import Fact
from llama_operator.catalog.packaged import packaged

Share = Annotated[float, Field(gt=0, le=1)]
"""Part of a datasheet figure that is reached."""


class Link(Fact):
    """How fast the cards of one kind reach each other; 1 GB = 1e9 bytes, one direction."""

    accelerator: str
    gb_per_second: Annotated[float, Field(gt=0)]
    """Between two cards of a node."""
    reduction: Literal["Ring", "Switch"]
    """How an all-reduce runs: bytes go around all cards, or the switch adds them up (NVLink SHARP)."""
    node_gb_per_second: Annotated[float, Field(gt=0)]
    """Between two nodes, for each card."""
    source: Annotated[str, Field(min_length=1)]


class EngineCoefficients(Fact):
    """The share of the hardware's speed that an engine reaches, and the time that it adds to each step."""

    name: Annotated[str, Field(min_length=1)]
    compute_efficiency_16_bit: Share
    """Of the matrix products with 16-bit weights."""
    compute_efficiency_8_bit: Share
    attention_compute_efficiency: Share
    """Of attention, which computes in 16 bits for weights of every precision."""
    weight_read_efficiency: Share
    cache_read_efficiency_16_bit: Share
    """Of reading the KV cache, whose blocks are scattered."""
    cache_read_efficiency_8_bit: Share
    """Of reading a KV cache with one byte per element, which must be converted too."""
    overlap_exponent: Annotated[float, Field(ge=1)]
    """How far a matrix product hides its memory traffic behind its arithmetic: (a^p + b^p)^(1/p) of both times; 1 adds
    them, infinity takes the longer one."""
    link_efficiency: Share
    link_latency_us: Annotated[float, Field(ge=0)]
    """Of one all-reduce, beside its bytes."""
    step_overhead_us: Annotated[float, Field(ge=0)]
    """Scheduling, sampling and detokenizing of one step."""
    layer_overhead_us: Annotated[float, Field(ge=0)]
    """Kernel launches and small operations of one layer in one step."""
    pipeline_balance: Share
    """Part of the time that a pipeline stage is busy under full load: steps differ in length, so stages wait for each
    other. Assumed; 1 stage never waits."""
    arrival_wait_steps: Annotated[float, Field(ge=0)]
    """Steps that a request waits for on average before one takes its prompt, on a loaded replica."""
    calibrated: Annotated[str, Field(min_length=1)]
    """The figures that it was fitted to."""


class PerformanceFacts(Fact):
    """All of the data file."""

    links: tuple[Link, ...]
    engines: tuple[EngineCoefficients, ...]

    def link(self, accelerator: str) -> Link | None:
        """Link of an accelerator; None if it is unknown."""
        return next((link for link in self.links if link.accelerator == accelerator), None)

    def engine(self, name: str) -> EngineCoefficients:
        """Coefficients of an engine.

        Raises:
            KeyError: If the data file has none of that name.
        """
        return {engine.name: engine for engine in self.engines}[name]


load = packaged("performance.json", PerformanceFacts)
"""Reads the facts that come with the package."""

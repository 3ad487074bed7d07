"""Constants of a cold start, each with its source: how long a node, an image, the weights and the engine take.

The data is in `data/cold_start.json`; `decide.plan.cold_start` adds them up.
"""

from typing import Annotated, Literal

from pydantic import Field

from llama_operator.catalog.models import Count, Fact
from llama_operator.catalog.packaged import packaged

WeightSourceName = Literal["HuggingFace", "ObjectStore", "NetworkVolume", "LocalDisk"]
"""Where a pod reads its weights from."""


class Constant(Fact):
    """One figure and where it is from."""

    value: Annotated[int, Field(ge=0)]
    source: Annotated[str, Field(min_length=1)]


class WeightSource(Fact):
    """How fast one node reads weights into its accelerators."""

    name: WeightSourceName
    bytes_per_second: Count
    source: Annotated[str, Field(min_length=1)]


class ColdStartFacts(Fact):
    """All of the data file."""

    node_seconds: Constant
    """From a pod that no node can hold to a node that is ready."""
    image_bytes: Constant
    """Compressed, as pulled."""
    image_bytes_per_second: Constant
    engine_seconds: Constant
    """Processes, imports and memory profiling, for every model."""
    engine_seconds_per_rank: Constant
    """What each further rank adds: workers, communicators."""
    compile_seconds: Constant
    """Without a compile cache."""
    compile_milliseconds_per_layer: Constant
    graph_milliseconds_per_layer: Constant
    """Capturing CUDA graphs: once to reckon their memory, and once to keep them."""
    weight_sources: Annotated[tuple[WeightSource, ...], Field(min_length=1)]

    def weight_source(self, name: WeightSourceName) -> WeightSource:
        """The weight source of that name.

        Raises:
            KeyError: If the data file lacks it.
        """
        return {source.name: source for source in self.weight_sources}[name]


load = packaged("cold_start.json", ColdStartFacts)
"""Reads the constants that come with the package."""

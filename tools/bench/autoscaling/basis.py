"""What a kept line rests on, and whether it still does. Called by `bench.autoscaling.play`, `.chaos` and `.setups`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.autoscaling import digests, loads
from bench.autoscaling.cells import Workload


def basis(autoscaler: str, workload: Workload, seed: int, kept: Path) -> dict[str, str]:
    """Return hashes of the code that plays, of what the workload is, and of its arrivals."""
    return {
        "digest": digests.digest(autoscaler),
        "defined": digests.definition(workload),
        "arrivals": loads.arrivals_of(workload, seed, kept),
    }


def rests_on(content: Mapping[str, Any], hashes: Mapping[str, str]) -> bool:
    """Whether what was kept rests on these hashes; an empty one says nothing."""
    return all(content.get(key) == value for key, value in hashes.items() if value)

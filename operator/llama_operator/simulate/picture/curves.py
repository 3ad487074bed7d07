"""What is drawn of a run: replicas, need and queue over time. Called by `simulate.picture.sketch` and `simulate.picture.svg`."""

from collections.abc import Sequence
from dataclasses import dataclass

from llama_operator.simulate.need import Need
from llama_operator.simulate.run import Record


@dataclass(frozen=True, slots=True)
class Curves:
    """Values at the same number of moments, evenly spread over the trace."""

    seconds: tuple[float, ...]
    ready: tuple[float, ...]
    held: tuple[float, ...]
    """Replicas that hold GPUs."""
    need: tuple[float, ...]
    queued: tuple[float, ...]
    """Most requests that waited since the moment before."""

    @property
    def highest(self) -> float:
        """Most replicas of all curves."""
        return max((*self.ready, *self.held, *self.need), default=0.0)


def curves(record: Record, need: Need, length: float, moments: int) -> Curves:
    """Take the curves of a run at so many moments.

    Args:
        record: The run.
        need: Replicas that had to serve.
        length: Seconds of the trace.
        moments: How many values each curve has.
    """
    rows = [second for second in record.seconds if second.at <= length]
    parts = _parts(len(rows), moments)
    return Curves(
        seconds=tuple(rows[first].at for first, _ in parts),
        ready=tuple(float(rows[first].ready) for first, _ in parts),
        held=tuple(float(rows[first].held) for first, _ in parts),
        need=tuple(float(need.at(rows[first].at)) for first, _ in parts),
        queued=tuple(float(max(row.queued for row in rows[first:last])) for first, last in parts),
    )


def _parts(count: int, moments: int) -> Sequence[tuple[int, int]]:
    """Bounds of at most `moments` parts of about the same size."""
    parts = min(count, moments)
    return [(count * part // parts, count * (part + 1) // parts) for part in range(parts)]

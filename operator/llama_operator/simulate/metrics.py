"""What autoscalers get to see of a simulated fleet: samples, their means over a window, and the delay that both bring.

A replica reports its queue, what runs, its cache and its counters twice a second, and the controller takes means over three seconds, as Serve does
with `METRICS_INTERVAL_SECONDS` and `METRICS_WINDOW_SECONDS` of `llama_serving.config`. Counters too: so what leaves the queue of the router
is seen to be taken at the same time. Called by `simulate.run`.
"""

from collections import deque
from collections.abc import Sequence

from llama_operator.simulate.fleet_view import FleetView, ReplicaView
from llama_operator.simulate.replica import Replica

EVERY_SECONDS = 0.5
SAMPLES = 6
"""Of three seconds."""
_MEANS = (
    "waiting",
    "running",
    "kv_usage",
    "accepted",
    "finished",
    "prompt_tokens",
    "prompt_pairs",
    "generated_tokens",
)


class Metrics:
    """The metrics of one run."""

    def __init__(self, slots: int, kv_tokens: int) -> None:
        self._slots, self._kv_tokens = slots, kv_tokens
        self._queue: deque[int] = deque(maxlen=SAMPLES)

    def sample(self, ready: Sequence[Replica], queued: int, now: float) -> None:
        """Take one sample of everything."""
        self._queue.append(queued)
        for replica in ready:
            replica.samples.append((now, replica.engine.read(now)))

    def view(
        self, ready: Sequence[Replica], *, target: int, bounds: tuple[int, int], cold_start_seconds: float, now: float
    ) -> FleetView:
        """Return what an autoscaler sees at `now`."""
        return FleetView(
            now=now,
            ready=len(ready),
            target=target,
            router_queue=sum(self._queue) / len(self._queue) if self._queue else 0.0,
            minimum=bounds[0],
            maximum=bounds[1],
            cold_start_seconds=cold_start_seconds,
            replicas=tuple(self._of(replica) for replica in ready if replica.samples),
        )

    def _of(self, replica: Replica) -> ReplicaView:
        count = len(replica.samples)
        totals = [0.0] * len(_MEANS)
        for _, reading in replica.samples:
            for place, name in enumerate(_MEANS):
                totals[place] += getattr(reading, name)
        return ReplicaView(
            name=replica.name,
            slots=self._slots,
            reported_at=replica.samples[-1][0],
            kv_tokens=self._kv_tokens,
            **{name: total / count for name, total in zip(_MEANS, totals, strict=True)},
        )

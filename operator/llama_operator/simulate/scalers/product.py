"""The policy that runs in the product: the same pure `decide`, on what the simulated fleet reports. Made by `simulate.scalers.table`."""

from llama_operator.simulate.fleet_view import FleetView, ServeDelays, Wish
from llama_serving.autoscaling import Memory, ReplicaLoad, Signal, decide


class Product:
    """One run of the product's policy."""

    name = "product"

    def __init__(self, *, target_queue_depth: float, upscale_delay: float, downscale_delay: float) -> None:
        self._depth = target_queue_depth
        self._memory = Memory()
        self.delays = ServeDelays(upscale_delay, downscale_delay)

    def wish(self, view: FleetView) -> Wish:
        """Decide as in Serve's controller."""
        signal = Signal(
            queued=view.router_queue,
            loads=tuple(ReplicaLoad(one.waiting, one.running, one.kv_usage, one.slots) for one in view.replicas),
            ready=view.ready,
            target=view.target,
            target_queue_depth=self._depth,
            minimum=view.minimum,
            maximum=view.maximum,
        )
        decision = decide(signal, self._memory, now=view.now)
        self._memory = decision.memory
        return Wish(decision.replicas, decision.reason)

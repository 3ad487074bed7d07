"""Ray Serve's own policy with its default delays. Made by `simulate.scalers.table`.

`ray/serve/autoscaling_policy.py`, `_core_replica_queue_length_policy`: ongoing requests over the target of one replica, up after 30 s, down
after 600 s (`AutoscalingConfig`).
"""

from llama_operator.simulate.fleet_view import FleetView, ServeDelays, Wish

_TARGET_ONGOING = 25.0
"""For this engine; Serve's default of 2 would keep a fleet for one request in a hundred slots."""


class ServeDefault:
    """Serve's default policy."""

    name = "Ray Serve"
    delays = ServeDelays(upscale=30.0, downscale=600.0)

    def __init__(self, target: float = _TARGET_ONGOING) -> None:
        self._target = target

    def wish(self, view: FleetView) -> Wish:
        """Wish one replica for each `target` ongoing requests, rounded up by Serve's wrapper."""
        if view.ready == 0:
            return Wish(view.target)
        return Wish(-int(-view.in_flight // self._target))

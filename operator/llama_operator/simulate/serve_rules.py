"""What Ray Serve 2.60 makes of the wish of a policy: factors, delays, bounds, and its own answer at zero replicas.

As `ray/serve/autoscaling_policy.py`: `_apply_scaling_factors`, `_apply_delay_logic` and `_apply_autoscaling_config`. Called by
`simulate.run` for scalers that run inside Serve; a test holds it against the installed Ray.
"""

import math

from llama_operator.simulate.fleet_view import ServeDelays

_EPSILON = 1e-6
"""By which Ray forgives the rounding of differences of times."""


class ServeRules:
    """Applies the rules; keeps since when, and in which direction, the wish differs from the target."""

    def __init__(self, delays: ServeDelays) -> None:
        self._delays = delays
        self._direction = 0
        self._since: float | None = None

    def at_zero(self, ready: int, target: int, requests: float) -> int | None:
        """Return what Serve asks for by itself while nothing serves and requests wait; None where the policy is asked."""
        if ready or requests <= 0 or self._delays.asked_at_zero:
            return None
        return max(math.ceil(self._delays.upscaling_factor), target)

    def apply(self, wish: float, *, ready: int, target: int, now: float) -> int:
        """Return the number of replicas that Serve asks for, before the bounds.

        Args:
            wish: What the policy wishes.
            ready: Replicas that serve; the factors apply to the difference from them.
            target: Replicas that were asked for; the delays apply to the difference from them.
            now: Seconds.
        """
        scaled = self._scaled(wish, ready)
        if ready == 0 and scaled > 0:
            return scaled
        return self._delayed(max(0, scaled), target, now)

    def _scaled(self, wish: float, ready: int) -> int:
        if ready == 0:
            return math.ceil(wish)
        missing = wish - ready
        factor = self._delays.upscaling_factor if missing > 0 else self._delays.downscaling_factor
        scaled = math.ceil(ready + factor * missing)
        return scaled - 1 if math.ceil(wish) < ready and scaled == ready else scaled

    def _delayed(self, wish: int, target: int, now: float) -> int:
        direction = (wish > target) - (wish < target)
        if direction == 0:
            self._direction, self._since = 0, None
            return target
        if direction != self._direction or self._since is None:
            self._direction, self._since = direction, now
        delay = self._delays.upscale if direction > 0 else self._delays.downscale
        if now - self._since + _EPSILON < delay:
            return target
        self._direction, self._since = 0, None
        # Only one replica goes to none.
        return wish if direction > 0 or target == 1 else max(1, wish)

"""The policy that runs in the product: the same pure `decide`, on what the simulated fleet reports. Made by `simulate.scalers.table`."""

import math
from dataclasses import replace

from llama_operator.catalog.figures import performance
from llama_operator.simulate.fleet_view import FleetView, ReplicaView, ServeDelays, Wish
from llama_operator.simulate.run import Setup
from llama_serving.autoscaling.memory import Memory
from llama_serving.autoscaling.policy import decide
from llama_serving.autoscaling.signal import ALL_ENGINES, Facts, Knobs, ReplicaReading, Signal

_LONG_AGO = 1e6
"""Second at which a run begins for the policy: it takes 0 for never."""
_CHOICES = {"Direct": ALL_ENGINES, "Ingress": 2.0}
"""As replicas report it (`llama_serving.engine.autoscaling_report`)."""
_NO_DELAYS = ServeDelays(0.0, 0.0)


class Product:
    """One run of the product's policy.

    Args:
        facts: What a replica reports of the plan.
        target_queue_depth: `spec.scaling.targetQueueDepth`.
        price: What a late request is worth: `spec.scaling.preference`.
        reserve: `spec.scaling.reserve`.
        delays: Those of Serve that the user has set.
    """

    name = "product"

    def __init__(
        self,
        facts: Facts,
        *,
        target_queue_depth: float,
        price: float = 20.0,
        reserve: float = 0.0,
        delays: ServeDelays = _NO_DELAYS,
    ) -> None:
        # As in Serve: with a delay that the user has set, nothing else is held.
        self._knobs = Knobs(price, reserve, 0.0 if delays.downscale > 0 else None)
        self._facts, self._depth = facts, target_queue_depth
        self._memory = Memory()
        self.delays = replace(delays, asked_at_zero=True)

    def wish(self, view: FleetView) -> Wish:
        """Decide as in Serve's controller."""
        signal = Signal(
            queued=view.router_queue,
            replicas=tuple(map(_reading, view.replicas)),
            ready=view.ready,
            target=view.target,
            target_queue_depth=self._depth,
            minimum=view.minimum,
            maximum=view.maximum,
        )
        facts = replace(self._facts, cold_start=view.cold_start_seconds)
        decision = decide(signal, self._memory, now=view.now + _LONG_AGO, facts=facts, knobs=self._knobs)
        self._memory = decision.memory
        return Wish(decision.replicas, decision.reason)

    def forget(self) -> None:
        """Begin with an empty memory, as after a loss of the Ray cluster's head."""
        self._memory = Memory()


def facts_of(setup: Setup) -> Facts:
    """Return what replicas report of their plan."""
    speed = setup.speed
    step = max(0.0, speed.by_tokens[-1] - speed.work_per_token * speed.most_tokens)
    return Facts(
        per_token=speed.work_per_token,
        per_pair=speed.per_pair,
        per_cached_token=speed.per_cached_token,
        weights=max(0.0, speed.by_tokens[1] - step),
        step=step,
        overlap=performance.load().engine("vLLM").overlap_exponent,
        objective=setup.first_token,
        cold_start=setup.cold_start.seconds,
        choices=_CHOICES[setup.limits.path],
    )


def _reading(view: ReplicaView) -> ReplicaReading:
    return ReplicaReading(
        name=view.name,
        waiting=view.waiting,
        running=view.running,
        kv_usage=view.kv_usage,
        slots=view.slots,
        accepted=view.accepted,
        finished=view.finished,
        prompt_tokens=view.prompt_tokens,
        prompt_pairs=view.prompt_pairs,
        generated_tokens=view.generated_tokens,
        kv_tokens=view.kv_tokens,
        reported_at=view.reported_at + _LONG_AGO if math.isfinite(view.reported_at) else view.reported_at,
    )

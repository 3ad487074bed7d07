"""The autoscalers by name, and what each needs to be made. Called by the command and the bench."""

from collections.abc import Callable
from dataclasses import dataclass

from llama_operator.simulate.fleet_view import Scaler, ServeDelays
from llama_operator.simulate.need import BIN_SECONDS, Need
from llama_operator.simulate.run import Setup
from llama_operator.simulate.scalers.apa import Apa
from llama_operator.simulate.scalers.forecast import Forecast
from llama_operator.simulate.scalers.hpa import Hpa, Keda, in_flight, waiting
from llama_operator.simulate.scalers.known import Clairvoyant, Fixed, InTheSecond
from llama_operator.simulate.scalers.kpa import Kpa
from llama_operator.simulate.scalers.product import Product, facts_of
from llama_operator.simulate.scalers.serve_default import ServeDefault
from llama_operator.simulate.traces.trace import Trace

_IN_FLIGHT = 25.0
"""Per replica, for autoscalers on requests in flight: half of the work that one can do, which is where they are calm."""
_FIRST_SECONDS = 120.0
_SHARE = 0.8
"""Of an engine's time that a load test gives as its capacity."""


@dataclass(frozen=True, slots=True)
class Case:
    """What scalers are made for."""

    setup: Setup
    trace: Trace
    need: Need
    target_queue_depth: float = 4.0
    upscale_delay: float = 0.0
    downscale_delay: float = 0.0
    price: float = 20.0
    reserve: float = 0.0

    @property
    def work_per_request(self) -> float:
        """Engine seconds of a request, on average."""
        arrivals = self.trace.arrivals
        total = sum(self.setup.speed.work(one.prompt_tokens, one.output_tokens) for one in arrivals)
        return total / max(1, len(arrivals))

    @property
    def initial(self) -> int:
        """Replicas that serve at the beginning of every run of the case: those that the clairvoyant needs in the first two minutes.

        A trace begins in the middle of a load; nobody could have started replicas before it.
        """
        bins = int(_FIRST_SECONDS / BIN_SECONDS)
        return max(self.setup.bounds[0], *(self.need.at(place * BIN_SECONDS) for place in range(bins)))


def _product(case: Case) -> Scaler:
    return Product(
        facts_of(case.setup),
        target_queue_depth=case.target_queue_depth,
        price=case.price,
        reserve=case.reserve,
        delays=ServeDelays(case.upscale_delay, case.downscale_delay),
    )


def _clairvoyant(case: Case) -> Scaler:
    return Clairvoyant(case.need, case.setup.cold_start.seconds, case.setup.bounds[0])


def _in_the_second(case: Case) -> Scaler:
    setup = case.setup
    moves = setup.limits.path == "Ingress"
    return InTheSecond(case.need, setup.cold_start.seconds, setup.bounds[0], case.work_per_request, moves=moves)


SCALERS: dict[str, Callable[[Case], Scaler]] = {
    "product": _product,
    "fixed": lambda case: Fixed(case.need.peak),
    "hpa-waiting": lambda case: Hpa("HPA on waiting", waiting, case.target_queue_depth),
    "hpa-in-flight": lambda _: Hpa("HPA on in flight", in_flight, _IN_FLIGHT),
    "keda": lambda _: Keda(),
    "ray-serve": lambda _: ServeDefault(_IN_FLIGHT),
    "kpa": lambda _: Kpa(_IN_FLIGHT / 0.7),
    "apa": lambda _: Apa(),
    "forecast": lambda case: Forecast(_SHARE / case.work_per_request),
    "in-the-second": _in_the_second,
    "clairvoyant": _clairvoyant,
}
"""Makes each autoscaler, by the name that users type."""

SHIPPED = ("hpa-waiting", "hpa-in-flight", "keda", "ray-serve", "kpa", "apa", "forecast")
"""Those that others ship or publish."""

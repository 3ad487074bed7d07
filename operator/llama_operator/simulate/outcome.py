"""What a run was worth: first tokens within the objective, and the GPU time that they took. Called by the command, the bench and `simulate.need`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil, isfinite

from llama_operator.simulate.request import End, Request
from llama_operator.simulate.run import Record, Setup, run
from llama_operator.simulate.step_time import StepTime

_SECONDS_PER_HOUR = 3600.0
_ALONE_SHARE = 2.0
"""A prompt that alone takes more than a half of the objective gets twice its own time: no fleet makes it faster."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run in figures."""

    requests: int
    """Without those that are too long: no fleet answers them."""
    within: int
    """Requests whose first token came within the objective."""
    too_long: int
    refused: int
    cut: int
    pending: int
    """Not ended when the simulation stopped."""
    largest_wait: float
    """Longest time to a first token of those that got one, in seconds."""
    p99_wait: float
    gpu_hours: float
    peak: int
    changes: int

    @property
    def attainment(self) -> float:
        """Share of the requests whose first token came within the objective."""
        return self.within / self.requests if self.requests else 1.0


def allowed_seconds(prompt_tokens: int, objective: float, speed: StepTime) -> float:
    """Return the seconds that the first token of a request may take."""
    return max(objective, _ALONE_SHARE * speed.alone(prompt_tokens))


def within(request: Request, objective: float, speed: StepTime) -> bool:
    """Whether the first token of a request came in time."""
    wait = request.first_token - request.arrival.at
    return wait <= objective or wait <= allowed_seconds(request.arrival.prompt_tokens, objective, speed)


def outcome(record: Record, setup: Setup) -> Outcome:
    """Sum up a run."""
    objective, speed = setup.first_token, setup.speed
    requests = [request for request in record.requests if request.end is not End.TOO_LONG]
    waits = sorted(request.first_token - request.arrival.at for request in requests if isfinite(request.first_token))
    return Outcome(
        requests=len(requests),
        within=sum(within(request, objective, speed) for request in requests),
        too_long=len(record.requests) - len(requests),
        refused=_ended(requests, End.REFUSED),
        cut=_ended(requests, End.CUT),
        pending=_ended(requests, End.PENDING),
        largest_wait=waits[-1] if waits else 0.0,
        p99_wait=waits[max(0, ceil(0.99 * len(waits)) - 1)] if waits else 0.0,
        gpu_hours=record.replica_seconds * setup.gpus / _SECONDS_PER_HOUR,
        peak=record.peak,
        changes=len(record.changes),
    )


def _ended(requests: Iterable[Request], *ends: End) -> int:
    return sum(request.end in ends for request in requests)


def late(record: Record, setup: Setup, width: float, bins: int) -> tuple[list[int], list[int]]:
    """Return, for each of so many bins of `width` seconds, how many first tokens came too late, and how many requests came.

    The last bin takes what comes after it. Requests that are too long count nowhere.
    """
    missed, arrived = [0] * bins, [0] * bins
    for request in record.requests:
        if request.end is End.TOO_LONG:
            continue
        place = min(bins - 1, int(request.arrival.at / width))
        arrived[place] += 1
        missed[place] += not within(request, setup.first_token, setup.speed)
    return missed, arrived


@dataclass(frozen=True, slots=True)
class Player:
    """Who plays runs, and reads what he has written: the reference, or an event loop that is compiled (`bench.compiled`)."""

    run: Callable[..., Record] = run
    outcome: Callable[[Record, Setup], Outcome] = outcome
    late: Callable[[Record, Setup, float, int], tuple[list[int], list[int]]] = late


REFERENCE = Player()
"""The event loop that users have: it needs nothing but Python."""

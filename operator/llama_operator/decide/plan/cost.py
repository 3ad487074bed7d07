"""Cost of a plan: per hour, per million tokens at a rate, and the tokens a day above which it is cheaper than an API.

Called by `decide.plan.planner` and `cli.cost.command`. Amounts are integers in millionths of a US dollar, rounded up.
"""

from dataclasses import dataclass
from typing import Final

from llama_operator.decide.plan.performance import Performance, Workload

_MINUTES_PER_HOUR = 60
_HOURS_PER_DAY = 24
_MINUTES_PER_DAY = _MINUTES_PER_HOUR * _HOURS_PER_DAY
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Comparison with an API that bills by tokens, prompt and answer alike."""

    tokens_per_day: int
    """With more tokens a day the deployment is cheaper than the API."""
    reachable: bool
    """Whether the replicas sustain so many tokens."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What runs beside the replicas, however many of them there are: the guard."""

    gpus: int = 0
    usd_micros_per_hour: int = 0


NOTHING_BESIDE: Final = Beside()


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of a number of replicas; amounts in millionths of a US dollar."""

    replicas: int
    gpus: int
    """With those beside the replicas."""
    usd_micros_per_hour: int
    """With what runs beside the replicas, as all amounts."""
    requests_per_minute: int
    """Rate at which the tokens are counted: the rate of the workload, or all that the replicas sustain."""
    tokens_per_day: int
    """Prompt and answer, at that rate."""
    usd_micros_per_million_tokens: int | None
    """Prompt and answer alike, at that rate; None if nothing is served."""
    usd_micros_per_million_output_tokens: int | None
    """The whole bill, divided only by the tokens of answers."""
    capacity_tokens_per_day: int
    """Prompt and answer, at all that the replicas sustain."""
    break_even: BreakEven | None
    """None if no API price was given."""


def cost(
    usd_micros_per_gpu_hour: int,
    gpus_per_replica: int,
    replicas: int,
    performance: Performance,
    workload: Workload,
    *,
    api_usd_micros_per_million_tokens: int | None = None,
    beside: Beside = NOTHING_BESIDE,
) -> Cost:
    """Calculate the cost of `replicas` replicas.

    Args:
        usd_micros_per_gpu_hour: Price of one card for one hour, in millionths of a US dollar.
        gpus_per_replica: Cards of one replica.
        replicas: Number of replicas that run all day.
        performance: Rate that one of them sustains.
        workload: Lengths of prompt and answer, and the rate; 0 for all that the replicas sustain.
        api_usd_micros_per_million_tokens: Price of the API to compare with, in millionths of a US dollar, for prompt and
            answer alike; None for no comparison.
        beside: What runs beside them.
    """
    per_hour = usd_micros_per_gpu_hour * gpus_per_replica * replicas + beside.usd_micros_per_hour
    capacity = performance.requests_per_minute * replicas
    rate = min(workload.requests_per_minute or capacity, capacity)
    tokens_per_request = workload.prompt_tokens + workload.output_tokens
    per_day = per_hour * _HOURS_PER_DAY
    tokens = rate * tokens_per_request * _MINUTES_PER_DAY
    capacity_tokens = capacity * tokens_per_request * _MINUTES_PER_DAY
    break_even = None
    if api_usd_micros_per_million_tokens:
        needed = _ceil_divide(per_day * _MILLION, api_usd_micros_per_million_tokens)
        break_even = BreakEven(needed, reachable=needed <= capacity_tokens)
    return Cost(
        replicas=replicas,
        gpus=gpus_per_replica * replicas + beside.gpus,
        usd_micros_per_hour=per_hour,
        requests_per_minute=rate,
        tokens_per_day=tokens,
        usd_micros_per_million_tokens=_per_million(per_day, tokens),
        usd_micros_per_million_output_tokens=_per_million(per_day, rate * workload.output_tokens * _MINUTES_PER_DAY),
        capacity_tokens_per_day=capacity_tokens,
        break_even=break_even,
    )


def _per_million(usd_micros: int, tokens: int) -> int | None:
    return _ceil_divide(usd_micros * _MILLION, tokens) if tokens else None


def _ceil_divide(value: int, by: int) -> int:
    return -(-value // by)

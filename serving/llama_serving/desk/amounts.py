"""What the parts of the desk tell each other about limits: amounts, leases, and why there is not enough. Pure data."""

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from llama_serving.contract.tenants import TenantLimits


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, by two clocks.

    Attributes:
        seconds: Of a clock that never goes back: for minutes.
        utc: Of the calendar, in UTC: for days and months.
    """

    seconds: float
    utc: datetime

    @property
    def day(self) -> str:
        """The day in UTC, `2026-11-27`."""
        return self.utc.isoformat()[:10]

    @property
    def month(self) -> str:
        """The month in UTC, `2026-11`."""
        return self.utc.isoformat()[:7]

    @property
    def next_day(self) -> datetime:
        """When the next day begins."""
        return self.utc.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)

    @property
    def next_month(self) -> datetime:
        """When the next month begins."""
        first = self.utc.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return (first + timedelta(days=32)).replace(day=1)


@dataclass(frozen=True, slots=True)
class Amount:
    """What a request needs, or a replica would like to have. Slots are places among the concurrent requests."""

    requests: int = 0
    tokens: int = 0
    slots: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """What the ledger has booked for a replica, to be used without asking again.

    Attributes:
        amount: How much.
        requests_bucket: Bucket of the ledger's window in which the requests stand; it is named when they come back unused.
        tokens_bucket: The same for the tokens.
    """

    amount: Amount
    requests_bucket: int = 0
    tokens_bucket: int = 0


class Short(StrEnum):
    """Which limit is reached."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENT = "concurrent"
    DAY = "day"
    MONTH = "month"
    LEDGER = "ledger"
    """None: the ledger cannot be reached, and what the tenant may still spend of a budget is not known."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a request cannot be admitted now.

    Attributes:
        short: The limit.
        seconds: After how many seconds it may be admitted, as far as that is known.
        until: When a budget starts again; None if only running requests hold what is missing, or it is no budget.
    """

    short: Short
    seconds: float
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Meter:
    """How a limit of a minute stands.

    Attributes:
        limit: The limit.
        remaining: What can be booked now.
        reset_seconds: When all of the limit can be booked again, if nobody uses more.
    """

    limit: int
    remaining: int
    reset_seconds: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How a tenant stands. None where it has no limit."""

    requests: Meter | None = None
    tokens: Meter | None = None
    budget_left: int | None = None
    """Tokens that neither the day nor the month forbids."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a replica tells the ledger about one tenant.

    What it holds and what it spent are whole sums, not changes: a statement that was lost is made good by the next one, and a
    ledger that starts empty learns from the first one what was spent.

    Attributes:
        limits: Limits that the replica enforces.
        held: What the replica keeps after this statement: booked for running requests, or not used yet.
        spent: Tokens that requests of this replica used, by day and month.
        returned: Leases, or parts of them, that go back unused.
        beyond: Used without a lease since the last statement that arrived.
        needs: What requests wait for, each for itself.
        ahead: What the replica would like to have for the next requests.
    """

    limits: TenantLimits
    held: Amount = Amount()
    spent: dict[str, int] = field(default_factory=dict)
    returned: tuple[Lease, ...] = ()
    beyond: Amount = Amount()
    needs: tuple[Amount, ...] = ()
    ahead: Amount = Amount()


@dataclass(frozen=True, slots=True)
class Reply:
    """What the ledger answers about one tenant: something for each need, in their order."""

    needs: tuple[Lease | Shortage, ...]
    ahead: Lease | None
    standing: Standing


@dataclass(frozen=True, slots=True)
class Answer:
    """What the ledger answers a replica.

    Attributes:
        replies: By tenant.
        replicas: Replicas that the ledger has heard of in the last minute.
    """

    replies: dict[str, Reply]
    replicas: int


def has_limits(limits: TenantLimits) -> bool:
    """Whether anything has to be booked for the tenant."""
    return (
        limits.requests_per_minute is not None
        or limits.concurrent_requests is not None
        or limits.tokens_per_minute is not None
        or has_budget(limits)
    )


def has_budget(limits: TenantLimits) -> bool:
    """Whether the tenant has a limit for a day or a month."""
    return limits.tokens_per_day is not None or limits.tokens_per_month is not None


def least_budget(limits: TenantLimits) -> int:
    """The smaller budget of the day and the month; 0 without one."""
    return min((limit for limit in (limits.tokens_per_day, limits.tokens_per_month) if limit is not None), default=0)


def counts_tokens(limits: TenantLimits) -> bool:
    """Whether tokens have to be booked for the tenant."""
    return limits.tokens_per_minute is not None or has_budget(limits)


def most_tokens_ever(limits: TenantLimits) -> tuple[int, str] | None:
    """Return the largest request that can ever be admitted, in tokens, and the words for its limit; None without one."""
    of = (
        (limits.tokens_per_minute, "a minute"),
        (limits.tokens_per_day, "a day"),
        (limits.tokens_per_month, "a month"),
    )
    known = [(limit, words) for limit, words in of if limit is not None]
    return min(known, default=None)


def whole_seconds(seconds: float) -> int:
    """Round up to what a header can say: at least a second, at most a day."""
    return max(1, math.ceil(min(seconds, 86_400.0)))

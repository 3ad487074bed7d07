"""What one replica has of one tenant's limits: leases that it may use without asking. Pure; `leases` keeps one for each tenant.

A request takes what it may use at most (`reserve`) and gives back what it did not use (`settle`).
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from llama_serving.contract.tenants import TenantLimits
from llama_serving.desk.amounts import (
    Amount,
    Lease,
    Meter,
    Moment,
    Reply,
    Short,
    Shortage,
    Standing,
    Statement,
    counts_tokens,
    has_budget,
    least_budget,
)
from llama_serving.desk.buckets import WINDOW_SECONDS, SlidingWindow
from llama_serving.desk.ledger import SLICE

_AHEAD_SECONDS: Final = 2.0
"""Leases for this time of the tenant's use are kept; more goes back."""

_LOW: Final = 0.5
"""Share of what is kept ahead below which more is asked for, so that no request waits for the answer."""

_ASK_SECONDS: Final = 0.1
"""Shortest time between two statements of which no request waits for the second."""

_OLD_SECONDS: Final = 10.0
"""A lease that is older goes back, and a new one is booked."""

_REFUSED_SECONDS: Final = 0.2
"""For this long what the ledger refused is refused again without asking it: a flood of requests is no flood of questions."""

_UNLIMITED: Final = 1 << 62
_NOTHING: Final = Amount()


@dataclass(slots=True)
class _Lot:
    """A part of a lease of one kind: the bucket of the ledger's window in which it stands, and when it was booked."""

    amount: int
    bucket: int
    at: float


@dataclass(slots=True)
class Reservation:
    """What a request holds until it is settled.

    Attributes:
        tokens: Most that it may use.
    """

    tokens: int
    _lots: list[_Lot] = field(default_factory=list)
    _slots: int = 0
    _requests_bucket: int = 0
    _tokens_bucket: int = 0
    _leased: bool = True


class Wallet:
    """Leases of one tenant in one replica.

    Args:
        limits: The tenant's limits.
    """

    def __init__(self, limits: TenantLimits) -> None:
        self.limits = limits
        """May change at any time; running requests keep what they reserved."""
        self._requests: deque[_Lot] = deque()
        self._tokens: deque[_Lot] = deque()
        self._free_slots = 0
        self._used_slots = 0
        self._reserved = 0
        self._spent: dict[str, int] = {}
        self._beyond = _NOTHING
        self._last = _NOTHING
        self._own_requests = SlidingWindow(_UNLIMITED)
        self._own_tokens = SlidingWindow(_UNLIMITED)
        self._refusal: tuple[Amount, Shortage, float] | None = None
        self._standing = Standing()
        self._standing_at = 0.0
        self._stated_at = -math.inf

    def reserve(self, need: Amount, now: Moment) -> Reservation | None:
        """Take `need` from the leases; None if they do not have all of it."""
        need = self._last = self.counted(need)
        # The ledger's window has forgotten what was booked a minute ago, and lends it again.
        self._drop_older_than(WINDOW_SECONDS, now)
        if need.requests > _sum(self._requests) or need.tokens > _sum(self._tokens) or need.slots > self._free_slots:
            return None
        _taken(self._requests, need.requests)
        self._free_slots -= need.slots
        return self._reserved_with(need, _taken(self._tokens, need.tokens), now)

    def remember(self, need: Amount, shortage: Shortage, now: Moment) -> None:
        """Remember that the ledger refused `need`."""
        self._refusal = (need, shortage, now.seconds)

    def refused_before(self, need: Amount, now: Moment) -> Shortage | None:
        """Return why the ledger has just refused as much as `need` or less."""
        if self._refusal is None:
            return None
        refused, shortage, at = self._refusal
        passed, need = now.seconds - at, self.counted(need)
        if passed >= min(_REFUSED_SECONDS, shortage.seconds):
            self._refusal = None
            return None
        less = need.requests < refused.requests or need.tokens < refused.tokens or need.slots < refused.slots
        return None if less else Shortage(shortage.short, shortage.seconds - passed, shortage.until)

    def reserve_from(self, lease: Lease, now: Moment) -> Reservation:
        """Take a lease that was booked for this one request."""
        need = self._last = lease.amount
        return self._reserved_with(
            need, [_Lot(need.tokens, lease.tokens_bucket, now.seconds)] if need.tokens else [], now
        )

    def reserve_alone(self, need: Amount, replicas: int, now: Moment) -> Reservation | Shortage:
        """Take `need` while the ledger is away: no more than an equal share of each limit a minute, and nothing of a budget.

        Args:
            need: What the request may use at most.
            replicas: How many replicas share the limits.
            now: The replica's own time.
        """
        need = self.counted(need)
        if has_budget(self.limits):
            return Shortage(Short.LEDGER, _AHEAD_SECONDS)
        for window, limit, amount, short in (
            (self._own_requests, self.limits.requests_per_minute, need.requests, Short.REQUESTS),
            (self._own_tokens, self.limits.tokens_per_minute, need.tokens, Short.TOKENS),
        ):
            if limit is None:
                continue
            window.limit = max(1, limit // max(1, replicas))
            left, wait = window.remaining(now.seconds), window.seconds_until(amount, now.seconds)
            window.limit = _UNLIMITED
            if amount > left:
                return Shortage(short, min(wait, WINDOW_SECONDS))
        concurrent = self.limits.concurrent_requests
        if concurrent is not None and self._used_slots + need.slots > max(1, concurrent // max(1, replicas)):
            return Shortage(Short.CONCURRENT, _AHEAD_SECONDS)
        self._beyond = Amount(self._beyond.requests + need.requests, self._beyond.tokens + need.tokens)
        reservation = self._reserved_with(need, [], now)
        reservation._leased = False  # noqa: SLF001 - the wallet makes reservations
        return reservation

    def settle(self, reservation: Reservation, used: int, now: Moment) -> None:
        """End a reservation: what was not used can be used again, what was used in addition is taken now.

        Args:
            reservation: What `reserve` returned; must not be settled twice.
            used: Tokens that the request used.
            now: The replica's own time.
        """
        self._used_slots -= reservation._slots  # noqa: SLF001
        if reservation._leased:  # noqa: SLF001
            self._free_slots += reservation._slots  # noqa: SLF001
        if reservation._lots:  # noqa: SLF001
            self._reserved -= reservation.tokens
        if not counts_tokens(self.limits):
            return
        if has_budget(self.limits):
            self._spent = {p: n for p, n in self._spent.items() if p in {now.day, now.month}}
            for period in (now.day, now.month):
                self._spent[period] = self._spent.get(period, 0) + used
        if used <= reservation.tokens:
            self._give_back(reservation, reservation.tokens - used)
        else:
            self._take_more(used - reservation.tokens, now)

    def _give_back(self, reservation: Reservation, unused: int) -> None:
        self._own_tokens.give_back(reservation._tokens_bucket, unused)  # noqa: SLF001
        if not reservation._leased:  # noqa: SLF001
            self._beyond = Amount(self._beyond.requests, max(0, self._beyond.tokens - unused))
            return
        for lot in reversed(reservation._lots):  # noqa: SLF001
            back = min(unused, lot.amount)
            unused -= back
            if back:
                self._tokens.appendleft(_Lot(back, lot.bucket, lot.at))

    def _take_more(self, excess: int, now: Moment) -> None:
        self._own_tokens.charge(excess, now.seconds)
        leased = min(excess, _sum(self._tokens))
        _taken(self._tokens, leased)
        self._beyond = Amount(self._beyond.requests, self._beyond.tokens + excess - leased)

    def statement(self, needs: tuple[Amount, ...], now: Moment, *, last: bool = False) -> Statement:
        """Say how things stand, and give back what is not needed: all of it if requests wait for more than the leases have.

        Args:
            needs: What requests wait for.
            now: The replica's own time.
            last: Whether the replica ends, and keeps nothing.
        """
        self._stated_at = now.seconds
        wish = _NOTHING if last else self._wish(now)
        keep = _NOTHING if needs else wish
        old = self._drop_older_than(_OLD_SECONDS, now)
        returned = [
            *old,
            *(_requests_of(lot) for lot in _beyond(self._requests, keep.requests)),
            *(_tokens_of(lot) for lot in _beyond(self._tokens, keep.tokens)),
        ]
        self._free_slots = min(self._free_slots, keep.slots)
        beyond, self._beyond = self._beyond, _NOTHING
        return Statement(
            limits=self.limits,
            held=Amount(tokens=self._reserved + _sum(self._tokens), slots=self._used_slots + self._free_slots),
            spent=dict(self._spent),
            returned=tuple(returned),
            beyond=beyond,
            needs=needs,
            ahead=Amount(
                requests=max(0, wish.requests - _sum(self._requests)),
                tokens=max(0, wish.tokens - _sum(self._tokens)),
                slots=max(0, wish.slots - self._free_slots),
            ),
        )

    def take(self, reply: Reply, now: Moment) -> None:
        """Keep what was booked ahead, and how the tenant stands."""
        if reply.ahead is not None:
            self.put(reply.ahead, now)
        self._standing, self._standing_at = reply.standing, now.seconds

    def put(self, lease: Lease, now: Moment) -> None:
        """Keep a lease for later requests."""
        if lease.amount.requests:
            self._requests.append(_Lot(lease.amount.requests, lease.requests_bucket, now.seconds))
        if lease.amount.tokens:
            self._tokens.append(_Lot(lease.amount.tokens, lease.tokens_bucket, now.seconds))
        self._free_slots += lease.amount.slots

    def lost(self, statement: Statement) -> None:
        """A statement did not arrive. What it returned stays booked in the ledger until the minute is over."""
        self._beyond = Amount(
            self._beyond.requests + statement.beyond.requests, self._beyond.tokens + statement.beyond.tokens
        )

    def standing(self, now: Moment) -> Standing:
        """How the tenant stands: what the ledger said last, and the leases that are not used."""
        limits, said, passed = self.limits, self._standing, now.seconds - self._standing_at
        # Before the ledger has said anything, nothing is known to be used.
        left = least_budget(limits) if said.budget_left is None else said.budget_left
        return Standing(
            requests=_meter(limits.requests_per_minute, said.requests, _sum(self._requests), passed),
            tokens=_meter(limits.tokens_per_minute, said.tokens, _sum(self._tokens), passed),
            budget_left=left + _sum(self._tokens) if has_budget(limits) else None,
        )

    def has_spare_slots(self, now: Moment) -> bool:
        """Whether another replica could use places that are free here."""
        # Twice, because one comes back with each request that ends.
        return self._free_slots > 2 * self._wish(now).slots

    def runs_low(self, now: Moment) -> bool:
        """Whether the leases may not last until the ledger has answered, and it was not asked a moment ago."""
        if now.seconds - self._stated_at < _ASK_SECONDS:
            return False
        wish = self._wish(now)
        return (
            _sum(self._requests) < _LOW * wish.requests
            or _sum(self._tokens) < _LOW * wish.tokens
            or self._free_slots < _LOW * wish.slots
        )

    def has_news(self, now: Moment) -> bool:
        """Whether the ledger should hear of this tenant without a request that waits."""
        if self._used_slots or self._reserved or self._free_slots or self._requests or self._tokens:
            return True
        return self._beyond != _NOTHING or self._own_requests.used(now.seconds) > 0

    def is_idle(self, now: Moment) -> bool:
        """Whether nothing would be lost without the wallet."""
        periods = (now.day, now.month)
        return not self.has_news(now) and not any(self._spent.get(period) for period in periods)

    def counted(self, need: Amount) -> Amount:
        """What of a need has to be booked at all, under the limits of now."""
        return Amount(
            requests=0 if self.limits.requests_per_minute is None else need.requests,
            tokens=need.tokens if counts_tokens(self.limits) else 0,
            slots=0 if self.limits.concurrent_requests is None else need.slots,
        )

    def _reserved_with(self, need: Amount, lots: list[_Lot], now: Moment) -> Reservation:
        self._used_slots += need.slots
        if lots:
            self._reserved += need.tokens
        return Reservation(
            tokens=need.tokens,
            _lots=lots,
            _slots=need.slots,
            _requests_bucket=self._own_requests.charge(max(1, need.requests), now.seconds),
            _tokens_bucket=self._own_tokens.charge(need.tokens, now.seconds),
        )

    def _drop_older_than(self, seconds: float, now: Moment) -> list[Lease]:
        """Take out what was booked longer ago."""
        since = now.seconds - seconds
        old = [
            *(_requests_of(lot) for lot in self._requests if lot.at <= since),
            *(_tokens_of(lot) for lot in self._tokens if lot.at <= since),
        ]
        if old:
            self._requests = deque(lot for lot in self._requests if lot.at > since)
            self._tokens = deque(lot for lot in self._tokens if lot.at > since)
        return old

    def _wish(self, now: Moment) -> Amount:
        """Leases for the next two seconds: as much as the last two used, or two of the last minute on average, and at least for one request."""
        if self._own_requests.used(now.seconds) <= 0:
            return _NOTHING
        requests, tokens = (_ahead(window, now.seconds) for window in (self._own_requests, self._own_tokens))
        limits = self.limits
        return Amount(
            requests=_slice(limits.requests_per_minute, max(self._last.requests, requests)),
            tokens=_slice(_least_of_tokens(limits), max(self._last.tokens, tokens)),
            slots=_slice(limits.concurrent_requests, max(1, requests)),
        )


def _ahead(window: SlidingWindow, now: float) -> int:
    """What is used within `_AHEAD_SECONDS`. The mean of a minute alone would be too small in the first minute of a load."""
    mean = window.used(now) * _AHEAD_SECONDS / WINDOW_SECONDS
    return max(round(mean), window.used_within(_AHEAD_SECONDS, now))


def _slice(limit: int | None, wish: int) -> int:
    """What the ledger would give of a wish; nothing where there is no limit to book against."""
    return 0 if limit is None else min(wish, limit // SLICE)


def _least_of_tokens(limits: TenantLimits) -> int | None:
    known = [limits.tokens_per_minute, limits.tokens_per_day, limits.tokens_per_month]
    return min((limit for limit in known if limit is not None), default=None)


def _requests_of(lot: _Lot) -> Lease:
    return Lease(Amount(requests=lot.amount), requests_bucket=lot.bucket)


def _tokens_of(lot: _Lot) -> Lease:
    return Lease(Amount(tokens=lot.amount), tokens_bucket=lot.bucket)


def _sum(lots: deque[_Lot]) -> int:
    return sum(lot.amount for lot in lots)


def _taken(lots: deque[_Lot], amount: int) -> list[_Lot]:
    """Take `amount`, which must be there, from the oldest lots on."""
    taken = []
    while amount > 0:
        lot = lots[0]
        part = min(amount, lot.amount)
        taken.append(_Lot(part, lot.bucket, lot.at))
        amount -= part
        lot.amount -= part
        if lot.amount == 0:
            lots.popleft()
    return taken


def _beyond(lots: deque[_Lot], keep: int) -> list[_Lot]:
    """Take what is more than `keep`."""
    return _taken(lots, max(0, _sum(lots) - keep))


def _meter(limit: int | None, said: Meter | None, free: int, passed: float) -> Meter | None:
    if limit is None:
        return None
    if said is None:
        return Meter(limit=limit, remaining=limit, reset_seconds=0.0)
    return Meter(
        limit=limit,
        remaining=min(limit, said.remaining + free),
        reset_seconds=max(0.0, said.reset_seconds - passed),
    )

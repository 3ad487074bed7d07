"""What tenants have used and what is booked for them, all replicas together. Pure; `ledger_actor` owns the one ledger.

Replicas book ahead (`leases`), so the ledger is asked rarely. An amount that is booked counts as used until it comes back. So
in any 60 seconds no more is admitted than the limit and what was booked before and not used yet, and a budget is never
exceeded by what was booked.
"""

import math
from dataclasses import dataclass, field
from typing import Final

from llama_serving.contract.tenants import TenantLimits
from llama_serving.desk.amounts import (
    Amount,
    Answer,
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
)
from llama_serving.desk.buckets import SlidingWindow

SILENT_SECONDS: Final = 60.0
"""A replica that says nothing for longer is gone. One that lives says something every ten seconds."""

SLICE: Final = 20
"""A replica gets at most this part of a limit ahead."""

NEAR: Final = 4
"""And at most this part of its share of what is left, so that slices become small near the limit."""

HELD_SECONDS: Final = 2.0
"""Wait for requests that run: nobody knows when one of them ends."""


_NOTHING: Final = Amount()


@dataclass(slots=True)
class _Book:
    """What one replica holds and has spent of one tenant's."""

    held: Amount = _NOTHING
    spent: dict[str, int] = field(default_factory=dict)
    forfeited: dict[str, int] = field(default_factory=dict)

    def is_empty(self, periods: tuple[str, ...]) -> bool:
        """Whether it says nothing about the periods."""
        return self.held == _NOTHING and not any(self.spent.get(p) or self.forfeited.get(p) for p in periods)


LEARNING_SECONDS: Final = 6.0
"""Within this time all replicas that live have told a new ledger what was spent: they try every two seconds, and say it every two."""


class Ledger:
    """The books of all tenants of one deployment.

    Args:
        learns_until: Until this time of its own clock it lends nothing of budgets: it does not know yet what is spent.
    """

    def __init__(self, *, learns_until: float = -math.inf) -> None:
        self._learns_until = learns_until
        self._accounts: dict[str, _Account] = {}
        self._heard: dict[str, float] = {}
        self._swept = 0.0

    def exchange(self, replica: str, statements: dict[str, Statement], now: Moment) -> Answer:
        """Take the statements of a replica, by tenant, and book what it asks for.

        Args:
            replica: Id of the replica.
            statements: By tenant; tenants about which there is nothing to say may be left out.
            now: The ledger's own time.
        """
        self._heard[replica] = now.seconds
        self._bury(now)
        replicas = len(self._heard)
        replies = {}
        for tenant, statement in statements.items():
            account = self._accounts.setdefault(tenant, _Account(self._learns_until))
            account.take(replica, statement, now)
            replies[tenant] = account.reply(replica, statement, replicas, now)
        return Answer(replies=replies, replicas=replicas)

    def leave(self, replica: str, now: Moment) -> None:
        """Forget a replica that has ended in order. What it still holds was of requests that ended with it."""
        self._heard.pop(replica, None)
        for account in self._accounts.values():
            account.bury(replica, now)

    def _bury(self, now: Moment) -> None:
        for replica in [name for name, at in self._heard.items() if now.seconds - at > SILENT_SECONDS]:
            del self._heard[replica]
            for account in self._accounts.values():
                account.bury(replica, now)
        if now.seconds - self._swept > SILENT_SECONDS:
            self._swept = now.seconds
            self._accounts = {tenant: account for tenant, account in self._accounts.items() if not account.is_idle(now)}


class _Account:
    """One tenant."""

    def __init__(self, learns_until: float) -> None:
        self._learns_until = learns_until
        self._limits: TenantLimits | None = None
        self._windows: dict[Short, SlidingWindow] = {}
        self._books: dict[str, _Book] = {}

    def take(self, replica: str, statement: Statement, now: Moment) -> None:
        """Enter what the replica says."""
        self._limits = statement.limits
        for short in (Short.REQUESTS, Short.TOKENS):
            self._set_limit(short, _a_minute(statement.limits, short))
        book = self._books.setdefault(replica, _Book())
        book.held = statement.held
        book.spent = {period: spent for period, spent in statement.spent.items() if period in {now.day, now.month}}
        book.forfeited = {}
        for lease in statement.returned:
            if Short.REQUESTS in self._windows:
                self._windows[Short.REQUESTS].give_back(lease.requests_bucket, lease.amount.requests)
            if Short.TOKENS in self._windows:
                self._windows[Short.TOKENS].give_back(lease.tokens_bucket, lease.amount.tokens)
        if self._requests is not None and statement.beyond.requests:
            self._requests.charge(statement.beyond.requests, now.seconds)
        if self._tokens is not None and statement.beyond.tokens:
            self._tokens.charge(statement.beyond.tokens, now.seconds)

    @property
    def _requests(self) -> SlidingWindow | None:
        """The window of requests, if the replica that speaks has a limit of them."""
        return self._window(Short.REQUESTS)

    @property
    def _tokens(self) -> SlidingWindow | None:
        return self._window(Short.TOKENS)

    def _window(self, short: Short) -> SlidingWindow | None:
        has_limit = self._limits is not None and _a_minute(self._limits, short) is not None
        return self._windows.get(short) if has_limit else None

    def _set_limit(self, short: Short, limit: int | None) -> None:
        """Take a limit a minute. A replica without one takes nothing out of the window: others may have it, or have it already."""
        if limit is None:
            return
        if short in self._windows:
            self._windows[short].limit = limit
        else:
            self._windows[short] = SlidingWindow(limit)

    def reply(self, replica: str, statement: Statement, replicas: int, now: Moment) -> Reply:
        """Book what the replica needs, as far as it is there."""
        needs = tuple(self._book(replica, need, now) for need in statement.needs)
        ahead = self._slice(statement.ahead, replicas, now)
        lease = self._book(replica, ahead, now) if ahead != _NOTHING else None
        return Reply(
            needs=needs,
            ahead=lease if isinstance(lease, Lease) else None,
            standing=self._standing(now),
        )

    def bury(self, replica: str, now: Moment) -> None:
        """A replica is gone without a word. What it held may be spent: a budget counts it so, running requests it ends."""
        book = self._books.get(replica)
        if book is not None:
            if self._limits is not None and has_budget(self._limits):
                book.forfeited = {now.day: book.held.tokens, now.month: book.held.tokens}
            book.held = _NOTHING
            if book.is_empty((now.day, now.month)):
                del self._books[replica]

    def is_idle(self, now: Moment) -> bool:
        """Whether nothing would be lost without the account."""
        periods = (now.day, now.month)
        is_unused = all(window.used(now.seconds) <= 0 for window in self._windows.values())
        return is_unused and all(book.is_empty(periods) for book in self._books.values())

    def _book(self, replica: str, need: Amount, now: Moment) -> Lease | Shortage:
        shortage = self._shortage(need, now)
        if shortage is not None:
            return shortage
        requests = 0 if self._requests is None else self._requests.charge(need.requests, now.seconds)
        tokens = 0 if self._tokens is None else self._tokens.charge(need.tokens, now.seconds)
        book = self._books[replica]
        # Requests are spent when they are admitted: nothing of them is held.
        book.held = Amount(tokens=book.held.tokens + need.tokens, slots=book.held.slots + need.slots)
        return Lease(amount=need, requests_bucket=requests, tokens_bucket=tokens)

    def _shortage(self, need: Amount, now: Moment) -> Shortage | None:
        for window, amount, short in (
            (self._requests, need.requests, Short.REQUESTS),
            (self._tokens, need.tokens, Short.TOKENS),
        ):
            if window is not None and amount > window.remaining(now.seconds):
                return Shortage(short, window.seconds_until(amount, now.seconds))
        if need.slots > self._free_slots():
            return Shortage(Short.CONCURRENT, HELD_SECONDS)
        return self._budget_shortage(need.tokens, now) if need.tokens else None

    def _budget_shortage(self, tokens: int, now: Moment) -> Shortage | None:
        for limit, period, short, until in (
            (self._limit("tokens_per_day"), now.day, Short.DAY, now.next_day),
            (self._limit("tokens_per_month"), now.month, Short.MONTH, now.next_month),
        ):
            if limit is None:
                continue
            if now.seconds < self._learns_until:
                return Shortage(Short.LEDGER, self._learns_until - now.seconds)
            if tokens <= limit - self._spent(period) - self._held_tokens():
                continue
            if tokens <= limit - self._spent(period):
                return Shortage(short, HELD_SECONDS)
            return Shortage(short, (until - now.utc).total_seconds(), until)
        return None

    def _slice(self, wish: Amount, replicas: int, now: Moment) -> Amount:
        """Return what of a wish a replica gets: little, and less the less is left."""
        requests, tokens, slots = wish.requests, wish.tokens, wish.slots
        share = NEAR * max(1, replicas)
        if self._requests is not None:
            requests = min(requests, self._requests.limit // SLICE, self._requests.remaining(now.seconds) // share)
        if self._tokens is not None:
            tokens = min(tokens, self._tokens.limit // SLICE, self._tokens.remaining(now.seconds) // share)
        left = self._budget_left(now)
        if left is not None:
            tokens = min(tokens, left // share)
        concurrent = self._limit("concurrent_requests")
        if concurrent is not None:
            slots = min(slots, concurrent // SLICE, int(self._free_slots()) // share)
        return Amount(requests=max(0, requests), tokens=max(0, tokens), slots=max(0, slots))

    def _standing(self, now: Moment) -> Standing:
        return Standing(
            requests=_meter(self._requests, now), tokens=_meter(self._tokens, now), budget_left=self._budget_left(now)
        )

    def _budget_left(self, now: Moment) -> int | None:
        left = [
            limit - self._spent(period) - self._held_tokens()
            for limit, period in (
                (self._limit("tokens_per_day"), now.day),
                (self._limit("tokens_per_month"), now.month),
            )
            if limit is not None
        ]
        return max(0, min(left)) if left else None

    def _limit(self, name: str) -> int | None:
        limit: int | None = getattr(self._limits, name)
        return limit

    def _spent(self, period: str) -> int:
        return sum(book.spent.get(period, 0) + book.forfeited.get(period, 0) for book in self._books.values())

    def _held_tokens(self) -> int:
        if self._limits is None or not counts_tokens(self._limits):
            return 0
        return sum(book.held.tokens for book in self._books.values())

    def _free_slots(self) -> float:
        limit = self._limit("concurrent_requests")
        if limit is None:
            return math.inf
        return limit - sum(book.held.slots for book in self._books.values())


def _a_minute(limits: TenantLimits, short: Short) -> int | None:
    return limits.requests_per_minute if short is Short.REQUESTS else limits.tokens_per_minute


def _meter(window: SlidingWindow | None, now: Moment) -> Meter | None:
    if window is None:
        return None
    return Meter(
        limit=window.limit,
        remaining=window.remaining(now.seconds),
        reset_seconds=window.seconds_until_full(now.seconds),
    )

"""How much was taken in the last minute: a sliding window of small buckets. Pure; `ledger` keeps one for each limit a minute.

A fixed minute would let through twice its limit around its edge, and a bucket that refills lets through twice its limit in its
first minute. This window never lets through more than its limit in any 60 seconds. Its price is that an amount is held up to one
bucket longer than 60 seconds.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

WINDOW_SECONDS: Final = 60.0
_BUCKETS: Final = 120
_BUCKET_SECONDS: Final = WINDOW_SECONDS / _BUCKETS


@dataclass(slots=True)
class _Bucket:
    number: int
    amount: int


class SlidingWindow:
    """Amounts of the last 60 seconds. All times are seconds of one clock that never goes back.

    Args:
        limit: Most that may be taken in 60 seconds.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """May change at any time; what was taken stays taken."""
        self._buckets: deque[_Bucket] = deque()
        self._used = 0

    def used(self, now: float) -> int:
        """Return what was taken in the last 60 seconds; after corrections upwards it may be more than the limit."""
        while self._buckets and _end_of(self._buckets[0].number) <= now:
            self._used -= self._buckets.popleft().amount
        return self._used

    def used_within(self, seconds: float, now: float) -> int:
        """Return what was taken in the last `seconds`, to a bucket exactly."""
        since, used = math.floor((now - seconds) / _BUCKET_SECONDS), 0
        for bucket in reversed(self._buckets):
            if bucket.number < since:
                break
            used += bucket.amount
        return used

    def remaining(self, now: float) -> int:
        """Return what may be taken now."""
        return max(0, self.limit - self.used(now))

    def take(self, amount: int, now: float) -> int | None:
        """Take `amount` if all of it is there.

        Returns:
            The number of the bucket that it stands in, for `give_back`; None if there is less.
        """
        return self.charge(amount, now) if amount <= self.remaining(now) else None

    def charge(self, amount: int, now: float) -> int:
        """Take `amount` whether it is there or not, because it is spent already; return the bucket's number."""
        self.used(now)
        number = math.floor(now / _BUCKET_SECONDS)
        # A clock of monotonic time on another thread may be a moment behind.
        if self._buckets and self._buckets[-1].number >= number:
            self._buckets[-1].amount += amount
            number = self._buckets[-1].number
        else:
            self._buckets.append(_Bucket(number, amount))
        self._used += amount
        return number

    def give_back(self, number: int, amount: int) -> None:
        """Give back what was not used of what `take` put into the bucket `number`; nothing if the minute is over."""
        for bucket in reversed(self._buckets):
            if bucket.number == number:
                back = min(amount, bucket.amount)
                bucket.amount -= back
                self._used -= back
            if bucket.number <= number:
                return

    def seconds_until(self, amount: int, now: float) -> float:
        """Return after how many seconds `amount` can be taken if nobody takes more; infinity if it never can."""
        if amount > self.limit:
            return math.inf
        missing = amount - (self.limit - self.used(now))
        for bucket in self._buckets:
            if missing <= 0:
                break
            missing -= bucket.amount
            if missing <= 0:
                return max(0.0, _end_of(bucket.number) - now)
        return 0.0

    def seconds_until_full(self, now: float) -> float:
        """Return after how many seconds the whole limit can be taken if nobody takes more."""
        return self.seconds_until(self.limit, now)


def _end_of(number: int) -> float:
    """When the bucket no longer counts: 60 seconds after the last moment in which something was put into it."""
    return (number + 1) * _BUCKET_SECONDS + WINDOW_SECONDS

"""How long ago something happened. Part of `decide.observed`."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""Time of an observation without a date: nothing is overdue then."""
CONFIRM_SECONDS = 20.0
"""How long a deadline has to be watched before it counts as passed: one look may see a clock that was set wrong."""


@dataclass(frozen=True, slots=True)
class Age:
    """How long ago something happened, on a clock that nobody sets."""

    total: timedelta
    """Since it happened; never negative."""
    watched: timedelta = timedelta.max
    """How long this process has watched it; a reader that looks once takes the clock of the wall at its word."""

    def left(self, seconds: float) -> float:
        """Seconds that are left of `seconds`; 0 or less when they are over, and were watched to be."""
        left = seconds - self.total.total_seconds()
        confirmed = min(CONFIRM_SECONDS, seconds) - self.watched.total_seconds()
        return max(left, confirmed)

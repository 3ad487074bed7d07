"""Shares the queue of a full engine between tenants. Pure; `desk` asks it for each request that finds others waiting.

One tenant that floods an engine fills the queue, and then everybody is refused. So a tenant may have at most its fair share of the
places while others are there: places are dealt out one by one to all who still want one (max-min). Whoever has few requests gets
what it has, and room to double it; the rest goes to the others.
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Final, Protocol

_ROOM: Final = 4
"""Places that are kept for a tenant beyond twice of what it has."""

_ASKED_SECONDS: Final = 10.0
"""A tenant that asked within this time counts among those who want places."""

_COUNTED_SECONDS: Final = 0.2
"""For this long the requests that wait are not counted anew: ten thousand may wait, and each new one asks."""


class Waiting(Protocol):
    """A request, as far as the queue is concerned."""

    @property
    def is_waiting(self) -> bool:
        """Whether the engine has not answered anything yet."""
        ...


class Visitors:
    """Who has requests in a replica."""

    def __init__(self) -> None:
        self._requests: dict[str, set[Waiting]] = {}
        self._asked: dict[str, float] = {}
        self._waiting: Counter[str] = Counter()
        self._counted_at = -math.inf
        self.count = 0
        """Requests of all tenants, waiting and running."""

    def asks(self, tenant: str, now: float) -> None:
        """A tenant asks for a place, at a time in seconds."""
        self._asked[tenant] = now

    def add(self, tenant: str, request: Waiting) -> None:
        """A request comes in."""
        self._requests.setdefault(tenant, set()).add(request)
        self.count += 1
        self._waiting[tenant] += 1

    def remove(self, tenant: str, request: Waiting) -> None:
        """A request has ended."""
        requests = self._requests[tenant]
        requests.remove(request)
        self.count -= 1
        self._waiting[tenant] = max(0, self._waiting[tenant] - 1)
        if not requests:
            del self._requests[tenant]

    def has_place(self, tenant: str, places: int, now: float) -> bool:
        """Whether one more request of a tenant that asked is within its fair share of the places."""
        if now - self._counted_at >= _COUNTED_SECONDS:
            self._counted_at = now
            self._asked = {name: at for name, at in self._asked.items() if now - at <= _ASKED_SECONDS}
            self._waiting = Counter(
                {
                    name: sum(request.is_waiting for request in self._requests.get(name, ()))
                    for name in {*self._asked, *self._requests}
                }
            )
        self._waiting.setdefault(tenant, 0)
        return self._waiting[tenant] < fair_share(tenant, self._waiting, places)


def fair_share(tenant: str, waiting: Mapping[str, int], places: int) -> int:
    """Return how many places `tenant` may have.

    Args:
        tenant: Who asks for one more; it wants as many as it can get.
        waiting: Waiting requests of each tenant that has some, or asked for some just now.
        places: Places of the queue.
    """
    wants = sorted(2 * count + _ROOM for name, count in waiting.items() if name != tenant)
    left, sharers = places, len(wants) + 1
    for want in wants:
        if want >= left / sharers:
            break
        left -= want
        sharers -= 1
    return max(1, left // sharers)

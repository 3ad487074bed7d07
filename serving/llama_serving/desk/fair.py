"""Shares the queue of a full engine between tenants. Pure; `desk` asks it for each request that finds others waiting.

One tenant that floods an engine fills the queue, and then everybody is refused. So a tenant may have at most its fair share of the
places while others are there: places are dealt out one by one to all who still want one (max-min). Whoever has few requests gets
what it has, and room to double it; the rest goes to the others.
"""

from collections.abc import Mapping
from typing import Final

_ROOM: Final = 4
"""Places that are kept for a tenant beyond twice of what it has."""

ASKED_SECONDS: Final = 10.0
"""A tenant that asked within this time counts among those who want places."""


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

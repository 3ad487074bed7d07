"""Counters of the desk, by tenant and model. `desk` adds to them; Ray publishes them, tests read them.

Numbers are added up here and handed on once a second: a counter of Ray costs more than all else that the desk does. Tenants
are labels, so their number is limited; keys and users never are.
"""

from collections import Counter as Amounts
from collections.abc import Callable
from typing import Final, Protocol

from llama_serving.contract.usage import UsageEvent

OTHER_TENANTS: Final = "other"
MOST_TENANTS: Final = 300

REQUESTS: Final = "llama_gateway_requests"
TOKENS: Final = "llama_gateway_tokens"
REJECTED: Final = "llama_gateway_rejected"
LOST: Final = "llama_gateway_usage_lines_lost"

COUNTERS: Final = {
    REQUESTS: ("Requests that an engine was asked to serve.", ("tenant", "model", "dialect", "status")),
    TOKENS: ("Tokens that engines read (prompt, cached) and made (output).", ("tenant", "model", "type")),
    REJECTED: ("Requests that the desk refused.", ("tenant", "reason")),
    LOST: ("Lines of the usage log that could not be written.", ()),
}
"""All counters, each with what it counts and its labels."""


class Counter(Protocol):
    """What `ray.util.metrics.Counter` is."""

    def inc(self, value: float, tags: dict[str, str]) -> None:
        """Add `value`, which is more than 0."""
        ...


MakeCounter = Callable[[str, str, tuple[str, ...]], Counter]
"""Makes a counter from its name, description and names of labels."""


class Counters:
    """All counters of the desk.

    Args:
        make: Makes a counter.
        most_tenants: Tenants with a label of their own; further ones are counted together.
    """

    def __init__(self, make: MakeCounter, *, most_tenants: int = MOST_TENANTS) -> None:
        self._counters = {name: make(name, words, labels) for name, (words, labels) in COUNTERS.items()}
        self._most_tenants = most_tenants
        self._tenants: set[str] = set()
        self._amounts: Amounts[tuple[str, tuple[str, ...]]] = Amounts()
        self._lost = 0

    def served(self, event: UsageEvent) -> None:
        """Count a request that has ended."""
        tenant, data = self._label(event.subject), event.data
        self._amounts[REQUESTS, (tenant, data.model, data.dialect, str(data.status))] += 1
        for kind, tokens in (
            ("prompt", data.prompt_tokens),
            ("cached", data.cached_tokens),
            ("output", data.output_tokens),
        ):
            self._amounts[TOKENS, (tenant, data.model, kind)] += tokens

    def rejected(self, tenant: str, reason: str) -> None:
        """Count a request that was refused."""
        self._amounts[REJECTED, (self._label(tenant), reason)] += 1

    def lines_lost(self, so_far: int) -> None:
        """Say how many lines of the usage log are lost since the replica began."""
        self._amounts[LOST, ()] += so_far - self._lost
        self._lost = so_far

    def flush(self) -> None:
        """Hand on what was added since the last time."""
        amounts, self._amounts = self._amounts, Amounts()
        for (name, values), amount in amounts.items():
            if amount > 0:
                labels = COUNTERS[name][1]
                self._counters[name].inc(amount, tags=dict(zip(labels, values, strict=True)))

    def _label(self, tenant: str) -> str:
        if tenant in self._tenants:
            return tenant
        if len(self._tenants) >= self._most_tenants:
            return OTHER_TENANTS
        self._tenants.add(tenant)
        return tenant

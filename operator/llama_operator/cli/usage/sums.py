"""Sums of usage by deployment, tenant and model, and what the tokens cost. Pure; called by `cli.usage.command`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Final

from llama_serving.contract.usage import UsageEvent

CLIENT_LEFT: Final = 499
_ABORTED: Final = "abort"
_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost, in millionths of a US dollar."""

    input: int
    """Of prompts that the engine had not in its cache."""
    output: int
    cached: int
    """Of prompts that it had."""
    basis: str
    """Whose prices these are; shown beside every amount."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which events count.

    Attributes:
        since: First moment; None for the beginning.
        until: First moment after; None for no end.
        name: Deployment; None for all.
        namespace: Namespace; None for all.
        tenant: Tenant; None for all.
    """

    since: datetime | None = None
    until: datetime | None = None
    name: str | None = None
    namespace: str | None = None
    tenant: str | None = None

    def takes(self, event: UsageEvent) -> bool:
        """Whether the event counts."""
        namespace, name = deployment_of(event.source)
        return (
            self.name in {None, name}
            and self.namespace in {None, namespace}
            and self.tenant in {None, event.subject}
            and (self.since is None or event.time >= self.since)
            and (self.until is None or event.time < self.until)
        )


@dataclass(slots=True)
class Sum:
    """What some requests used."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Those of `prompt_tokens` that the engine had in its cache."""
    output_tokens: int = 0
    aborted: int = 0
    """Requests whose client left, or that were cut off; they count for what they used."""
    refused: int = 0
    """Requests that were answered with 4xx: by a limit, or because they were wrong."""
    failed: int = 0
    """Requests that were answered with 5xx."""

    def add(self, event: UsageEvent) -> None:
        """Add one request."""
        used = event.data
        self.requests += 1
        self.prompt_tokens += used.prompt_tokens
        self.cached_tokens += used.cached_tokens
        self.output_tokens += used.output_tokens
        if used.status == CLIENT_LEFT or used.finish_reason == _ABORTED:
            self.aborted += 1
        elif used.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.failed += 1
        elif used.status >= HTTPStatus.BAD_REQUEST:
            self.refused += 1

    def add_all(self, other: "Sum") -> None:
        """Add what other requests used."""
        self.requests += other.requests
        self.prompt_tokens += other.prompt_tokens
        self.cached_tokens += other.cached_tokens
        self.output_tokens += other.output_tokens
        self.aborted += other.aborted
        self.refused += other.refused
        self.failed += other.failed

    def usd_micros(self, prices: Prices) -> int:
        """Cost in millionths of a US dollar, rounded up once."""
        cached = min(self.cached_tokens, self.prompt_tokens)
        amount = (
            (self.prompt_tokens - cached) * prices.input + cached * prices.cached + self.output_tokens * prices.output
        )
        return -(-amount // _MILLION)


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """Whose usage it is."""

    namespace: str
    name: str
    tenant: str
    model: str
    """The adapter that answered, else the model."""


@dataclass(frozen=True, slots=True)
class Usage:
    """All sums."""

    rows: tuple[tuple[Row, Sum], ...]
    total: Sum
    left_out: int
    """Events of other deployments, tenants or times."""
    first: datetime | None
    """When the first request that counts ended."""
    last: datetime | None


def summed(events: Iterable[UsageEvent], chosen: Chosen) -> Usage:
    """Sum the events that count, by deployment, tenant and model."""
    sums: dict[Row, Sum] = {}
    left_out = 0
    first: datetime | None = None
    last: datetime | None = None
    for event in events:
        if not chosen.takes(event):
            left_out += 1
            continue
        row = Row(*deployment_of(event.source), event.subject, event.data.adapter or event.data.model)
        sums.setdefault(row, Sum()).add(event)
        first = event.time if first is None else min(first, event.time)
        last = event.time if last is None else max(last, event.time)
    total = Sum()
    for part in sums.values():
        total.add_all(part)
    return Usage(tuple(sorted(sums.items(), key=lambda item: item[0])), total, left_out, first, last)


def deployment_of(source: str) -> tuple[str, str]:
    """Namespace and name in the `source` of a line (`llama_serving.contract.usage.usage_source`)."""
    parts = source.split("/")
    match parts:
        case ["", "namespaces", namespace, "llamadeployments", name]:
            return namespace, name
        case _:
            return "", source

"""`kubectl llama usage`: sums the usage log by tenant and model. Needs no cluster: it reads files that were copied from pods.

docs/cli.md documents the JSON and how to copy the files.
"""

import argparse
import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from llama_operator.api.meta import rfc3339
from llama_operator.cli.shared import output, times
from llama_operator.cli.shared.exit_codes import EXIT_OK
from llama_operator.cli.shared.options import filled
from llama_operator.cli.usage import lines, prices
from llama_operator.cli.usage.lines import LineCounts
from llama_operator.cli.usage.sums import Chosen, Prices, Row, Sum, Usage, summed
from llama_operator.errors import InvalidManifestError

COMMAND_LINE: Final = "the command line"
THIS_MONTH: Final = "now"
_MONTH = re.compile(r"(\d{4})-(\d{2})", re.ASCII)
_YEARS, _MONTHS = range(1970, 3000), range(1, 13)


@dataclass(frozen=True, slots=True)
class UsageOptions:
    """What the command line says."""

    file: list[str]
    name: str | None = None
    namespace: str | None = None
    tenant: str | None = None
    since: str | None = None
    month: str | None = None
    price_per_million_input: str | None = None
    price_per_million_output: str | None = None
    price_per_million_cached: str | None = None
    manifest: str | None = None
    prices: str | None = None
    as_json: bool = False


def command(options: UsageOptions, now: datetime) -> int:
    """Print the sums; returns the exit code.

    Args:
        options: The command line.
        now: The time now, in UTC.

    Raises:
        InvalidManifestError: If a file cannot be read, or an option cannot be used.
    """
    since, until = window(options, now)
    paid = prices.read(
        input_price=options.price_per_million_input,
        output_price=options.price_per_million_output,
        cached_price=options.price_per_million_cached,
        manifest=options.manifest,
        prices=options.prices,
    )
    counts = LineCounts()
    chosen = Chosen(since, until, options.name, options.namespace, options.tenant)
    usage = summed(lines.events(options.file, counts), chosen)
    if options.as_json:
        output.print_json(document(usage, counts, chosen, paid))
    else:
        from llama_operator.cli.usage import table

        table.show(usage, counts, chosen, paid)
    return EXIT_OK


def window(options: UsageOptions, now: datetime) -> tuple[datetime | None, datetime | None]:
    """First moment that counts, and the first one that does not count any more; None for no limit.

    Raises:
        InvalidManifestError: If the options name no time.
    """
    if options.month is not None:
        return _month(options.month, now)
    if options.since is None:
        return None, None
    ago = times.span(options.since)
    since = times.moment(options.since) if ago is None else now - ago
    if since is None:
        allowed = "say 24h, 30d or 4w, a date as 2026-10-01, or a time with its zone as 2026-10-01T12:00:00Z"
        raise InvalidManifestError.of(COMMAND_LINE, "--since", f"is {options.since!r}", allowed)
    return since, None


def _month(text: str, now: datetime) -> tuple[datetime, datetime]:
    match = _MONTH.fullmatch(f"{now:%Y-%m}" if text == THIS_MONTH else text)
    year, month = (int(match[1]), int(match[2])) if match else (0, 0)
    if year not in _YEARS or month not in _MONTHS:
        allowed = "say a month as 2026-10, or nothing for this one"
        raise InvalidManifestError.of(COMMAND_LINE, "--month", f"is {text!r}", allowed)
    first = datetime(year, month, 1, tzinfo=UTC)
    return first, first + timedelta(days=calendar.monthrange(year, month)[1])


def document(usage: Usage, counts: LineCounts, chosen: Chosen, paid: Prices | None) -> dict[str, Any]:
    """The sums as JSON; a stable interface, documented in docs/cli.md."""
    return {
        "since": rfc3339(chosen.since) if chosen.since else None,
        "until": rfc3339(chosen.until) if chosen.until else None,
        "prices": None if paid is None else _prices(paid),
        "items": [_owner(row) | _figures(part, paid) for row, part in usage.rows],
        "total": _figures(usage.total, paid),
        "firstTime": rfc3339(usage.first.astimezone(UTC)) if usage.first else None,
        "lastTime": rfc3339(usage.last.astimezone(UTC)) if usage.last else None,
        "lines": {
            "read": counts.lines,
            "notChosen": usage.left_out,
            "duplicates": counts.duplicates,
            "unreadable": counts.unreadable,
            "unreadableAt": counts.where,
            "otherLogs": counts.others,
        },
    }


def _owner(row: Row) -> dict[str, Any]:
    return output.picked(row, "namespace", "name", "tenant", "model")


def _prices(paid: Prices) -> dict[str, Any]:
    return {
        "basis": paid.basis,
        "usdMicrosPerMillionInput": paid.input,
        "usdMicrosPerMillionOutput": paid.output,
        "usdMicrosPerMillionCached": paid.cached,
    }


def _figures(part: Sum, paid: Prices | None) -> dict[str, Any]:
    return {
        "requests": part.requests,
        "promptTokens": part.prompt_tokens,
        "cachedTokens": part.cached_tokens,
        "outputTokens": part.output_tokens,
        "aborted": part.aborted,
        "refused": part.refused,
        "failed": part.failed,
        "usdMicros": None if paid is None else part.usd_micros(paid),
    }


def run(arguments: argparse.Namespace, _connector: object) -> int:
    """Run the command as the command line asks for it; returns the exit code."""
    return command(filled(UsageOptions, arguments), datetime.now(UTC))

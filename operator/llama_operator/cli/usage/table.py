"""The table of `kubectl llama usage`, for people."""

from datetime import UTC, datetime

from rich.text import Text

from llama_operator.api.meta import rfc3339
from llama_operator.cli.shared import output, terminal
from llama_operator.cli.usage.lines import LineCounts
from llama_operator.cli.usage.sums import Chosen, Prices, Sum, Usage

_MICROS = 1_000_000
_OWNERS = ("NAMESPACE", "NAME", "TENANT", "MODEL")
_FIGURES = ("REQUESTS", "PROMPT", "CACHED", "OUTPUT", "ABORTED", "REFUSED", "FAILED")


def show(usage: Usage, counts: LineCounts, chosen: Chosen, paid: Prices | None) -> None:
    """Print a row for each tenant and model, their sum, and what was left out."""
    console = output.console(wide=True)
    console.print(_time(usage, chosen), markup=False, soft_wrap=True)
    if usage.rows:
        figures = (*_FIGURES, *(() if paid is None else ("USD",)))
        table = output.table(*_OWNERS, *figures, right=figures, whole=(*_OWNERS, *figures))
        for row, part in usage.rows:
            owner = (Text(terminal.plain(text)) for text in (row.namespace, row.name, row.tenant, row.model))
            table.add_row(*owner, *_cells(part, paid))
        if len(usage.rows) > 1:
            table.add_section()
            table.add_row("all", "", "", "", *_cells(usage.total, paid))
        console.print(table)
    if paid is not None:
        console.print(f"  prices    {_of(paid)}", markup=False, soft_wrap=True)
    for line in _left_out(usage, counts):
        console.print(line, markup=False, soft_wrap=True)


def _time(usage: Usage, chosen: Chosen) -> str:
    asked = " ".join(
        f"{word} {rfc3339(moment)}"
        for word, moment in (("from", chosen.since), ("to", chosen.until))
        if moment is not None
    )
    if usage.first is None or usage.last is None:
        return f"no request is in the log{f' {asked}' if asked else ''}"
    return f"requests that ended {asked or 'at any time'}; the first at {_utc(usage.first)}, the last at {_utc(usage.last)}"


def _utc(moment: datetime) -> str:
    return rfc3339(moment.astimezone(UTC))


def _cells(part: Sum, paid: Prices | None) -> list[str]:
    numbers = (
        part.requests,
        part.prompt_tokens,
        part.cached_tokens,
        part.output_tokens,
        part.aborted,
        part.refused,
        part.failed,
    )
    cells = [f"{number:,}" for number in numbers]
    return cells if paid is None else [*cells, _dollars(part.usd_micros(paid))]


def _of(paid: Prices) -> str:
    cached = "" if paid.cached == paid.input else f", {_dollars(paid.cached)} of cached prompts"
    amounts = f"{_dollars(paid.input)} of prompts{cached} and {_dollars(paid.output)} of answers"
    return f"dollars per million tokens: {amounts} ({paid.basis})"


def _left_out(usage: Usage, counts: LineCounts) -> list[str]:
    lines = []
    if counts.unreadable:
        where = ", ".join(counts.where) + (", ..." if counts.unreadable > len(counts.where) else "")
        lines.append(f"! {counts.unreadable:,} lines cannot be read and are missing in the sums: {where}")
    parts = {
        "of other deployments, tenants or times": usage.left_out,
        "read before": counts.duplicates,
        "of other logs": counts.others,
    }
    said = [f"{number:,} {words}" for words, number in parts.items() if number]
    return [*lines, f"  left out  of {counts.lines:,} lines: {', '.join(said)}"] if said else lines


def _dollars(usd_micros: int) -> str:
    return f"{usd_micros / _MICROS:,.4f}"

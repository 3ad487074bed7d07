"""The table form of `kubectl llama simulate`, for people. Called by `cli.simulate.command`."""

from collections.abc import Callable
from statistics import mean

from rich.table import Table

from llama_operator.cli.shared import output
from llama_operator.cli.simulate.answer import Simulated
from llama_operator.simulate.compare import Played
from llama_operator.simulate.picture.curves import curves
from llama_operator.simulate.picture.sketch import sketch

_COLUMNS = 72
_LAST_CHANGES = 8
_MINUTE = 60
_FEW = 3
_UNITS = ((24 * 3600, "days"), (3600, "hours"), (_MINUTE, "minutes"))


def show(found: Simulated) -> None:
    """Print what was simulated, a row for each autoscaler, and a sketch of the first one."""
    console = output.console()
    case = found.cases[0]
    setup, trace = case.setup, case.trace
    console.print(f"[bold]{found.deployment}[/]  {found.plan}: {setup.gpus} GPU(s) per replica")
    console.print(
        f"  trace     {trace.name}: {len(trace.arrivals):,} requests in {_span(trace.length)}, {_rate(trace.rate)} a "
        f"second; prompts of {trace.mean_prompt:,.0f} and answers of {trace.mean_output:,.0f} tokens on average",
        markup=False,
    )
    console.print(
        f"  start     {setup.cold_start.seconds:,.0f} s, a tenth more or less; {setup.bounds[0]} to {setup.bounds[1]} replicas",
        markup=False,
    )
    if found.begins is not None:
        console.print(f"  hours     from {found.begins} on, as spec.scaling.schedule says", markup=False)
    elif found.leaves_out_hours:
        console.print("  hours     spec.scaling.schedule is left out; --begins 2026-11-30T07:30 plays it", markup=False)
    console.print(f"  need      {case.need.peak} replicas at most, for who knows the trace", markup=False)
    if too_long := found.too_long[0]:
        longest = setup.engine.longest
        text = f"  too long  {too_long:,} requests have more than {longest:,} tokens; they are answered 400 and count nowhere"
        console.print(text, markup=False)
    output.show_table(console, _table(found))
    first = found.played[0][0]
    console.print(f"[bold]{first.scaler}[/]")
    for line in sketch(curves(first.record, case.need, trace.length, _COLUMNS)):
        console.print(f"  {line}", markup=False)
    changes = first.record.changes
    if len(changes) > _LAST_CHANGES:
        console.print(f"  {len(changes)} changes, the first {_LAST_CHANGES}:", markup=False)
    for change in changes[:_LAST_CHANGES]:
        console.print(f"  {_clock(change.at)}  {change.before} → {change.after}  {change.reason}", markup=False)


def _span(seconds: float) -> str:
    for unit, name in _UNITS:
        if seconds >= _FEW * unit:
            return f"{seconds / unit:,.0f} {name}"
    return f"{seconds:.3g} seconds"


def _rate(rate: float) -> str:
    return f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}"


def _table(found: Simulated) -> Table:
    objective = found.cases[0].setup.first_token
    headings = (
        "AUTOSCALER",
        f"WITHIN {objective:g} s",
        "GPU HOURS",
        "× CLAIRVOYANT",
        "PEAK",
        "REFUSED",
        "CUT",
        "LONGEST WAIT",
        "CHANGES",
    )
    table = output.table(*headings, right=headings[1:], whole=headings)
    for runs in zip(*found.played, strict=True):
        table.add_row(
            runs[0].scaler,
            _spread(runs, lambda one: one.outcome.attainment * 100, "{:.1f} %"),
            _spread(runs, lambda one: one.outcome.gpu_hours, "{:.2f}"),
            _spread(runs, lambda one: one.relative_hours, "{:.2f}"),
            _spread(runs, lambda one: one.outcome.peak, "{:.0f}"),
            _spread(runs, lambda one: one.outcome.refused, "{:,.0f}"),
            _spread(runs, lambda one: one.outcome.cut, "{:,.0f}"),
            _spread(runs, lambda one: one.outcome.largest_wait, "{:,.1f} s"),
            _spread(runs, lambda one: one.outcome.changes, "{:.0f}"),
        )
    return table


def _spread(runs: tuple[Played, ...], figure: Callable[[Played], float], form: str) -> str:
    """The mean of the seeds, and from where to where they go if that is more than rounding."""
    values = [float(figure(one)) for one in runs]
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{form.format(mean(values))} ({low} to {high})"


def _clock(second: float) -> str:
    minutes, seconds = divmod(int(second), _MINUTE)
    return f"{minutes:>3}:{seconds:02}"

"""The table form of `kubectl llama cost`, for people. Called by `cli.cost.command`."""

from rich.table import Table

from llama_operator.cli.cost.answer import Answer
from llama_operator.cli.plan import document
from llama_operator.cli.shared import output
from llama_operator.decide.plan.cold_start import total_seconds
from llama_operator.decide.plan.cost import Cost

_MICROS = 1_000_000
_HOURS_PER_DAY = 24


def show(answer: Answer) -> None:
    """Print the plan, the prices, a row for each number of replicas, and the break-even."""
    console = output.console()
    chosen, speed, workload = answer.chosen, answer.performance, answer.workload
    console.print(f"[bold]{answer.deployment}[/]  {chosen.label}: {chosen.sharding.ranks} GPU(s) per replica")
    console.print(f"  price     {_dollars(answer.usd_micros_per_gpu_hour)} per GPU and hour", markup=False)
    console.print(f"            {answer.table.basis}", markup=False)
    console.print(
        f"  load      prompts of {workload.prompt_tokens:,} and answers of {workload.output_tokens:,} tokens; a replica "
        f"sustains about {speed.requests_per_minute:,} requests a minute",
        markup=False,
    )
    if (guard := answer.decision.guard) is not None:
        what = (
            "on the model's GPUs, at no further cost"
            if guard.shared
            else f"{answer.guard.gpus:,} GPU(s) of {guard.best.accelerator.name}, {_dollars(answer.guard.usd_micros_per_hour)} per hour at every "
            "number of replicas, in all that follows"
        )
        console.print(f"  guard     {guard.model.id}: {what}", markup=False)
    if stages := document.cold_start(answer.decision):
        console.print(f"  start     about {total_seconds(stages):,} s, paid for before the first answer", markup=False)
    output.show_table(console, _table(answer))
    for line in _sentences(answer):
        console.print(f"  {line}", markup=False)
    if (problem := answer.decision.problem) is not None:
        console.print(f"! {problem.reason}: {problem.text}", markup=False)


def _table(answer: Answer) -> Table:
    headings = ("REPLICAS", "GPUS", "$/HOUR", "$/DAY", "REQUESTS/MIN", "$/M TOKENS", "$/M OUTPUT TOKENS")
    table = output.table(*headings, right=headings, whole=headings[:-2])
    for name, figures in answer.scenarios:
        table.add_row(
            f"{name} {figures.replicas:,}",
            f"{figures.gpus:,}",
            _dollars(figures.usd_micros_per_hour),
            _dollars(figures.usd_micros_per_hour * _HOURS_PER_DAY),
            f"{figures.requests_per_minute:,}",
            _optional(figures.usd_micros_per_million_tokens),
            _optional(figures.usd_micros_per_million_output_tokens),
        )
    return table


def _sentences(answer: Answer) -> list[str]:
    rate = answer.workload.requests_per_minute
    lines = [
        f"Tokens are counted at {rate:,} requests a minute, or at all that the replicas sustain where that is less."
        if rate
        else "Tokens are counted at full load; say yours with --requests-per-minute, or in spec.objectives."
    ]
    if answer.week:
        lines.append(_week(answer))
    api = answer.api_usd_micros_per_million_tokens
    if api is None:
        return lines
    lines += [_break_even(name, figures, api) for name, figures in answer.scenarios if figures.replicas]
    return lines


def _week(answer: Answer) -> str:
    parts = [
        f"{one.hours:g} h with {one.bounds.least:,} to {one.bounds.most:,}"
        + (f" ({one.bounds.window})" if one.bounds.window else "")
        for one in answer.week
    ]
    hours = sum(one.hours for one in answer.week)
    dearest = max(one.usd_micros_per_hour for one in answer.week) * hours
    saved = f", {_dollars(round(dearest) - answer.usd_micros_per_week)} less than the highest minimum at all hours"
    return (
        f"A week of the schedule: {', '.join(parts)} replicas. At the minimum {_dollars(answer.usd_micros_per_week)}"
        f"{saved if dearest > answer.usd_micros_per_week else ''}; what the load adds comes on top."
    )


def _break_even(name: str, figures: Cost, api: int) -> str:
    even = figures.break_even
    if even is None:
        return ""
    begin = f"{name} ({figures.replicas:,}): against an API at {_dollars(api)} per million tokens"
    share = f"{even.tokens_per_day * 100 // max(1, figures.capacity_tokens_per_day)} %"
    if even.reachable:
        return f"{begin} cheaper from {even.tokens_per_day:,} tokens a day on, {share} of what they sustain"
    return f"{begin} never cheaper: it would take {even.tokens_per_day:,} tokens a day, {share} of what they sustain"


def _optional(usd_micros: int | None) -> str:
    return "-" if usd_micros is None else _dollars(usd_micros)


def _dollars(usd_micros: int) -> str:
    return f"{usd_micros / _MICROS:,.2f}" if usd_micros >= _MICROS // 10 else f"{usd_micros / _MICROS:,.4f}"

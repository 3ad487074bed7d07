"""Figures of the rows of docs/bench-autoscaling.md: shares, hours and peaks in the means of the seeds. Called by `bench.autoscaling.report` and `bench.autoscaling.verdict`."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import mean
from typing import Any

from llama_operator.simulate.scalers.table import SHIPPED

PRODUCT, CLAIRVOYANT, IN_THE_SECOND, FIXED = "product", "clairvoyant", "in-the-second", "fixed"
LATENCY = "product, Latency"
"""The product with `spec.scaling.preference: Latency`; `PRODUCT` has the default one."""
ORDER = (PRODUCT, LATENCY, FIXED, *SHIPPED, IN_THE_SECOND, CLAIRVOYANT)
_MOST_PEAK = 2.0
_SAME_SHARE, _SAME_HOURS = 0.002, 1.01

Line = dict[str, Any]
Key = tuple[str, float]
"""A workload and a cold start; its seeds lie below it."""


def by_cell(lines: Iterable[Line]) -> dict[Key, list[Line]]:
    """Sort lines by workload and cold start."""
    cells: dict[Key, list[Line]] = defaultdict(list)
    for line in lines:
        cells[line["workload"], line["coldStart"]].append(line)
    return dict(cells)


def by_seed(lines: Iterable[Line]) -> dict[int, list[Line]]:
    """Sort lines by seed."""
    seeds: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        seeds[line["seed"]].append(line)
    return dict(seeds)


def lines_of(lines: Iterable[Line], name: str) -> list[Line]:
    """Return the lines of an autoscaler, by seed."""
    return sorted((line for line in lines if line["autoscaler"] == name), key=lambda line: int(line["seed"]))


def hours_of(lines: list[Line], name: str) -> list[float]:
    """GPU-hours of an autoscaler over the clairvoyant's, by seed."""
    yardstick = {line["seed"]: line["gpu_hours"] for line in lines_of(lines, CLAIRVOYANT)}
    return [line["gpu_hours"] / (yardstick.get(line["seed"]) or 1.0) for line in lines_of(lines, name)]


def share_of(lines: list[Line], name: str) -> float:
    """Return the share of first tokens within the objective, in the mean of the seeds."""
    return mean(line["attainment"] for line in lines_of(lines, name))


def spread_of(lines: list[Line], name: str) -> float:
    """Return half of what lies between the shares of the lowest and the highest seed."""
    values = [line["attainment"] for line in lines_of(lines, name)]
    return (max(values) - min(values)) / 2


def figure(lines: list[Line], name: str) -> str:
    """Return share and hours as a cell of a table; empty if it was not played."""
    if not lines_of(lines, name):
        return ""
    return f"{100 * share_of(lines, name):.1f} / {mean(hours_of(lines, name)):.2f}"


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    heads = list(headings)
    lines = [f"| {' | '.join(heads)} |", f"|---|{'--:|' * (len(heads) - 1)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def played_by_all(cells: dict[Key, list[Line]], names: list[str]) -> dict[Key, list[Line]]:
    """Cells that all autoscalers have played: means over others cannot be compared."""
    return {key: lines for key, lines in cells.items() if all(lines_of(lines, name) for name in names)}


def within_peak(lines: list[Line], name: str = PRODUCT) -> bool:
    """Whether the largest fleet is within the bound with each seed."""
    fleets = zip(lines_of(lines, name), lines_of(lines, CLAIRVOYANT), strict=True)
    return all(one["peak"] <= _MOST_PEAK * other["peak"] for one, other in fleets)


def is_ahead(lines: list[Line], one: str, other: str) -> bool:
    """Return whether `one` has more within the objective at no more hours than `other`, or fewer hours at no less."""
    # With the seeds that both have played.
    seeds = {line["seed"] for line in lines_of(lines, one)} & {line["seed"] for line in lines_of(lines, other)}
    lines = [line for line in lines if line["seed"] in seeds]
    if not lines:
        return False
    more, less = share_of(lines, one), share_of(lines, other)
    hours, others = mean(hours_of(lines, one)), mean(hours_of(lines, other))
    no_worse = more >= less - _SAME_SHARE and hours <= others * _SAME_HOURS
    return no_worse and (more > less + _SAME_SHARE or hours * _SAME_HOURS < others)


def by_size(lines: list[Line]) -> list[tuple[int, float, float]]:
    """Fixed fleets of a cell: replicas, share within the objective and GPU-hours, in the means of the seeds that have played the size."""
    of: dict[int, list[Line]] = defaultdict(list)
    for line in lines_of(lines, FIXED):
        for size in line.get("sizes", ()):
            of[size["replicas"]].append(size)
    return [
        (replicas, mean(one["attainment"] for one in found), mean(one["gpu_hours"] for one in found))
        for replicas, found in sorted(of.items())
    ]

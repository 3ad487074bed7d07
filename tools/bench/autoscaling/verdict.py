"""The verdict of docs/bench-autoscaling.md: each bar, in how many rows it holds, and where it does not. Called by `bench.autoscaling.report`."""

from collections.abc import Callable, Iterable
from statistics import mean, median

from bench.autoscaling.figures import (
    CLAIRVOYANT,
    FIXED,
    IN_THE_SECOND,
    LATENCY,
    PRODUCT,
    Key,
    Line,
    by_size,
    figure,
    hours_of,
    is_ahead,
    lines_of,
    share_of,
    spread_of,
    table,
    within_peak,
)
from llama_operator.simulate.scalers.table import SHIPPED

_SMOOTH_GOAL, _SMOOTH_HOURS, _SMOOTH_MEDIAN = 0.99, 1.30, 1.15
_SMOOTH_START = 120.0
_LONG_GOAL = 0.95
_BURST_POINTS, _BURST_HOURS = 0.02, 1.5


def verdict(cells: dict[Key, list[Line]], names: list[str]) -> Iterable[str]:
    """Each bar, in how many cells it holds, and where it does not."""
    rows = []
    smooth = {key: lines for key, lines in cells.items() if lines[0]["kind"] == "smooth"}
    near = {key: lines for key, lines in smooth.items() if key[1] <= _SMOOTH_START}
    burst = {key: lines for key, lines in cells.items() if lines[0]["kind"] == "burst"}
    long = {key: lines for key, lines in cells.items() if lines[0]["kind"] == "long"}
    rows.append(
        _bar(
            "smooth loads, start <= 120 s: 99 % within the objective at 1.30 times the clairvoyant's hours",
            near,
            _smooth,
        )
    )
    if near:
        middle = median(mean(hours_of(lines, PRODUCT)) for lines in near.values())
        rows.append([f"the same: median of the hours at most {_SMOOTH_MEDIAN}", f"{middle:.2f}", "", ""])
    rows.append(
        _bar("long prompts: 95 % within the objective", long, lambda lines: share_of(lines, PRODUCT) >= _LONG_GOAL)
    )
    if IN_THE_SECOND in names:
        rows.append(
            _bar("bursts: within 2 points of the right number in the second, at 1.5 times its hours", burst, _burst)
        )
        rows.append(
            _bar("no request refused that the right number in the second would have answered", cells, _no_refusal)
        )
    rows.append(_bar("peak at most twice the clairvoyant's", cells, within_peak))
    if IN_THE_SECOND in names:
        rows += _beside_a_bounded_reference(cells, burst)
    if FIXED in names:
        days = {
            key: lines
            for key, lines in cells.items()
            if lines_of(lines, FIXED) and "sizes" in lines_of(lines, FIXED)[0]
        }
        rows.append(_bar("a day or longer: no fixed size is better in both figures", days, _no_better_size))
        shorter = {key: lines for key, lines in cells.items() if key not in days}
        rows.append(
            _bar(
                "beside what must hold, shorter loads: the fixed size of the peak is not better in both figures",
                shorter,
                lambda lines: not is_ahead(lines, FIXED, PRODUCT),
            )
        )
    yield table(["what must hold", "cells", "held out", "not in"], rows)
    yield from _fixed_sizes(cells)
    yield from _beside_shipped(cells, names)


def _beside_shipped(cells: dict[Key, list[Line]], names: list[str]) -> Iterable[str]:
    """In how many cells the product is ahead of each shipped autoscaler, and in how many those who know more are."""
    knowing = [name for name in (IN_THE_SECOND, CLAIRVOYANT) if name in names]
    settings = [name for name in (PRODUCT, LATENCY) if name in names]
    rows = []
    for name in (name for name in SHIPPED if name in names):
        both = {key: lines for key, lines in cells.items() if lines_of(lines, name)}
        _, ahead, held_out, _ = _bar("", both, _ahead_of(name, (PRODUCT,)))
        _, latency, _, _ = _bar("", both, _ahead_of(name, (LATENCY,)))
        _, either, _, missed = _bar("", both, _ahead_of(name, settings))
        known = (str(sum(is_ahead(lines, other, name) for lines in both.values())) for other in knowing)
        behind = sum(all(is_ahead(lines, name, setting) for setting in settings) for lines in both.values())
        rows.append([name, ahead, held_out, latency, either, *known, str(behind), missed])
    if not rows:
        return
    yield _AHEAD
    heads = ("`Balanced` is ahead", "held out", "`Latency` is ahead", "one of both is ahead")
    others = (*(f"{name} is ahead" for name in knowing), "both are behind", "none of both is ahead in")
    yield table(["autoscaler", *heads, *others], rows)
    yield _NOT_AHEAD


_AHEAD = """Ahead is more attainment at no more GPU-hours, or fewer hours at no less attainment, in the means of the seeds that both have played; differences of 0.2 points
and of 1 % of the hours count as none. Behind is the reverse. `Balanced` is the default, and `Latency` the setting for who wants what those autoscalers buy that hold
a multiple of the load.
"""
_NOT_AHEAD = """The bar is 90 % of the cells. Two columns say how far it can be reached: `in-the-second` knows the right number in the
second in which it becomes right, and not before. The clairvoyant knows the whole trace, and keeps the goal of its workload (99 %, 95 % of long prompts) with the fewest hours. A shipped
autoscaler that holds two to four times the replicas that the load needs has them before a step comes, and is late less. Who is
to be ahead of it needs the same attainment, to 0.2 points. A load that steps above what serves is late for one start, unless the replicas stood by before: a policy that does not
know the step is ahead then only if it held nearly as much.
"""


def _bar(text: str, cells: dict[Key, list[Line]], holds: Callable[[list[Line]], bool]) -> list[str]:
    missed = [f"{workload} {start:.0f} s" for (workload, start), lines in cells.items() if not holds(lines)]
    held_out = [lines for lines in cells.values() if not any(line["tuning"] for line in lines)]
    kept = sum(holds(lines) for lines in held_out)
    return [text, f"{len(cells) - len(missed)} of {len(cells)}", f"{kept} of {len(held_out)}", ", ".join(missed) or "-"]


def _beside_a_bounded_reference(cells: dict[Key, list[Line]], burst: dict[Key, list[Line]]) -> Iterable[list[str]]:
    """The bars that name the right number in the second, where it keeps to the bound of the peak itself: else both cannot be met."""
    within = {key for key, lines in cells.items() if within_peak(lines, IN_THE_SECOND)}
    bounded = {key: lines for key, lines in burst.items() if key in within}
    yield _bar(
        "beside what must hold: bursts, where the right number in the second keeps to that peak", bounded, _burst
    )
    bounded = {key: lines for key, lines in cells.items() if key in within}
    yield _bar("beside what must hold: none refused, where it keeps to that peak", bounded, _no_refusal)


def _smooth(lines: list[Line]) -> bool:
    return share_of(lines, PRODUCT) >= _SMOOTH_GOAL and mean(hours_of(lines, PRODUCT)) <= _SMOOTH_HOURS


def _burst(lines: list[Line]) -> bool:
    enough = share_of(lines, PRODUCT) >= share_of(lines, IN_THE_SECOND) - _BURST_POINTS
    return enough and mean(hours_of(lines, PRODUCT)) <= _BURST_HOURS * mean(hours_of(lines, IN_THE_SECOND))


def _no_refusal(lines: list[Line]) -> bool:
    refused = [sum(line["refused"] for line in lines_of(lines, name)) for name in (PRODUCT, IN_THE_SECOND)]
    return refused[0] <= refused[1]


def _no_better_size(lines: list[Line]) -> bool:
    """Whether no fixed size has, in the means of the seeds, more within the objective and fewer hours, each beyond the spread of the seeds."""
    product = lines_of(lines, PRODUCT)
    hours = [line["gpu_hours"] for line in product]
    spread_of_hours, spread = (max(hours) - min(hours)) / 2, spread_of(lines, PRODUCT)
    return not any(
        share > share_of(lines, PRODUCT) + spread and spent < mean(hours) - spread_of_hours
        for _, share, spent in by_size(lines)
    )


def _fixed_sizes(cells: dict[Key, list[Line]]) -> Iterable[str]:
    """The product beside fixed fleets of every size, where a load takes a day or longer."""
    chosen = {key: by_size(lines) for key, lines in cells.items() if by_size(lines)}
    if not chosen:
        return
    most = max(sizes[-1][0] for sizes in chosen.values())
    rows = []
    for (workload, start), sizes in chosen.items():
        lines = cells[workload, start]
        yardstick = mean(line["gpu_hours"] for line in lines_of(lines, CLAIRVOYANT))
        by_replicas = {replicas: f"{100 * share:.1f} / {hours / yardstick:.2f}" for replicas, share, hours in sizes}
        rows.append(
            [
                f"{workload} {start:.0f} s",
                figure(lines, PRODUCT),
                *(by_replicas.get(size, "") for size in range(1, most + 1)),
            ]
        )
    yield "Fixed fleets of every size up to that of the peak, beside the product; each is ready from the beginning.\n"
    yield table(["workload", PRODUCT, *(f"fleet of {size}" for size in range(1, most + 1))], rows)


def _ahead_of(name: str, settings: Iterable[str]) -> Callable[[list[Line]], bool]:
    chosen = tuple(settings)
    return lambda lines: any(is_ahead(lines, setting, name) for setting in chosen)

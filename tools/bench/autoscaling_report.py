"""Writes docs/bench-autoscaling.md and its pictures from what was played. Called by `bench.autoscaling`."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean, median
from typing import Any

from bench.autoscaling_cells import COLD_STARTS, ROOT, SEEDS, Cell
from bench.png import png
from llama_operator.simulate.picture.svg import Point, pareto
from llama_operator.simulate.scalers.table import SHIPPED

DOCUMENT = ROOT / "docs" / "bench-autoscaling.md"
PRODUCT, CLAIRVOYANT, IN_THE_SECOND, FIXED = "product", "clairvoyant", "in-the-second", "fixed"
_ORDER = (PRODUCT, FIXED, *SHIPPED, IN_THE_SECOND, CLAIRVOYANT)
_SMOOTH_GOAL, _SMOOTH_HOURS, _SMOOTH_MEDIAN = 0.99, 1.30, 1.15
_SMOOTH_START = 120.0
_LONG_GOAL = 0.95
_BURST_POINTS, _BURST_HOURS = 0.02, 1.5
_MOST_PEAK = 2.0
_AHEAD_GOAL = 0.9
_CHAOS_MOST = 1.2

Line = dict[str, Any]
Key = tuple[str, float]
"""A workload and a cold start; its seeds lie below it."""

_HEAD = """# Autoscalers beside each other

Written by `make bench-autoscaling`; do not edit. What is simulated, and how far it holds, is in [simulate](simulate.md). Each figure is the
share of first tokens within the objective, in percent, / GPU-hours over those of the clairvoyant, who knows the trace. All autoscalers
of a cell begin with the same ready fleet. Figures of a row are means of its seeds; behind ± is half of what lies between the lowest and the
highest seed, of the share. **T** marks rows that were looked at while the policy was chosen, the wave with all of its seeds and the others with the first one;
no other cell was. Beside them, five, three and eight copies of Azure's conversations were looked at, and only the five are a row. With the seeds after the first one only the product and its yardsticks (`fixed`, `in-the-second`, `clairvoyant`) play; figures of others are of the first seed, and they are
compared by that.
"""


def write(
    path: Path,
    lines: list[Line],
    chaos: list[Line],
    absent: Iterable[str],
    *,
    every: Iterable[Cell],
    timelines: Iterable[tuple[str, str]] = (),
) -> None:
    """Write the document, the figures as JSON, and the pictures beside it as SVG and PNG.

    Args:
        path: The document.
        lines: One for each autoscaler of each cell.
        chaos: One for each thing that goes wrong.
        absent: Workloads whose trace is not there.
        every: Cells that there are.
        timelines: Name and SVG of runs over time.
    """
    every = list(every)
    cells = _by_cell(lines)
    names = [name for name in _ORDER if any(line["autoscaler"] == name for line in lines)]
    tuning = sum(bool(runs[0]["tuning"]) for seeds in cells.values() for runs in _by_seed(seeds).values())
    whole = sum(len(_by_seed(seeds)) for seeds in cells.values())
    parts = [_HEAD, f"{whole} of {len(every)} cells, {tuning} of them used for tuning, {whole - tuning} held out."]
    parts.append(_versions(lines))
    parts += _not_played(lines, every)
    if left_out := sorted(absent):
        parts.append(f"Not played, because the trace is not there: {', '.join(left_out)}.")
    if PRODUCT in names and CLAIRVOYANT in names:
        parts += ["## Verdict\n", *_verdict(cells, names)]
    parts += ["## In the mean\n", _means(cells, names), "## Cell by cell\n", *_cell_tables(cells, names)]
    parts += ["## When something goes wrong\n", _chaos(chaos)] if chaos else []
    parts.append("## Pictures\n")
    folder = path.parent / "images"
    folder.mkdir(exist_ok=True)
    for start in COLD_STARTS:
        if any(at == start for _, at in _of_all(cells, names)):
            parts.append(_drawn(folder, f"autoscaling-pareto-{start:.0f}", _picture(cells, names, start)))
    parts += [_drawn(folder, name, picture) for name, picture in timelines]
    path.write_text("\n".join(parts), encoding="utf-8")
    figures = {"cells": lines, "chaos": chaos}
    path.with_suffix(".json").write_text(json.dumps(figures, separators=(",", ":")) + "\n", encoding="utf-8")


def _drawn(folder: Path, name: str, picture: str) -> str:
    """Write a picture as SVG and as PNG; returns what shows it."""
    (folder / f"{name}.svg").write_text(picture, encoding="utf-8")
    (folder / f"{name}.png").write_bytes(png(picture))
    return f"![{name}](images/{name}.svg)\n"


def _not_played(lines: Iterable[Line], every: Iterable[Cell]) -> Iterable[str]:
    """What is not in the document, by workload."""
    there = {(line["workload"], line["coldStart"], line["seed"]) for line in lines}
    missing: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for cell in every:
        if (cell.workload.name, cell.cold_start, cell.seed) not in there:
            missing[cell.workload.name][cell.seed].append(f"{cell.cold_start:.0f} s")
    if missing:
        rows = (
            [name, *(", ".join(found[seed]) if len(found[seed]) < len(COLD_STARTS) else "all" for seed in SEEDS)]
            for name, found in missing.items()
        )
        yield "Not played yet:\n"
        yield _table(["workload", *(f"seed {seed}" for seed in SEEDS)], rows)


def _versions(lines: Iterable[Line]) -> str:
    """Of which code the rows are: what a row rests on is hashed, and stands in the JSON beside it."""
    of: dict[str, set[str]] = {"the policy": set(), "the simulator": set()}
    for line in lines:
        of["the policy" if line["autoscaler"] == PRODUCT else "the simulator"].add(str(line["digest"]))
    said = (f"{what} `{'`, `'.join(sorted(found))}`" for what, found in of.items() if found)
    return f"Versions of the code, as in the field `digest` of each row of the JSON: {', '.join(said)}.\n"


def _by_cell(lines: Iterable[Line]) -> dict[Key, list[Line]]:
    cells: dict[Key, list[Line]] = defaultdict(list)
    for line in lines:
        cells[line["workload"], line["coldStart"]].append(line)
    return dict(cells)


def _by_seed(lines: Iterable[Line]) -> dict[int, list[Line]]:
    seeds: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        seeds[line["seed"]].append(line)
    return dict(seeds)


def _of(lines: Iterable[Line], name: str) -> list[Line]:
    return sorted((line for line in lines if line["autoscaler"] == name), key=lambda line: int(line["seed"]))


def _hours(lines: list[Line], name: str) -> list[float]:
    """GPU-hours of an autoscaler over the clairvoyant's, by seed."""
    yardstick = {line["seed"]: line["gpu_hours"] for line in _of(lines, CLAIRVOYANT)}
    return [line["gpu_hours"] / (yardstick.get(line["seed"]) or 1.0) for line in _of(lines, name)]


def _share(lines: list[Line], name: str) -> float:
    return mean(line["attainment"] for line in _of(lines, name))


def _spread(lines: list[Line], name: str) -> float:
    values = [line["attainment"] for line in _of(lines, name)]
    return (max(values) - min(values)) / 2


def _figure(lines: list[Line], name: str) -> str:
    if not _of(lines, name):
        return ""
    return f"{100 * _share(lines, name):.1f} / {mean(_hours(lines, name)):.2f}"


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(headings)
    lines = [f"| {' | '.join(heads)} |", f"|---|{'--:|' * (len(heads) - 1)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _of_all(cells: dict[Key, list[Line]], names: list[str]) -> dict[Key, list[Line]]:
    """Cells that all autoscalers have played: means over others cannot be compared."""
    return {key: lines for key, lines in cells.items() if all(_of(lines, name) for name in names)}


def _means(cells: dict[Key, list[Line]], names: list[str]) -> str:
    rows, cells = [], _of_all(cells, names)
    for start in COLD_STARTS:
        for kind in ("smooth", "burst", "long"):
            chosen = [lines for (_, at), lines in cells.items() if at == start and lines[0]["kind"] == kind]
            if chosen:
                figures = (
                    f"{100 * mean(_share(lines, name) for lines in chosen):.1f} / "
                    f"{mean(mean(_hours(lines, name)) for lines in chosen):.2f}"
                    for name in names
                )
                rows.append([f"{start:.0f} s, {kind}", *figures])
    return _table(["cold start, kind", *names], rows)


def _cell_tables(cells: dict[Key, list[Line]], names: list[str]) -> Iterable[str]:
    for start in COLD_STARTS:
        rows = []
        for (workload, at), lines in cells.items():
            if at == start:
                mark = " **T**" if any(line["tuning"] for line in lines) else ""
                spread = f" ±{100 * _spread(lines, PRODUCT):.1f}" if _of(lines, PRODUCT) else ""
                figures = (_figure(lines, name) + (spread if name == PRODUCT else "") for name in names)
                peaks = _peaks(lines)
                rows.append([workload + mark, *figures, peaks, _lost(lines)])
        if rows:
            yield f"### Cold start {start:.0f} s\n"
            yield _table(["workload", *names, "peak of product and clairvoyant", "refused"], rows)


def _peaks(lines: list[Line]) -> str:
    product, clairvoyant = _of(lines, PRODUCT), _of(lines, CLAIRVOYANT)
    if not product or not clairvoyant:
        return ""
    return f"{max(line['peak'] for line in product)}, {max(line['peak'] for line in clairvoyant)}"


def _lost(lines: list[Line]) -> str:
    return f"{sum(line['refused'] for line in _of(lines, PRODUCT)):,}" if _of(lines, PRODUCT) else ""


def _verdict(cells: dict[Key, list[Line]], names: list[str]) -> Iterable[str]:
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
        middle = median(mean(_hours(lines, PRODUCT)) for lines in near.values())
        rows.append([f"the same: median of the hours at most {_SMOOTH_MEDIAN}", f"{middle:.2f}", "", ""])
    rows.append(
        _bar("long prompts: 95 % within the objective", long, lambda lines: _share(lines, PRODUCT) >= _LONG_GOAL)
    )
    if IN_THE_SECOND in names:
        rows.append(
            _bar("bursts: within 2 points of the right number in the second, at 1.5 times its hours", burst, _burst)
        )
        rows.append(
            _bar("no request refused that the right number in the second would have answered", cells, _no_refusal)
        )
    rows.append(_bar("peak at most twice the clairvoyant's", cells, _peak))
    if IN_THE_SECOND in names:
        rows += _beside_a_bounded_reference(cells, burst)
    if FIXED in names:
        days = {key: lines for key, lines in cells.items() if _of(lines, FIXED) and "sizes" in _of(lines, FIXED)[0]}
        rows.append(_bar("a day or longer: no fixed size is better in both figures", days, _no_better_size))
        shorter = {key: lines for key, lines in cells.items() if key not in days}
        rows.append(
            _bar(
                "beside what must hold, shorter loads: the fixed size of the peak is not better in both figures",
                shorter,
                lambda lines: not _is_ahead(lines, FIXED, PRODUCT),
            )
        )
    yield _table(["what must hold", "cells", "held out", "not in"], rows)
    yield from _fixed_sizes(cells)
    yield from _beside_shipped(cells, names)


def _beside_shipped(cells: dict[Key, list[Line]], names: list[str]) -> Iterable[str]:
    """In how many cells the product is ahead of each shipped autoscaler, and in how many those who know more are."""
    knowing = [name for name in (IN_THE_SECOND, CLAIRVOYANT) if name in names]
    rows = []
    for name in (name for name in SHIPPED if name in names):
        both = {key: lines for key, lines in cells.items() if _of(lines, name)}
        _, ahead, held_out, missed = _bar("", both, _ahead_of(name))
        known = (str(sum(_is_ahead(lines, other, name) for lines in both.values())) for other in knowing)
        behind = sum(_is_ahead(lines, name, PRODUCT) for lines in both.values())
        rows.append([name, ahead, held_out, *known, str(behind), missed])
    if not rows:
        return
    yield (
        "Ahead is more attainment at no more GPU-hours, or fewer hours at no less attainment, in the means of the seeds; differences of 0.2 points "
        "and of 1 % of the hours count as none. Behind is the reverse.\n"
    )
    heads = ("product is ahead", "held out", *(f"{name} is ahead" for name in knowing), "product is behind")
    yield _table(["autoscaler", *heads, "not ahead in"], rows)
    yield _NOT_AHEAD


_NOT_AHEAD = """The bar is 90 % of the cells. The two columns in the middle say how far it can be reached. `in-the-second` knows the right number in the
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
    within = {key for key, lines in cells.items() if _peak(lines, IN_THE_SECOND)}
    bounded = {key: lines for key, lines in burst.items() if key in within}
    yield _bar(
        "beside what must hold: bursts, where the right number in the second keeps to that peak", bounded, _burst
    )
    bounded = {key: lines for key, lines in cells.items() if key in within}
    yield _bar("beside what must hold: none refused, where it keeps to that peak", bounded, _no_refusal)


def _smooth(lines: list[Line]) -> bool:
    return _share(lines, PRODUCT) >= _SMOOTH_GOAL and mean(_hours(lines, PRODUCT)) <= _SMOOTH_HOURS


def _burst(lines: list[Line]) -> bool:
    enough = _share(lines, PRODUCT) >= _share(lines, IN_THE_SECOND) - _BURST_POINTS
    return enough and mean(_hours(lines, PRODUCT)) <= _BURST_HOURS * mean(_hours(lines, IN_THE_SECOND))


def _no_refusal(lines: list[Line]) -> bool:
    refused = [sum(line["refused"] for line in _of(lines, name)) for name in (PRODUCT, IN_THE_SECOND)]
    return refused[0] <= refused[1]


def _no_better_size(lines: list[Line]) -> bool:
    """Whether no fixed size has, in the means of the seeds, more within the objective and fewer hours, each beyond the spread of the seeds."""
    product = _of(lines, PRODUCT)
    hours = [line["gpu_hours"] for line in product]
    spread_of_hours, spread = (max(hours) - min(hours)) / 2, _spread(lines, PRODUCT)
    return not any(
        share > _share(lines, PRODUCT) + spread and spent < mean(hours) - spread_of_hours
        for _, share, spent in _by_size(lines)
    )


def _by_size(lines: list[Line]) -> list[tuple[int, float, float]]:
    """Fixed fleets of a cell: replicas, share within the objective and GPU-hours, in the means of the seeds that have played the size."""
    of: dict[int, list[Line]] = defaultdict(list)
    for line in _of(lines, FIXED):
        for size in line.get("sizes", ()):
            of[size["replicas"]].append(size)
    return [
        (replicas, mean(one["attainment"] for one in found), mean(one["gpu_hours"] for one in found))
        for replicas, found in sorted(of.items())
    ]


def _fixed_sizes(cells: dict[Key, list[Line]]) -> Iterable[str]:
    """The product beside fixed fleets of every size, where a load takes a day or longer."""
    chosen = {key: _by_size(lines) for key, lines in cells.items() if _by_size(lines)}
    if not chosen:
        return
    most = max(sizes[-1][0] for sizes in chosen.values())
    rows = []
    for (workload, start), sizes in chosen.items():
        lines = cells[workload, start]
        yardstick = mean(line["gpu_hours"] for line in _of(lines, CLAIRVOYANT))
        of = {replicas: f"{100 * share:.1f} / {hours / yardstick:.2f}" for replicas, share, hours in sizes}
        rows.append(
            [f"{workload} {start:.0f} s", _figure(lines, PRODUCT), *(of.get(size, "") for size in range(1, most + 1))]
        )
    yield "Fixed fleets of every size up to that of the peak, beside the product; each is ready from the beginning.\n"
    yield _table(["workload", PRODUCT, *(f"fleet of {size}" for size in range(1, most + 1))], rows)


def _peak(lines: list[Line], name: str = PRODUCT) -> bool:
    """Whether the largest fleet is within the bound with each seed."""
    fleets = zip(_of(lines, name), _of(lines, CLAIRVOYANT), strict=True)
    return all(one["peak"] <= _MOST_PEAK * other["peak"] for one, other in fleets)


_SAME_SHARE, _SAME_HOURS = 0.002, 1.01


def _is_ahead(lines: list[Line], one: str, other: str) -> bool:
    # With the seeds that both have played.
    seeds = {line["seed"] for line in _of(lines, one)} & {line["seed"] for line in _of(lines, other)}
    lines = [line for line in lines if line["seed"] in seeds]
    if not lines:
        return False
    more, less = _share(lines, one), _share(lines, other)
    hours, others = mean(_hours(lines, one)), mean(_hours(lines, other))
    no_worse = more >= less - _SAME_SHARE and hours <= others * _SAME_HOURS
    return no_worse and (more > less + _SAME_SHARE or hours * _SAME_HOURS < others)


def _ahead_of(name: str) -> Callable[[list[Line]], bool]:
    return lambda lines: _is_ahead(lines, PRODUCT, name)


def _chaos(lines: list[Line]) -> str:
    usual = next(line for line in lines if line["autoscaler"] == "none")
    rows = [
        [
            line["autoscaler"],
            f"{100 * line['attainment']:.1f}",
            f"{line['gpu_hours'] / usual['gpu_hours']:.2f}",
            f"{line['fewest']} to {line['most']}",
            "yes" if line["most"] <= -(-usual["most"] * _CHAOS_MOST // 1) else "**no**",
            f"{line['refused'] + line['cut'] + line['pending']:,}",
        ]
        for line in lines
    ]
    head = "The wave, cold start 120 s, one seed; hours are over those of the undisturbed run.\n\n"
    headings = ["case", "within the objective, %", "hours", "replicas", "at most 1.2 times the usual", "lost"]
    return head + _table(headings, rows)


def _picture(cells: dict[Key, list[Line]], names: list[str], start: float) -> str:
    chosen = [lines for (_, at), lines in _of_all(cells, names).items() if at == start]
    points = [
        Point(
            name,
            mean(mean(_hours(lines, name)) for lines in chosen),
            mean(_share(lines, name) for lines in chosen),
        )
        for name in names
        if chosen
    ]
    return pareto(f"Mean of {len(chosen)} workloads, cold start {start:.0f} s", points)

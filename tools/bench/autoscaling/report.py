"""Writes docs/bench-autoscaling.md and its pictures from what was played. Called by `bench.autoscaling.__main__`."""

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import mean

from bench.autoscaling.cells import COLD_STARTS, ROOT, SEEDS, Cell
from bench.autoscaling.figures import (
    CLAIRVOYANT,
    LATENCY,
    ORDER,
    PRODUCT,
    Key,
    Line,
    by_cell,
    by_seed,
    figure,
    hours_of,
    lines_of,
    played_by_all,
    share_of,
    spread_of,
    table,
)
from bench.autoscaling.verdict import verdict
from llama_operator.simulate.picture.png import png
from llama_operator.simulate.picture.svg import Point, pareto

DOCUMENT = ROOT / "docs" / "bench-autoscaling.md"
_CHAOS_MOST = 1.2

_HEAD = """# Autoscalers beside each other

Written by `make bench-autoscaling`; do not edit. What is simulated, and how far it holds, is in [simulate](simulate.md). Each figure is the
share of first tokens within the objective, in percent, / GPU-hours over those of the clairvoyant, who knows the trace. All autoscalers
of a cell begin with the same ready fleet. Figures of a row are means of its seeds; behind ± is half of what lies between the lowest and the
highest seed, of the share. `product` is with the default preference, `Balanced`. **T** marks rows that were looked at while the policy was chosen: the wave with all of its seeds, spikes with the first two,
peak hours with the second one, client 143 with the third one, and the others with the first one. No other cell was. Beside them, five, three and eight copies of Azure's conversations were looked at, and only the five are a row. With the seeds after the first one only the product and its yardsticks (`fixed`, `in-the-second`, `clairvoyant`) play; figures of others are of the first seed, and they are
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
    cells = by_cell(lines)
    names = [name for name in ORDER if any(line["autoscaler"] == name for line in lines)]
    tuning = sum(bool(runs[0]["tuning"]) for seeds in cells.values() for runs in by_seed(seeds).values())
    whole = sum(len(by_seed(seeds)) for seeds in cells.values())
    parts = [_HEAD, f"{whole} of {len(every)} cells, {tuning} of them used for tuning, {whole - tuning} held out."]
    parts.append(versions(lines))
    parts += _not_played(lines, every)
    if left_out := sorted(absent):
        parts.append(f"Not played, because the trace is not there: {', '.join(left_out)}.")
    if PRODUCT in names and CLAIRVOYANT in names:
        parts += ["## Verdict\n", *verdict(cells, names)]
    parts += ["## In the mean\n", means(cells, names), "## Cell by cell\n", *_cell_tables(cells, names)]
    parts += ["## When something goes wrong\n", _chaos(chaos)] if chaos else []
    parts.append("## Pictures\n")
    folder = path.parent / "images"
    folder.mkdir(exist_ok=True)
    for start in COLD_STARTS:
        if any(at == start for _, at in played_by_all(cells, names)):
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
        yield table(["workload", *(f"seed {seed}" for seed in SEEDS)], rows)


def versions(lines: Iterable[Line]) -> str:
    """Return of which code the rows are: what a row rests on is hashed, and stands in the JSON beside it."""
    of: dict[str, set[str]] = {"the policy": set(), "the simulator": set()}
    for line in lines:
        of["the policy" if line["autoscaler"] in {PRODUCT, LATENCY} else "the simulator"].add(str(line["digest"]))
    said = (f"{what} `{'`, `'.join(sorted(found))}`" for what, found in of.items() if found)
    return f"Versions of the code, as in the field `digest` of each row of the JSON: {', '.join(said)}. Who arrives when is hashed beside it (`arrivals`).\n"


def means(cells: dict[Key, list[Line]], names: list[str]) -> str:
    """Return shares and hours by cold start and kind, over what all have played."""
    rows, cells = [], played_by_all(cells, names)
    for start in COLD_STARTS:
        for kind in ("smooth", "burst", "long"):
            chosen = [lines for (_, at), lines in cells.items() if at == start and lines[0]["kind"] == kind]
            if chosen:
                figures = (
                    f"{100 * mean(share_of(lines, name) for lines in chosen):.1f} / "
                    f"{mean(mean(hours_of(lines, name)) for lines in chosen):.2f}"
                    for name in names
                )
                rows.append([f"{start:.0f} s, {kind}", *figures])
    return table(["cold start, kind", *names], rows)


def _cell_tables(cells: dict[Key, list[Line]], names: list[str]) -> Iterable[str]:
    for start in COLD_STARTS:
        rows = []
        for (workload, at), lines in cells.items():
            if at == start:
                mark = " **T**" if any(line["tuning"] for line in lines) else ""
                spread = f" ±{100 * spread_of(lines, PRODUCT):.1f}" if lines_of(lines, PRODUCT) else ""
                figures = (figure(lines, name) + (spread if name == PRODUCT else "") for name in names)
                peaks = _peaks(lines)
                rows.append([workload + mark, *figures, peaks, _lost(lines)])
        if rows:
            yield f"### Cold start {start:.0f} s\n"
            yield table(["workload", *names, "peak of product and clairvoyant", "refused"], rows)


def _peaks(lines: list[Line]) -> str:
    product, clairvoyant = lines_of(lines, PRODUCT), lines_of(lines, CLAIRVOYANT)
    if not product or not clairvoyant:
        return ""
    return f"{max(line['peak'] for line in product)}, {max(line['peak'] for line in clairvoyant)}"


def _lost(lines: list[Line]) -> str:
    return f"{sum(line['refused'] for line in lines_of(lines, PRODUCT)):,}" if lines_of(lines, PRODUCT) else ""


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
    return head + table(headings, rows)


def _picture(cells: dict[Key, list[Line]], names: list[str], start: float) -> str:
    chosen = [lines for (_, at), lines in played_by_all(cells, names).items() if at == start]
    points = [
        Point(
            name,
            mean(mean(hours_of(lines, name)) for lines in chosen),
            mean(share_of(lines, name) for lines in chosen),
        )
        for name in names
        if chosen
    ]
    return pareto(f"Mean of {len(chosen)} workloads, cold start {start:.0f} s", points)

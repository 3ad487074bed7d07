"""Plays every autoscaler on every cell, and writes docs/bench-autoscaling.md (`make bench-autoscaling`).

What was played is kept, a line of JSON for each autoscaler, in `.bench-autoscaling/`: a run that was broken off goes on where it was, and
after a change of the policy only the product is played again. Nothing here passes or fails; the document says where the product loses.
"""

import argparse
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from bench.autoscaling import loads, report, setups
from bench.autoscaling.cells import SEEDS, WORKLOADS, Cell, Workload, cells
from bench.autoscaling.chaos import CHAOS_START, chaos
from bench.autoscaling.figures import PRODUCT
from bench.autoscaling.play import PLAYERS, kept_lines, names_for, played
from llama_operator.simulate.compare import play
from llama_operator.simulate.need import Need
from llama_operator.simulate.outcome import REFERENCE
from llama_operator.simulate.picture.curves import curves
from llama_operator.simulate.picture.svg import timeline
from llama_operator.simulate.scalers.table import Case

_COMPARED_START = 30.0
_DRAWN, _DRAWN_WITH = ("wave", "step", "on-off", "Azure conversation"), ("product", "in-the-second", "ray-serve")
_MOMENTS = 600


def _play_cell(work: tuple[Cell, tuple[str, ...], Path]) -> list[dict[str, Any]]:
    cell, names, kept = work
    return list(played(cell, names, kept))


def timelines(kept: Path) -> Iterator[tuple[str, str]]:
    """Yield name and picture of runs over time: replicas, need and queue of the product and of two others."""
    for workload in WORKLOADS:
        if workload.name not in _DRAWN or not workload.there:
            continue
        cell = Cell(workload, CHAOS_START, SEEDS[0])
        path = kept / f"need_{cell.name.rsplit('_', 2)[0]}_{cell.seed}.json"
        if not path.is_file():
            continue
        (setup, _), trace = setups.setup_for(workload, cell.cold_start), loads.trace_of(workload, cell.seed)
        case = Case(setup, trace, setups.need_of(cell, setup, trace, kept))
        runs = [(name, play(case, name, cell.seed, player=setups.PLAYER).record) for name in _DRAWN_WITH]
        drawn = [(name, curves(record, case.need, trace.length, _MOMENTS)) for name, record in runs]
        title = f"{workload.name}, cold start {cell.cold_start:.0f} s"
        yield f"autoscaling-{cell.name.rsplit('_', 2)[0]}", timeline(title, drawn)


def compare_loops() -> None:
    """Hold the compiled event loop against the reference, request by request, before anything is played with it.

    Raises:
        SystemExit: If they differ.
    """
    workload = Workload("comparison", "step:low=5,high=40,at=60,length=300", "burst")
    trace, (setup, _) = loads.trace_of(workload, 1), setups.setup_for(workload, _COMPARED_START)
    for name in ("fixed", "keda"):
        case = Case(setup, trace, Need((2,) * 10, 1.0))
        one, other = (play(case, name, 1, player=player) for player in (REFERENCE, setups.PLAYER))
        if one.outcome != other.outcome or one.record.seconds != other.record.seconds:
            raise SystemExit(f"the compiled event loop differs from the reference: {one.outcome}, {other.outcome}")


def main() -> None:
    """Play what is missing, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="workloads whose name begins so")
    parser.add_argument("--scaler", action="append", help="autoscaler; repeatable (default: all)")
    parser.add_argument("--cold-start", type=float, action="append", help="seconds; repeatable (default: all)")
    parser.add_argument("--seed", type=int, action="append", help="repeatable (default: all)")
    parser.add_argument("--length", type=float, help="seconds of each trace, for a sample")
    parser.add_argument(
        "--kept", action="store_true", help="play nothing, write the document from the cells that are whole"
    )
    parser.add_argument("--no-days", action="store_true", help="leave out loads of a day and longer")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, default=loads.KEPT)
    parser.add_argument("--document", type=Path, default=report.DOCUMENT)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    names = tuple(asked.scaler or PLAYERS)
    every = [
        cell
        for cell in cells(asked.only, length=asked.length)
        if (not asked.seed or cell.seed in asked.seed)
        and (not asked.cold_start or cell.cold_start in asked.cold_start)
        and not (asked.no_days and cell.workload.day)
    ]
    # Seed by seed: what is broken off has all workloads, and days, which take as long as all others, are last.
    every.sort(key=lambda cell: (cell.workload.day, cell.seed))
    absent = sorted({cell.workload.name for cell in every if not cell.workload.there})
    work = [(cell, names_for(cell, names), asked.folder) for cell in every if cell.workload.there]
    lines: list[dict[str, Any]] = []
    began = time.monotonic()
    if asked.kept:
        lines = [line for cell in every for line in kept_lines(cell, names_for(cell, names), asked.folder)]
        work = []
    if work:
        compare_loops()
    with ProcessPoolExecutor(asked.processes) as pool:
        for done, found in enumerate(pool.map(_play_cell, work), start=1):
            lines += found
            print(f"{done} of {len(work)} cells, {time.monotonic() - began:.0f} s: {found[0]['workload']}", flush=True)
    disturbed = [] if asked.only or PRODUCT not in names else chaos(1, asked.folder, asked.length)
    report.write(
        asked.document,
        lines,
        disturbed,
        absent,
        every=cells(length=asked.length),
        # Pictures show whole traces.
        timelines=timelines(asked.folder) if lines and asked.length is None else (),
    )
    print(f"written: {asked.document}")


if __name__ == "__main__":
    main()

"""Plays the product while something goes wrong. Called by `bench.autoscaling.__main__`."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.autoscaling import loads, setups
from bench.autoscaling.basis import basis, rests_on
from bench.autoscaling.cells import Cell, Workload
from bench.autoscaling.figures import PRODUCT
from bench.autoscaling.play import read_lines
from llama_operator.simulate.cold_start import ColdStart
from llama_operator.simulate.disturbances import STATELESS, Forgetful, between, frozen
from llama_operator.simulate.run import Disturbance
from llama_operator.simulate.scalers.table import SCALERS, Case

_CHAOS = Workload("chaos", "wave", "smooth")
CHAOS_START = 120.0
_MINUTE = 60.0


def chaos_rows() -> dict[str, tuple[Disturbance | None, int, bool]]:
    """What goes wrong, by name: the disturbance, replicas that never start, and whether the controller forgets."""
    twenty = 20 * _MINUTE
    rows: dict[str, tuple[Disturbance | None, int, bool]] = {"none": (None, 0, False)}
    rows |= {name: (between(change, 600.0, 600.0 + twenty), 0, False) for name, change in STATELESS.items()}
    rows["all silent, to the end"] = (between(STATELESS["all replicas silent"], 600.0, 1e9), 0, False)
    rows["frozen in the trough, 30 min"] = (frozen(1080.0, 1080.0 + 30 * _MINUTE), 0, False)
    rows["frozen, reported anew"] = (frozen(1080.0, 1080.0 + 30 * _MINUTE, anew=True), 0, False)
    rows["2 replicas never start"] = (None, 2, False)
    rows["controller forgets every 60 s"] = (None, 0, True)
    return rows


def chaos(seed: int, kept: Path, length: float | None) -> list[dict[str, Any]]:
    """Play the product with each disturbance."""
    workload = _CHAOS if length is None else replace(_CHAOS, trace=f"wave:length={length:g}")
    cell = Cell(workload, CHAOS_START, seed)
    path = kept / f"chaos_{seed}.jsonl"
    hashes = basis(PRODUCT, workload, seed, kept)
    lines = {line["autoscaler"]: line for line in read_lines(path) if rests_on(line, hashes)}
    rows = chaos_rows()
    if set(rows) - set(lines):
        setup, _ = setups.setup_for(workload, CHAOS_START)
        trace = loads.trace_of(workload, seed)
        case = Case(setup, trace, setups.need_of(cell, setup, trace, kept))
        for name, (disturbance, never, forgets) in rows.items():
            if name not in lines:
                lines[name] = hashes | _chaos_line(case, name, disturbance, never, seed, forgets=forgets)
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(lines[name]) + "\n")
    return [lines[name] for name in rows]


def _chaos_line(
    case: Case, name: str, disturbance: Disturbance | None, never: int, seed: int, *, forgets: bool
) -> dict[str, Any]:
    make: Callable[[], Any] = lambda: SCALERS[PRODUCT](case)  # noqa: E731 - given to a class that calls it again
    scaler = Forgetful(make, _MINUTE) if forgets else make()
    setup = replace(case.setup, cold_start=ColdStart((CHAOS_START,), never=never))
    record = setups.PLAYER.run(
        setup,
        case.trace.arrivals,
        scaler,
        length=case.trace.length,
        seed=seed,
        initial=case.initial,
        disturbance=disturbance,
    )
    measured = setups.PLAYER.outcome(record, setup)
    during = [second.target for second in record.seconds if second.at <= case.trace.length]
    return {
        "autoscaler": name,
        "fewest": min(during),
        "most": max(during),
        "attainment": measured.attainment,
        **asdict(measured),
    }

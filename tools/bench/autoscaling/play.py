"""Plays autoscalers on a cell, and keeps a line of JSON for each. Called by `bench.autoscaling.__main__`."""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.autoscaling import loads, setups
from bench.autoscaling.basis import basis, rests_on
from bench.autoscaling.cells import SEEDS, Cell
from bench.autoscaling.figures import FIXED, LATENCY, PRODUCT
from llama_operator.api.v1alpha1.scaling import ScalingPreference
from llama_operator.decide.bounds import PRICES
from llama_operator.simulate.compare import play
from llama_operator.simulate.outcome import Outcome
from llama_operator.simulate.scalers.known import Fixed
from llama_operator.simulate.scalers.table import SCALERS, SHIPPED, Case

PLAYERS = (*SCALERS, LATENCY)
_ONCE = (*SHIPPED, LATENCY)
"""Who plays with the first seed only."""


def names_for(cell: Cell, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of `names` that play a cell: weeks, and all with seeds after the first one, only the product and its yardsticks play."""
    all_play = cell.seed == SEEDS[0] and not cell.workload.weeks
    return names if all_play else tuple(name for name in names if name not in _ONCE)


def played(cell: Cell, names: Iterable[str], kept: Path) -> Iterator[dict[str, Any]]:
    """Yield a line for each autoscaler; plays what is not kept yet."""
    path = kept / f"{cell.name}.jsonl"
    lines = {line["autoscaler"]: line for line in read_lines(path) if _is_current(line, cell, kept)}
    missing = [name for name in names if name not in lines]
    if missing:
        trace = loads.trace_of(cell.workload, cell.seed)
        setup, spec = setups.setup_for(cell.workload, cell.cold_start)
        scaling = spec.scaling
        case = Case(
            setup,
            trace,
            setups.need_of(cell, setup, trace, kept),
            float(scaling.target_queue_depth),
            float(scaling.upscale_delay_seconds or 0),
            float(scaling.downscale_delay_seconds or 0),
        )
        for name in missing:
            lines[name] = _line(cell, case, name, kept)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(lines[name]) + "\n")
    yield from (_marked(lines[name], cell) for name in names)


def _is_current(line: dict[str, Any], cell: Cell, kept: Path) -> bool:
    name = str(line["autoscaler"])
    if name == FIXED and cell.workload.day and "sizes" not in line:
        return False
    return name in PLAYERS and rests_on(line, basis(name, cell.workload, cell.seed, kept))


def _line(cell: Cell, case: Case, name: str, kept: Path) -> dict[str, Any]:
    began = time.process_time()
    measured = _play(case, name, cell.seed)
    sizes = {"sizes": _sizes(cell, case, kept)} if name == FIXED and cell.workload.day else {}
    return {
        "workload": cell.workload.name,
        "kind": cell.workload.kind,
        "trace": cell.workload.trace,
        "coldStart": cell.cold_start,
        "seed": cell.seed,
        "autoscaler": name,
        **basis(name, cell.workload, cell.seed, kept),
        "needPeak": case.need.peak,
        "attainment": measured.attainment,
        **asdict(measured),
        **sizes,
        "cpuSeconds": round(time.process_time() - began, 2),
    }


def _play(case: Case, name: str, seed: int) -> Outcome:
    if name == LATENCY:
        case, name = replace(case, price=PRICES[ScalingPreference.LATENCY]), PRODUCT
    return play(case, name, seed, player=setups.PLAYER).outcome


def _sizes(cell: Cell, case: Case, kept: Path) -> list[dict[str, Any]]:
    """Play fixed fleets of every size up to that of the peak, each of them ready from the beginning; or read what was played.

    They start nothing, so it is the same for every cold start.
    """
    path = kept / f"sizes_{cell.name.rsplit('_', 2)[0]}_{cell.seed}.json"
    hashes = basis(FIXED, cell.workload, cell.seed, kept)
    if path.is_file():
        content = json.loads(path.read_text(encoding="utf-8"))
        if rests_on(content, hashes):
            return list(content["sizes"])
    sizes = []
    for replicas in range(max(1, case.setup.bounds[0]), case.need.peak + 1):
        record = setups.PLAYER.run(
            case.setup,
            case.trace.arrivals,
            Fixed(replicas),
            length=case.trace.length,
            seed=cell.seed,
            initial=replicas,
        )
        played = setups.PLAYER.outcome(record, case.setup)
        sizes.append({"replicas": replicas, "attainment": played.attainment, "gpu_hours": played.gpu_hours})
    path.write_text(json.dumps({**hashes, "sizes": sizes}), encoding="utf-8")
    return sizes


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file; a line that was broken off is none."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]


def kept_lines(cell: Cell, names: tuple[str, ...], folder: Path) -> list[dict[str, Any]]:
    """What was played of a cell, if it is whole."""
    read = read_lines(folder / f"{cell.name}.jsonl")
    lines = {line["autoscaler"]: line for line in read if _is_current(line, cell, folder)}
    return [_marked(lines[name], cell) for name in names] if set(names) <= set(lines) else []


def _marked(line: dict[str, Any], cell: Cell) -> dict[str, Any]:
    return {**line, "tuning": cell.tuning}

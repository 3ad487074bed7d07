"""Plays every autoscaler on every cell, and writes docs/bench-autoscaling.md (`make bench-autoscaling`).

What was played is kept, a line of JSON for each autoscaler, in `.bench-autoscaling/`: a run that was broken off goes on where it was, and
after a change of the policy only the product is played again. Nothing here passes or fails; the document says where the product loses.
"""

import argparse
import ast
import hashlib
import json
import os
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from bench import autoscaling_figures as figures
from bench import autoscaling_report as report
from bench.autoscaling_cells import ROOT, SEEDS, TRACES, WORKLOADS, Cell, Workload, cells
from bench.compiled.run import COMPILED
from llama_operator import catalog
from llama_operator.api.v1alpha1.scaling import ScalingPreference
from llama_operator.cli.shared import files
from llama_operator.decide.bounds import PRICES
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed
from llama_operator.simulate.cold_start import ColdStart
from llama_operator.simulate.compare import CLAIRVOYANT, play
from llama_operator.simulate.deployment import Choices, setup_of
from llama_operator.simulate.disturbances import STATELESS, Forgetful, between, frozen
from llama_operator.simulate.need import Need, find_need
from llama_operator.simulate.outcome import REFERENCE, Outcome
from llama_operator.simulate.picture.curves import curves
from llama_operator.simulate.picture.svg import timeline
from llama_operator.simulate.router import PathLimits
from llama_operator.simulate.run import Disturbance, Setup
from llama_operator.simulate.scalers.known import Fixed
from llama_operator.simulate.scalers.table import SCALERS, SHIPPED, Case
from llama_operator.simulate.traces.named import find
from llama_operator.simulate.traces.trace import Trace

KEPT = ROOT / ".bench-autoscaling"
MAXIMUM = 40
_PRODUCT, _FIXED, _LATENCY = figures.PRODUCT, figures.FIXED, figures.LATENCY
_PLAYERS = (*SCALERS, _LATENCY)
_ONCE = (*SHIPPED, _LATENCY)
"""Who plays with the first seed only."""
_CHAOS = Workload("chaos", "wave", "smooth")
_CHAOS_START = 120.0
_MINUTE = 60.0
_COMPARED_START = 30.0
_DRAWN, _DRAWN_WITH = ("wave", "step", "on-off", "Azure conversation"), ("product", "in-the-second", "ray-serve")
_MOMENTS = 600


@cache
def digest(name: str) -> str:
    """Short hash of all the code that the result of an autoscaler rests on: old lines are then known as such."""
    package = ROOT / "operator" / "llama_operator" / "simulate"
    sources = [path for path in package.rglob("*.py") if "picture" not in path.parts]
    # One autoscaler does not depend on the others.
    sources = [path for path in sources if path.parent.name != "scalers" or path.stem in {"known", "table"}]
    sources += [
        *(ROOT / "tools" / "bench" / "compiled").glob("*.py"),
        *(ROOT / "tools" / "bench").glob("autoscaling*.yaml"),
        # What a card can do.
        *(ROOT / "operator" / "llama_operator" / "catalog" / "data").glob("performance*.json"),
    ]
    if name in (_PRODUCT, _LATENCY):
        serving = ROOT / "serving" / "llama_serving"
        sources += [
            package / "scalers" / "product.py",
            *serving.glob("autoscaling*.py"),
            *serving.glob("autoscaling/**/*.py"),
        ]
    else:
        sources += [path for path in package.glob("scalers/*.py") if path.stem != _PRODUCT]
    whole = hashlib.sha256()
    for path in sorted(sources):
        content = path.read_text(encoding="utf-8")
        whole.update((_code(content) if path.suffix == ".py" else content).encode())
    return whole.hexdigest()[:12]


def _code(source: str) -> str:
    """What a module does, without what it says about itself: comments, strings that stand alone, and its layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_text(one)] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def definition(workload: Workload) -> str:
    """Short hash of what a workload is, apart from its name and what it is used for."""
    return hashlib.sha256(repr(replace(workload, name="", tuning=False, day=False)).encode()).hexdigest()[:12]


@lru_cache(maxsize=1)
def trace_of(workload: Workload, seed: int) -> Trace:
    """Find the trace of a workload; the last one is kept, since each cold start has the same."""
    text = workload.trace
    if workload.file:
        name, _, settings = text.partition(":")
        folder = _unpacked().parent if name.startswith("servegen") else TRACES
        text = f"{folder / name}:{settings}"
    return find(text, seed)


def _unpacked() -> Path:
    """Unpack ServeGen's clients, once."""
    folder = KEPT / "servegen"
    if not folder.is_dir():
        folder.parent.mkdir(exist_ok=True)
        beside = KEPT / f"servegen.{os.getpid()}"
        with tarfile.open(TRACES / "servegen_m-large_client_traces.tar.gz") as packed:
            packed.extractall(beside, filter="data")
        if not folder.is_dir():
            beside.rename(folder)
    return folder


def names_for(cell: Cell, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of `names` that play a cell: weeks, and all with seeds after the first one, only the product and its yardsticks play."""
    all_play = cell.seed == SEEDS[0] and not cell.workload.weeks
    return names if all_play else tuple(name for name in names if name not in _ONCE)


def setup_for(workload: Workload, cold_start: float) -> tuple[Setup, Any]:
    """Build the setup of a workload; returns the spec too."""
    manifests = files.read([str(ROOT / "tools" / "bench" / workload.manifest)])
    decision = decide(Observed(manifests.deployment, acceptances=manifests.acceptances or None), catalog.load())
    spec = manifests.deployment.spec
    choices = Choices(
        cold_start=cold_start, first_token=workload.first_token, maximum=MAXIMUM, minimum=workload.minimum
    )
    if decision.plan is None or decision.plan.chosen is None:
        raise SystemExit(f"{workload.manifest} does not fit")
    setup = setup_of(spec, decision, decision.plan.chosen, choices)
    if workload.ingress:
        ongoing = setup.engine.max_num_seqs + spec.scaling.target_queue_depth
        setup = replace(setup, limits=PathLimits("Ingress", ongoing, spec.scaling.max_queued_requests))
    return setup, spec


def need_of(cell: Cell, setup: Setup, trace: Trace, kept: Path) -> Need:
    """Find the need of the cell, or read it: it is the same for every cold start."""
    path = kept / f"need_{cell.name.rsplit('_', 2)[0]}_{cell.seed}.json"
    known = digest(CLAIRVOYANT)
    if path.is_file():
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["digest"] == known and content["defined"] == definition(cell.workload):
            return Need(tuple(content["replicas"]), content["attainment"])
    need = find_need(setup, trace, seed=cell.seed, goal=cell.workload.goal, player=COMPILED)
    content = {"digest": known, "defined": definition(cell.workload), **asdict(need)}
    path.write_text(json.dumps(content), encoding="utf-8")
    return need


def played(cell: Cell, names: Iterable[str], kept: Path) -> Iterator[dict[str, Any]]:
    """Yield a line for each autoscaler; plays what is not kept yet."""
    path = kept / f"{cell.name}.jsonl"
    lines = {line["autoscaler"]: line for line in _read(path) if _is_current(line, cell)}
    missing = [name for name in names if name not in lines]
    if missing:
        trace = trace_of(cell.workload, cell.seed)
        setup, spec = setup_for(cell.workload, cell.cold_start)
        scaling = spec.scaling
        case = Case(
            setup,
            trace,
            need_of(cell, setup, trace, kept),
            float(scaling.target_queue_depth),
            float(scaling.upscale_delay_seconds or 0),
            float(scaling.downscale_delay_seconds or 0),
        )
        for name in missing:
            lines[name] = _line(cell, case, name, kept)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(lines[name]) + "\n")
    yield from (_marked(lines[name], cell) for name in names)


def _is_current(line: dict[str, Any], cell: Cell) -> bool:
    name = str(line["autoscaler"])
    if name == _FIXED and cell.workload.day and "sizes" not in line:
        return False
    return name in _PLAYERS and line["digest"] == digest(name) and line["defined"] == definition(cell.workload)


def _line(cell: Cell, case: Case, name: str, kept: Path) -> dict[str, Any]:
    began = time.process_time()
    measured = _play(case, name, cell.seed)
    sizes = {"sizes": _sizes(cell, case, kept)} if name == _FIXED and cell.workload.day else {}
    return {
        "workload": cell.workload.name,
        "kind": cell.workload.kind,
        "trace": cell.workload.trace,
        "defined": definition(cell.workload),
        "coldStart": cell.cold_start,
        "seed": cell.seed,
        "autoscaler": name,
        "digest": digest(name),
        "needPeak": case.need.peak,
        "attainment": measured.attainment,
        **asdict(measured),
        **sizes,
        "cpuSeconds": round(time.process_time() - began, 2),
    }


def _play(case: Case, name: str, seed: int) -> Outcome:
    if name == _LATENCY:
        case, name = replace(case, price=PRICES[ScalingPreference.LATENCY]), _PRODUCT
    return play(case, name, seed, player=COMPILED).outcome


def _sizes(cell: Cell, case: Case, kept: Path) -> list[dict[str, Any]]:
    """Play fixed fleets of every size up to that of the peak, each of them ready from the beginning; or read what was played.

    They start nothing, so it is the same for every cold start.
    """
    path = kept / f"sizes_{cell.name.rsplit('_', 2)[0]}_{cell.seed}.json"
    known = digest(_FIXED)
    if path.is_file():
        content = json.loads(path.read_text(encoding="utf-8"))
        if (content["digest"], content["defined"]) == (known, definition(cell.workload)):
            return list(content["sizes"])
    sizes = []
    for replicas in range(max(1, case.setup.bounds[0]), case.need.peak + 1):
        record = COMPILED.run(
            case.setup,
            case.trace.arrivals,
            Fixed(replicas),
            length=case.trace.length,
            seed=cell.seed,
            initial=replicas,
        )
        played = COMPILED.outcome(record, case.setup)
        sizes.append({"replicas": replicas, "attainment": played.attainment, "gpu_hours": played.gpu_hours})
    path.write_text(
        json.dumps({"digest": known, "defined": definition(cell.workload), "sizes": sizes}), encoding="utf-8"
    )
    return sizes


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]


def _kept(cell: Cell, names: tuple[str, ...], folder: Path) -> list[dict[str, Any]]:
    """What was played of a cell, if it is whole."""
    lines = {line["autoscaler"]: line for line in _read(folder / f"{cell.name}.jsonl") if _is_current(line, cell)}
    return [_marked(lines[name], cell) for name in names] if set(names) <= set(lines) else []


def _marked(line: dict[str, Any], cell: Cell) -> dict[str, Any]:
    return {**line, "tuning": cell.tuning}


def _play_cell(work: tuple[Cell, tuple[str, ...], Path]) -> list[dict[str, Any]]:
    cell, names, kept = work
    return list(played(cell, names, kept))


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
    cell = Cell(workload, _CHAOS_START, seed)
    path = kept / f"chaos_{seed}.jsonl"
    lines = {line["autoscaler"]: line for line in _read(path) if line["digest"] == digest(_PRODUCT)}
    rows = chaos_rows()
    if set(rows) - set(lines):
        setup, _ = setup_for(workload, _CHAOS_START)
        trace = trace_of(workload, seed)
        case = Case(setup, trace, need_of(cell, setup, trace, kept))
        for name, (disturbance, never, forgets) in rows.items():
            if name not in lines:
                lines[name] = _chaos_line(case, name, disturbance, never, seed, forgets=forgets)
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(lines[name]) + "\n")
    return [lines[name] for name in rows]


def _chaos_line(
    case: Case, name: str, disturbance: Disturbance | None, never: int, seed: int, *, forgets: bool
) -> dict[str, Any]:
    make: Callable[[], Any] = lambda: SCALERS[_PRODUCT](case)  # noqa: E731 - given to a class that calls it again
    scaler = Forgetful(make, _MINUTE) if forgets else make()
    setup = replace(case.setup, cold_start=ColdStart((_CHAOS_START,), never=never))
    record = COMPILED.run(
        setup,
        case.trace.arrivals,
        scaler,
        length=case.trace.length,
        seed=seed,
        initial=case.initial,
        disturbance=disturbance,
    )
    measured = COMPILED.outcome(record, setup)
    during = [second.target for second in record.seconds if second.at <= case.trace.length]
    return {
        "autoscaler": name,
        "digest": digest(_PRODUCT),
        "fewest": min(during),
        "most": max(during),
        "attainment": measured.attainment,
        **asdict(measured),
    }


def timelines(kept: Path) -> Iterator[tuple[str, str]]:
    """Yield name and picture of runs over time: replicas, need and queue of the product and of two others."""
    for workload in WORKLOADS:
        if workload.name not in _DRAWN or not workload.there:
            continue
        cell = Cell(workload, _CHAOS_START, SEEDS[0])
        path = kept / f"need_{cell.name.rsplit('_', 2)[0]}_{cell.seed}.json"
        if not path.is_file():
            continue
        (setup, _), trace = setup_for(workload, cell.cold_start), trace_of(workload, cell.seed)
        case = Case(setup, trace, need_of(cell, setup, trace, kept))
        runs = [(name, play(case, name, cell.seed, player=COMPILED).record) for name in _DRAWN_WITH]
        drawn = [(name, curves(record, case.need, trace.length, _MOMENTS)) for name, record in runs]
        title = f"{workload.name}, cold start {cell.cold_start:.0f} s"
        yield f"autoscaling-{cell.name.rsplit('_', 2)[0]}", timeline(title, drawn)


def compare_loops() -> None:
    """Hold the compiled event loop against the reference, request by request, before anything is played with it.

    Raises:
        SystemExit: If they differ.
    """
    workload = Workload("comparison", "step:low=5,high=40,at=60,length=300", "burst")
    trace, (setup, _) = trace_of(workload, 1), setup_for(workload, _COMPARED_START)
    for name in ("fixed", "keda"):
        case = Case(setup, trace, Need((2,) * 10, 1.0))
        one, other = (play(case, name, 1, player=player) for player in (REFERENCE, COMPILED))
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
    parser.add_argument("--folder", type=Path, default=KEPT)
    parser.add_argument("--document", type=Path, default=report.DOCUMENT)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    names = tuple(asked.scaler or _PLAYERS)
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
        lines = [line for cell in every for line in _kept(cell, names_for(cell, names), asked.folder)]
        work = []
    if work:
        compare_loops()
    with ProcessPoolExecutor(asked.processes) as pool:
        for done, found in enumerate(pool.map(_play_cell, work), start=1):
            lines += found
            print(f"{done} of {len(work)} cells, {time.monotonic() - began:.0f} s: {found[0]['workload']}", flush=True)
    disturbed = [] if asked.only or _PRODUCT not in names else chaos(1, asked.folder, asked.length)
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

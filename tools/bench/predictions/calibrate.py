"""Fits the coefficients of the performance model to published and measured figures, and reports the error on those left out.

`make calibrate` rewrites the engines of catalog/data/performance.json and the tables of
docs/performance-model.md; `make calibrate ARGS=--check` only says whether they are as the points of performance_points.json make them.
The search has no randomness: it always ends at the same coefficients.
"""

import argparse
import itertools
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from llama_operator import catalog
from llama_operator.catalog.figures import performance as facts
from llama_operator.catalog.figures.performance import EngineCoefficients
from llama_operator.catalog.models import Fact
from llama_operator.decide.plan.memory import Sharding
from llama_operator.decide.plan.performance import ReplicaModel, Workload, replica_model

ROOT = Path(__file__).resolve().parents[3]
POINTS = Path(__file__).with_name("performance_points.json")
COEFFICIENTS = ROOT / "operator" / "llama_operator" / "catalog" / "data" / "performance.json"
DOCUMENT = ROOT / "docs" / "performance-model.md"
BEGIN, END = "<!-- written by make calibrate -->", "<!-- end -->"

FITTED = tuple(
    name for name in EngineCoefficients.model_fields if name not in {"name", "calibrated", "pipeline_balance"}
)
START = EngineCoefficients(
    name="start",
    compute_efficiency_16_bit=0.7,
    compute_efficiency_8_bit=0.55,
    attention_compute_efficiency=0.4,
    weight_read_efficiency=0.8,
    cache_read_efficiency_16_bit=0.7,
    cache_read_efficiency_8_bit=0.7,
    overlap_exponent=2.0,
    link_efficiency=0.6,
    link_latency_us=8.0,
    step_overhead_us=500.0,
    layer_overhead_us=10.0,
    arrival_wait_steps=0.5,
    pipeline_balance=0.9,
    calibrated="not at all",
)
RUN_WEIGHT = 8
"""A whole run of an engine counts as much as so many single steps."""
FIRST_STRIDE, LAST_STRIDE = 0.3, 0.003
LARGEST_EXPONENT = 16.0
DIGITS = 4

Use = Literal["Calibration", "HeldOut"]


class _Group(Fact):
    source: str
    engine: str
    use: Use
    model: str
    precision: Literal["BF16", "FP16", "FP8"]
    accelerator: str
    tensor: int
    cache_element_bytes: int
    weight: int = 1
    """How many figures each of these counts for: those of a running engine more than those put together from kernels."""


class StepGroup(_Group):
    """Times of single steps; each row is tokens, batch, microseconds."""

    prefill: tuple[tuple[int, int, int], ...]
    decode: tuple[tuple[int, int, int], ...]


class Run(_Group):
    """A whole run of an engine under load."""

    name: str
    prompt_tokens: int
    output_tokens: int
    replicas: int
    concurrency: int
    """Sequences in flight on one replica."""
    output_tokens_per_second: int
    """Of all replicas."""
    time_per_output_token_us: int | None
    time_to_first_token_ms: int | None


class Points(Fact):
    """All of the points file."""

    sources: dict[str, str]
    steps: tuple[StepGroup, ...]
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Residual:
    """One published figure beside ours."""

    group: StepGroup | Run
    what: str
    published: float
    predicted: float

    @property
    def error(self) -> float:
        """Relative; positive where we predict more."""
        return self.predicted / self.published - 1

    @property
    def loss(self) -> float:
        """Squared logarithm: twice as much and half as much are equally wrong."""
        weight = RUN_WEIGHT if isinstance(self.group, Run) else self.group.weight
        return float(weight * math.log(self.predicted / self.published) ** 2)


def read_points() -> Points:
    """Read the published figures."""
    return TypeAdapter(Points).validate_json(POINTS.read_bytes())


def residuals(groups: Iterable[StepGroup | Run], engine: EngineCoefficients) -> list[Residual]:
    """Predict every figure of `groups` with `engine`."""
    return [found for group in groups for found in _of_group(group, _replica(group, engine))]


def fit(groups: Sequence[StepGroup | Run], start: EngineCoefficients) -> EngineCoefficients:
    """Find the coefficients with the least loss by a pattern search: one coefficient at a time, ever smaller strides."""
    best, least = start, _loss(groups, start)
    strides = dict.fromkeys(FITTED, FIRST_STRIDE)
    while max(strides.values()) > LAST_STRIDE:
        for name in FITTED:
            for factor in (1 + strides[name], 1 / (1 + strides[name])):
                tried = best.model_copy(update={name: _bounded(name, getattr(best, name) * factor)})
                if (loss := _loss(groups, tried)) < least - 1e-9:
                    best, least = tried, loss
                    break
            else:
                strides[name] /= 2
    return best


def calibrate(points: Points) -> tuple[EngineCoefficients, ...]:
    """Fit every engine of `points` to its calibration part."""
    everything = (*points.steps, *points.runs)
    fitted = []
    for name in dict.fromkeys(group.engine for group in everything):
        part = [group for group in everything if group.engine == name and group.use == "Calibration"]
        found = fit(part, START)
        rounded = {key: round(getattr(found, key), DIGITS) for key in FITTED}
        text = "; ".join(sorted({f"{g.source}: {g.model} on {g.accelerator}, tensor {g.tensor}" for g in part}))
        fitted.append(
            EngineCoefficients(name=name, pipeline_balance=START.pipeline_balance, calibrated=text, **rounded)
        )
    return tuple(fitted)


def tables(points: Points, engines: Iterable[EngineCoefficients]) -> str:
    """The tables of the document."""
    by_name = {engine.name: engine for engine in engines}
    found = [(group, residuals([group], by_name[group.engine])) for group in (*points.steps, *points.runs)]
    lines = [
        "| source | engine | part | figures | mean error | median | 90 % within | worst |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    order: Callable[[tuple[StepGroup | Run, list[Residual]]], tuple[str, str, str]] = lambda item: (  # noqa: E731
        item[0].source,
        item[0].engine,
        item[0].use,
    )
    for (source, engine, use), part in itertools.groupby(sorted(found, key=order), order):
        errors = sorted(abs(residual.error) for _, all_of_it in part for residual in all_of_it)
        label = "**held out**" if use == "HeldOut" else "calibration"
        lines.append(f"| {source} | {engine} | {label} | {len(errors)} | {_summary(errors)} |")
    lines += ["", "Held-out steps by what they are about:", ""]
    lines += ["| accelerator | model | precision | tensor | figures | mean error | median | 90 % within | worst |"]
    lines += ["|---|---|---|--:|--:|--:|--:|--:|--:|"]
    for group, all_of_it in found:
        if group.use == "HeldOut" and group.engine == "vLLM" and isinstance(group, StepGroup):
            errors = sorted(abs(residual.error) for residual in all_of_it)
            lines.append(
                f"| {group.accelerator} | {group.model} | {group.precision} | {group.tensor} | {len(errors)} | {_summary(errors)} |"
            )
    lines += ["", "Whole runs (MLPerf: 70B FP8; measured: 8B BF16):", ""]
    lines += ["| run | part | figure | published | predicted | error |"]
    lines += ["|---|---|---|--:|--:|--:|"]
    for group, all_of_it in found:
        if isinstance(group, Run):
            label = "**held out**" if group.use == "HeldOut" else "calibration"
            lines += [
                f"| {group.name} | {label} | {r.what} | {r.published:,.0f} | {r.predicted:,.0f} | {r.error:+.1%} |"
                for r in all_of_it
            ]
    return "\n".join(lines)


def main() -> int:
    """Fit, write or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if something would change")
    check = parser.parse_args().check
    points = read_points()
    engines = calibrate(points)
    coefficients, text = _data_file(engines), _document(tables(points, engines))
    if check:
        changed = [
            p for p, content in ((COEFFICIENTS, coefficients), (DOCUMENT, text)) if p.read_text("utf-8") != content
        ]
        for path in changed:
            print(f"{path.relative_to(ROOT)} is not what the points give; run make calibrate")
        return 1 if changed else 0
    COEFFICIENTS.write_text(coefficients, encoding="utf-8")
    DOCUMENT.write_text(text, encoding="utf-8")
    print(tables(points, engines))
    return 0


def _replica(group: StepGroup | Run, engine: EngineCoefficients) -> ReplicaModel:
    known = catalog.load()
    model = known.model(group.model)
    variant = model.default_variant(group.precision)
    if variant is None:
        raise ValueError(f"{group.model} has no {group.precision}")
    accelerator = known.accelerator(group.accelerator)
    replica = replica_model(
        model,
        variant,
        accelerator,
        Sharding(group.tensor, 1),
        accelerator.gpus_per_node,
        kv_element_bytes=group.cache_element_bytes,
        engine=engine,
    )
    if replica is None:
        raise ValueError(f"the speed of {group.accelerator} is not known")
    return replica


def _of_group(group: StepGroup | Run, replica: ReplicaModel) -> Iterable[Residual]:
    if isinstance(group, StepGroup):
        for tokens, batch, published in group.prefill:
            yield Residual(group, "prefill", published, replica.prefill_stage_seconds(tokens, batch) * 1e6)
        for tokens, batch, published in group.decode:
            yield Residual(group, "decode", published, replica.decode_stage_seconds(batch, tokens) * 1e6)
        return
    found = replica.at(group.concurrency, Workload(group.prompt_tokens, group.output_tokens, 0))
    together = found.output_tokens_per_second * group.replicas
    yield Residual(group, "output tokens per second", group.output_tokens_per_second, together)
    if group.time_per_output_token_us is not None:
        yield Residual(
            group, "µs per output token, mean", group.time_per_output_token_us, found.time_per_output_token_us
        )
    if group.time_to_first_token_ms is not None:
        yield Residual(group, "ms to first token, mean", group.time_to_first_token_ms, found.time_to_first_token_ms)


def _loss(groups: Iterable[StepGroup | Run], engine: EngineCoefficients) -> float:
    return sum(residual.loss for residual in residuals(groups, engine))


def _bounded(name: str, value: float) -> float:
    if name.endswith(("efficiency", "_bit")):
        return min(1.0, value)
    return min(LARGEST_EXPONENT, max(1.0, value)) if name == "overlap_exponent" else value


def _summary(errors: Sequence[float]) -> str:
    ninth = errors[min(len(errors) - 1, math.ceil(0.9 * len(errors)) - 1)]
    parts = (statistics.mean(errors), statistics.median(errors), ninth, errors[-1])
    return " | ".join(f"{part:.1%}" for part in parts)


def _data_file(engines: Iterable[EngineCoefficients]) -> str:
    links = ",\n".join(
        "    " + json.dumps(link.model_dump(exclude_none=True), ensure_ascii=False) for link in facts.load().links
    )
    written = json.dumps([engine.model_dump() for engine in engines], indent=2, ensure_ascii=False)
    return '{\n  "links": [\n' + links + '\n  ],\n  "engines": ' + written.replace("\n", "\n  ") + "\n}\n"


def _document(written: str) -> str:
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{written}\n\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())

"""Compares the GPUs of our plans with those that NVIDIA's AIConfigurator recommends (`make bench-plan`).

For each question of the grid: a manifest as a user would write it, planned as the operator plans it; AIConfigurator's
answer from `bench.plan_reference`; which has fewer GPUs; and why they differ. Then every plan of ours is put to
AIConfigurator's own memory and speed model. Writes docs/bench-plan.md. Runs in the environment of the reference.
"""

import json
import logging
import math
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.plan_grid import SYSTEMS, Goal, Point, points
from bench.plan_reference import configuration
from llama_operator import catalog
from llama_operator.api.manifest import parse
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed
from llama_operator.decide.plan.candidate import Candidate
from llama_operator.decide.plan.performance import Workload, replica_model

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "docs" / "bench-plan.md"
GOAL_SHARE = 0.95
_MOST_SEQUENCES = 1024
_LONGEST_CELL = 160


@dataclass(frozen=True, slots=True)
class Reference:
    """What AIConfigurator recommends for a point."""

    gpus: int
    replicas: int
    configuration: dict[str, Any]


@dataclass(frozen=True, slots=True)
class OwnModel:
    """What AIConfigurator's model says about one replica of ours at its load."""

    concurrency: int
    fits: bool | None
    """Whether it holds so many sequences; None where it has no model for it."""
    said: str
    tpot_ms: float | None = None
    ttft_ms: float | None = None
    fits_alone: bool | None = None
    """Whether it holds one sequence: if not, the sharding is infeasible in its eyes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One point with both answers."""

    point: Point
    ours: Candidate | None
    reference: Reference | None
    reference_error: str | None
    own_model: OwnModel
    same_sharding: dict[str, Any] | None
    """AIConfigurator's best configuration with our sharding."""

    @property
    def verdict(self) -> str:
        """Who needs fewer GPUs."""
        if self.reference is None:
            return "neither plans it" if self.ours is None else "only ours plans it"
        if self.ours is None:
            return "only AIConfigurator plans it"
        difference = self.ours.gpus - self.reference.gpus
        return "equal" if difference == 0 else "ours fewer" if difference < 0 else "ours more"


def manifest(point: Point) -> dict[str, Any]:
    """The LlamaDeployment that asks for a point."""
    goal = point.goal
    return {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": "bench", "namespace": "bench"},
        "spec": {
            "model": {"name": point.model.name, "precision": point.model.precision},
            "context": {"maxModelLength": math.ceil((goal.prompt_tokens + goal.output_tokens) / 16) * 16},
            "hardware": {"accelerator": point.accelerator},
            # The reference keeps an FP8 cache with FP8 weights, as NVIDIA's checkpoints ask for.
            "engine": {
                "kvCacheDtype": "FP8" if point.model.cache_element_bytes == 1 else "Auto",
                # vLLM's own default on these cards; ours is lower, and a small model holds many more at once.
                "arguments": {"maxNumSeqs": _MOST_SEQUENCES} if point.model.small else {},
            },
            "scaling": {"mode": "QueueDepth", "minReplicas": 1, "maxReplicas": 1024},
            "objectives": {
                "timeToFirstTokenMilliseconds": goal.time_to_first_token_ms,
                "timePerOutputTokenMilliseconds": goal.time_per_output_token_ms,
                "requestsPerMinute": max(1, round(point.requests_per_second * 60)),
                "promptTokens": goal.prompt_tokens,
                "outputTokens": goal.output_tokens,
            },
        },
    }


def ours(point: Point) -> Candidate | None:
    """Our plan for a point."""
    deployment = parse(manifest(point))
    if not isinstance(deployment, LlamaDeployment):
        raise TypeError(deployment)
    plan = decide(Observed(deployment, acceptances=None), catalog.load()).plan
    return plan.chosen if plan is not None else None


def best(answer: dict[str, Any], requests_per_second: float) -> Reference | None:
    """The configuration with the fewest GPUs at a load."""
    found = []
    for row in answer["configurations"]:
        replicas = max(1, math.ceil(requests_per_second / row["requests_per_second"] - 1e-9))
        found.append(Reference(replicas * row["gpus"], replicas, row))
    return min(found, key=lambda reference: reference.gpus, default=None)


def same_sharding(answer: dict[str, Any], candidate: Candidate | None) -> dict[str, Any] | None:
    """AIConfigurator's configuration that shards as `candidate` does; for experts, the one without data parallelism."""
    if candidate is None:
        return None
    wanted = f"tp{candidate.sharding.tensor}pp{candidate.sharding.pipeline}dp1"
    rows = [row for row in answer["configurations"] if row["mode"] == "agg" and row["sharding"].startswith(wanted)]
    return max(rows, key=lambda row: float(row["requests_per_second"]), default=None)


def concurrency_at_load(point: Point, candidate: Candidate) -> int:
    """Sequences in flight on one replica when all of them share the load of the point evenly."""
    if candidate.performance is None:
        raise ValueError(f"{candidate.label} has no speed")
    replica = replica_model(
        catalog.load().model(point.model.name),
        candidate.variant,
        candidate.accelerator,
        candidate.sharding,
        candidate.gpus_per_node,
        kv_element_bytes=point.model.cache_element_bytes,
    )
    if replica is None:
        raise ValueError(f"{candidate.label} has no speed")
    workload = Workload(point.goal.prompt_tokens, point.goal.output_tokens, 0)
    share = point.requests_per_second * 60 / candidate.replicas
    low, high = 1, candidate.performance.concurrency
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if replica.at(middle, workload).requests_per_minute >= share else (middle + 1, high)
    return low


class OwnModels:
    """Asks AIConfigurator's model about single replicas of ours; what fits with more sequences fits with fewer."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._known: dict[tuple[Any, ...], list[OwnModel]] = {}

    def ask(self, point: Point, candidate: Candidate) -> OwnModel:
        """Ask about one replica at its load; what keeps the goal with more sequences keeps it with fewer."""
        batch = concurrency_at_load(point, candidate)
        known = self._known.setdefault((point.model, point.accelerator, point.goal, candidate.sharding), [])
        for found in known:
            if found.concurrency == batch or (
                found.concurrency > batch and found.fits and not too_slow(found, point.goal)
            ):
                return found
        found = self._estimate(point, candidate, batch)
        alone = found if found.fits or batch == 1 else self._estimate(point, candidate, 1)
        known.append(replace(found, fits_alone=alone.fits))
        print(
            f"{candidate.label}, {point.model.name}, {point.goal.name}, {batch} at once: {known[-1].said}", flush=True
        )
        return known[-1]

    def _estimate(self, point: Point, candidate: Candidate, batch: int) -> OwnModel:
        from aiconfigurator.cli.api import cli_estimate  # noqa: PLC0415  # only in the reference's environment

        sharding = candidate.sharding
        experts = {"moe_tp_size": sharding.tensor} if catalog.load().model(point.model.name).architecture.moe else {}
        try:
            found = cli_estimate(
                configuration(point.model, self._folder),
                SYSTEMS[point.accelerator],
                mode="agg",
                backend_name="vllm",
                database_mode="HYBRID",
                isl=point.goal.prompt_tokens,
                osl=point.goal.output_tokens,
                # Of one micro-batch: it counts batch times stages in flight.
                batch_size=math.ceil(batch / sharding.pipeline),
                tp_size=sharding.tensor,
                pp_size=sharding.pipeline,
                **experts,
            )
        except Exception as error:  # noqa: BLE001  # whatever it says is part of the report
            text = f"{type(error).__name__}: {error}"
            return OwnModel(batch, False if "OOM" in text else None, text)
        warning = found.kv_cache_warning
        return OwnModel(batch, not warning, warning or "fits", float(found.tpot), float(found.ttft))


def compare(reference: dict[str, Any], models: OwnModels) -> Iterator[Row]:
    """Answer all points."""
    answers = {(a["model"], a["precision"], a["accelerator"], a["goal"]): a for a in reference["answers"]}
    # The highest load first: its answer often covers the lower ones.
    for point in sorted(points(), key=lambda point: -point.requests_per_second):
        key = (point.model.name, point.model.precision, point.accelerator, point.goal.name)
        if key not in answers:
            continue
        answer, candidate = answers[key], ours(point)
        verdict = OwnModel(0, None, "no plan of ours") if candidate is None else models.ask(point, candidate)
        yield Row(
            point,
            candidate,
            best(answer, point.requests_per_second),
            answer["error"],
            verdict,
            same_sharding(answer, candidate),
        )


def explanation(row: Row) -> str:
    """Why the two answers differ, in a sentence made of their own figures."""
    if row.reference is None:
        return f"it answers: {_short(row.reference_error or 'nothing')}"
    found = row.reference.configuration
    its = f"{found['sharding']} at {found['requests_per_second']:.2f} req/s"
    if row.ours is None or row.ours.performance is None:
        return f"ours finds no plan; it takes {its}"
    rate = row.ours.performance.requests_per_minute / 60
    own = f"ours: {rate:.2f} req/s from a replica of {row.ours.sharding.ranks}"
    if found["mode"] != "agg":
        return f"it separates prefill from decode ({its}), which this operator does not do; {own}"
    if "dp1" not in found["sharding"]:
        return f"it runs attention data parallel ({its}), which this operator does not do; {own}"
    if row.same_sharding is None and row.ours.sharding.pipeline > 1:
        return f"it has no configuration with pipeline stages here, and takes {its}; {own}"
    if row.same_sharding is None:
        return f"it finds no load at which our sharding keeps the objectives, and takes {its}; {own}"
    theirs = row.same_sharding["requests_per_second"]
    about = _FP8_PROMPTS if theirs > rate and row.point.model.precision == "FP8" and found["mode"] == "agg" else ""
    tensor = f"tp{row.ours.sharding.tensor}pp{row.ours.sharding.pipeline}dp1"
    if found["sharding"].startswith(tensor):
        return (
            f"same sharding; it predicts {theirs:.2f} req/s from a replica, ours {rate:.2f} ({rate / theirs - 1:+.0%})"
            f"{about}"
        )
    return f"it takes {its}; {own}, for which it predicts {theirs:.2f} ({rate / theirs - 1:+.0%}){about}"


def report(rows: list[Row], version: str) -> str:
    """The document."""
    counts = Counter(row.verdict for row in rows)
    both = [row for row in rows if row.reference is not None]
    not_more = [row for row in both if row.verdict in {"equal", "ours fewer"}]
    infeasible = [row for row in rows if row.own_model.fits_alone is False]
    fuller = [row for row in rows if row.own_model.fits is False and row.own_model.fits_alone]
    slower = [row for row in rows if too_slow(row.own_model, row.point.goal)]
    lines = [
        "# Plans beside AIConfigurator's",
        "",
        _INTRODUCTION.format(version=version),
        "",
        "| | |",
        "|---|--:|",
        f"| questions | {len(rows)} |",
        f"| AIConfigurator has an answer | {len(both)} |",
        f"| ours needs equal or fewer GPUs, of these | {len(not_more)} ({len(not_more) / max(1, len(both)):.1%}; the goal is {GOAL_SHARE:.0%}) |",
        *(f"| {name} | {count} |" for name, count in sorted(counts.items())),
        f"| our plans whose sharding its memory model refuses | {len(infeasible)} (the goal is 0) |",
        f"| our plans with more sequences at once than its memory model holds | {len(fuller)} |",
        f"| our plans that it can estimate | {sum(row.own_model.tpot_ms is not None for row in rows)} |",
        f"| of these, a latency beyond the objective at the load of a replica by its estimate | {len(slower)} |",
        "",
        _JUDGE,
        "",
        "## By model and card",
        "",
        "| model | card | questions | equal | ours fewer | ours more | only ours | only AIConfigurator | neither | GPUs, ours / its |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for key in dict.fromkeys((row.point.model.label, row.point.accelerator) for row in rows):
        part = [row for row in rows if (row.point.model.label, row.point.accelerator) == key]
        seen = Counter(row.verdict for row in part)
        shared = [(row.ours.gpus, row.reference.gpus) for row in part if row.ours and row.reference]
        together = f"{sum(a for a, _ in shared)} / {sum(b for _, b in shared)}" if shared else "-"
        names = (
            "equal",
            "ours fewer",
            "ours more",
            "only ours plans it",
            "only AIConfigurator plans it",
            "neither plans it",
        )
        lines.append(f"| {key[0]} | {key[1]} | {len(part)} | {' | '.join(str(seen[n]) for n in names)} | {together} |")
    lines += ["", "## Every disagreement", ""]
    lines += _table(row for row in rows if row.verdict not in {"equal", "neither plans it"})
    if infeasible:
        lines += ["", "## Our plans whose sharding its memory model refuses", "", *_own_model_table(infeasible)]
    if fuller:
        lines += ["", "## Our plans with more sequences at once than its memory model holds", "", _FULLER, ""]
        lines += _own_model_table(fuller)
    if slower:
        lines += ["", "## Our plans that it takes for too slow", "", _SLOWER, "", *_own_model_table(slower)]
    return "\n".join([*lines, "", *_SEEN]) + "\n"


_SEEN = (
    "## What was seen of AIConfigurator",
    "",
    (
        "- Version 0.12.0 installs with Python 3.11 from the index, and its measurements are in the wheel: it answers without a "
        "network. It says of itself that it is followed by `aisimulate` from 0.13 on."
    ),
    (
        "- Llama 3.1 405B in 16 bits on H100: `support` answers NO for aggregated and disaggregated serving, `recommend` ends with "
        "NoFeasibleConfigError for every goal. `estimate` does accept tensor 8 with 2 pipeline stages there, which is what the "
        "operator plans, so its sweep is what leaves it out."
    ),
    (
        "- Goals that neither plans are those of 405B in 16 bits on H100 within 40 ms per token: reading the weights once through "
        "two stages takes about as long."
    ),
    (
        "- It bundles no 8B or 405B in FP8: they are given as a folder with the shape from our catalog and NVIDIA's usual "
        "quantization file."
    ),
    "- It has no measurements of FP8 attention for prompts with vLLM and takes those in 16 bits, which it says.",
    (
        "- The sweep of Llama 4 Scout takes minutes, so two goals are asked for. Expert parallelism and data parallel attention, "
        "which it considers there, are not what this operator does."
    ),
)
_INTRODUCTION = (
    "Written by `make bench-plan`; do not edit. Each question of a grid is asked twice: as a LlamaDeployment with "
    "`objectives`, planned by the operator's own code, and to NVIDIA's AIConfigurator {version} (`cli recommend`, vLLM, "
    "strict limits, its hybrid database). Fewer GPUs at the same objectives is better."
)
_JUDGE = (
    "Both answers are estimates. Where they differ with the same sharding, the published measurements in "
    "[performance-model.md](performance-model.md) are the judge that exists; a load test is the one that counts."
)
_FP8_PROMPTS = (
    "; long prompts are arithmetic, and its kernel tables reach a larger share of the FP8 datasheet figure than the runs of "
    "vLLM that ours is fitted to"
)
_FULLER = (
    "It gives every sequence the room of its full length, ours counts on sequences that are replaced as they end and so have "
    "half of their answer on average. vLLM allots blocks as a sequence grows: MLPerf's server run on 8 H100 had 564 sequences "
    "in flight on a replica where full lengths would allow about 370, and an even spread about 490. The GPUs and the sharding are the "
    "same in both; what differs is how many requests wait."
)
_SLOWER = (
    "At the load that a replica gets, its estimate of a latency is beyond the objective. Where the margin "
    "is within the error of either model ([performance-model.md](performance-model.md)), this says no more than that."
)


def too_slow(found: OwnModel, goal: Goal) -> bool:
    """Whether AIConfigurator's estimate of a latency is beyond the goal."""
    if found.tpot_ms is None or found.ttft_ms is None:
        return False
    return found.tpot_ms > goal.time_per_output_token_ms or found.ttft_ms > goal.time_to_first_token_ms


def _table(rows: Iterable[Row]) -> list[str]:
    lines = ["| model | card | goal | req/s | GPUs, ours | GPUs, its | why |", "|---|---|---|--:|--:|--:|---|"]
    for row in rows:
        own = "-"
        if row.ours is not None:
            shape = row.ours.sharding
            own = f"{row.ours.gpus} ({row.ours.replicas} × TP{shape.tensor} PP{shape.pipeline})"
        its = "-"
        if row.reference is not None:
            its = f"{row.reference.gpus} ({row.reference.replicas} × {row.reference.configuration['gpus']})"
        point = row.point
        lines.append(
            f"| {point.model.label} | {point.accelerator} | {point.goal.name} | {point.requests_per_second:g} | {own} | {its} "
            f"| {explanation(row)} |"
        )
    return lines


def _own_model_table(rows: Iterable[Row]) -> list[str]:
    lines = ["| model | card | goal | our replica | limits | its estimate |", "|---|---|---|---|---|---|"]
    for row in rows:
        if row.ours is None or row.ours.performance is None:
            continue
        shape, goal, found = row.ours.sharding, row.point.goal, row.own_model
        said = _short(found.said)
        if found.tpot_ms is not None and found.ttft_ms is not None:
            said = f"{found.ttft_ms:,.0f} ms, {found.tpot_ms:.1f} ms"
        lines.append(
            f"| {row.point.model.label} | {row.point.accelerator} | {goal.name} | TP{shape.tensor} PP{shape.pipeline}, "
            f"{found.concurrency} at once | {goal.time_to_first_token_ms:,} ms, {goal.time_per_output_token_ms} ms "
            f"| {said} |"
        )
    return list(dict.fromkeys(lines))


def _short(text: str) -> str:
    line = " ".join(text.split()).replace("|", "/")
    return line if len(line) <= _LONGEST_CELL else line[: _LONGEST_CELL - 3] + "..."


def main() -> int:
    """Read the reference's answers, compare, write the report; the exit code says whether the goal is reached."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.ERROR)
    reference = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        found = {row.point: row for row in compare(reference, OwnModels(folder))}
    rows = [found[point] for point in points() if point in found]
    text = report(rows, reference["aiconfigurator"])
    REPORT.write_text(text, encoding="utf-8")
    print("\n".join(text.splitlines()[4:20]))
    both = [row for row in rows if row.reference is not None]
    share = sum(row.verdict in {"equal", "ours fewer"} for row in both) / max(1, len(both))
    return 0 if share >= GOAL_SHARE and not any(row.own_model.fits_alone is False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

"""The JSON of `kubectl llama simulate -o json`: a stable interface. Called by `cli.simulate.command`; docs/simulate.md explains it."""

from typing import Any

from llama_operator.cli.shared.output import picked
from llama_operator.cli.simulate.answer import Simulated
from llama_operator.simulate.compare import Played
from llama_operator.simulate.picture.curves import Curves, curves
from llama_operator.simulate.scalers.table import Case

_MOMENTS = 240


def document(found: Simulated) -> dict[str, Any]:
    """Build the document."""
    setup, trace = found.cases[0].setup, found.cases[0].trace
    return {
        "deployment": found.deployment,
        "plan": found.plan,
        "trace": {
            "name": trace.name,
            "seconds": trace.length,
            "requests": len(trace.arrivals),
            "requestsPerSecond": round(trace.rate, 3),
            "promptTokens": round(trace.mean_prompt),
            "outputTokens": round(trace.mean_output),
            "begins": found.begins,
        },
        "objectiveSeconds": setup.first_token,
        "coldStartSeconds": setup.cold_start.seconds,
        "gpusPerReplica": setup.gpus,
        "runs": [
            _run(case, one, too_long)
            for case, played, too_long in zip(found.cases, found.played, found.too_long, strict=True)
            for one in played
        ],
    }


def _run(case: Case, one: Played, too_long: int) -> dict[str, Any]:
    measured = one.outcome
    return {
        "autoscaler": one.scaler,
        "seed": one.seed,
        "attainment": round(measured.attainment, 5),
        "gpuHours": round(measured.gpu_hours, 4),
        "relativeToClairvoyant": round(one.relative_hours, 4),
        "peakReplicas": measured.peak,
        "peakNeed": case.need.peak,
        "tooLong": too_long,
        "refused": measured.refused,
        "cut": measured.cut,
        "pending": measured.pending,
        "largestWaitSeconds": round(measured.largest_wait, 3),
        "p99WaitSeconds": round(measured.p99_wait, 3),
        "changes": [picked(change, "at", "before", "after", "reason") for change in one.record.changes],
        "curves": _curves(curves(one.record, case.need, case.trace.length, _MOMENTS)),
    }


def _curves(found: Curves) -> dict[str, Any]:
    return picked(found, "seconds", "ready", "held", "need", "queued")

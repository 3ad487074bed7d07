"""Mistakes in what people write: manifests, names, values of the chart."""

import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from gameday.incident import Incident, answered, condition, event, explain, once
from gameday.stage import Stage

_CHART: Final = Path(__file__).resolve().parents[3] / "charts" / "llama-operator"


def _wrong_name(stage: Stage) -> None:
    manifest = stage.manifest("llama-3.3-70b-fp8-h100")
    manifest["spec"]["model"]["name"] = "llama-3.3-70b-instrct"
    stage.plane.apply(manifest)


def _too_long(stage: Stage) -> None:
    stage.deploy("llama-3.3-70b-fp8-h100", context={"maxModelLength": 1_000_000})


def _five_mistakes(stage: Stage) -> None:
    manifest: dict[str, Any] = stage.manifest("llama-3.3-70b-fp8-h100")
    manifest["spec"]["model"] |= {"precision": "FP9"}
    manifest["spec"]["context"] |= {"concurrentSequences": 0}
    manifest["spec"]["scaling"] |= {"minReplicas": 5, "maxReplicas": 2}
    manifest["spec"]["license"] |= {"attributionURL": "ftp://x", "purpos": "Production"}
    stage.llama("plan", "-f", "-", stdin=manifest)


def _named(stage: Stage, length: int) -> None:
    manifest = stage.manifest()
    manifest["metadata"]["name"] = "x" * length
    stage.tries("apply", "-f", "-", stdin=manifest)


def _long_name(stage: Stage) -> None:
    _named(stage, 39)


def _chart_values(stage: Stage) -> None:
    for values in ("settings.leaseDurationSeconds=3", "image.repository=bad repo:x"):
        with tempfile.TemporaryDirectory() as home:
            done = subprocess.run(
                [str(stage.plane.binaries / "helm"), "template", "llama-operator", str(_CHART), "--set", values],
                env={"HOME": home, "PATH": "/usr/bin:/bin"},
                capture_output=True,
                text=True,
                check=False,
            )
        stage.says(f"{values}: {done.stderr if done.returncode else 'accepted'}")


INCIDENTS: Final = (
    Incident(
        name="model-unknown",
        title="The name of the model is misspelled",
        cause=_wrong_name,
        reasons=("ModelUnknown",),
        says=(
            condition("Ready", "False", "ModelUnknown", has=("llama-3.3-70b-instruct",)),
            condition("Stalled", "True"),
            event("Blocked", has=("llama-3.3-70b-instruct",)),
            explain("model", "Failed", has=("llama-3.3-70b-instruct",)),
        ),
    ),
    Incident(
        name="context-too-long",
        title="A longer context is asked for than the model was trained for",
        cause=_too_long,
        reasons=("ContextTooLong",),
        says=(
            condition("Ready", "False", "ContextTooLong", has=("spec.context.maxModelLength", "131")),
            condition("Stalled", "True"),
            explain("plan", "Failed", has=("spec.context.maxModelLength",)),
        ),
    ),
    Incident(
        name="five-mistakes",
        title="A manifest has five mistakes",
        cause=_five_mistakes,
        says=(
            answered(
                has=(
                    "FP9",
                    "concurrentSequences",
                    "minReplicas",
                    "attributionURL",
                    "unknown field",
                    "did you mean purpose",
                )
            ),
        ),
    ),
    Incident(
        name="long-name",
        title="A name has a character too many",
        cause=_long_name,
        says=(answered(has=("38",)),),
    ),
    Incident(
        name="chart-values",
        title="The chart is installed with values that cannot work",
        cause=_chart_values,
        says=(
            once(answered(has=("leaseDurationSeconds=3",), lacks=("accepted",))),
            once(answered(has=("bad repo:x",), lacks=("accepted",))),
        ),
    ),
)

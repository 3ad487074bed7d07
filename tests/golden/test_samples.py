"""Every sample through the pure core: plan, objects and first status, held against a committed golden file."""

from pathlib import Path

import pytest
import yaml

from llama_operator.cli.shared import files, yaml_text
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.desired import objects
from llama_operator.status import summary

HERE = Path(__file__).resolve().parent
SAMPLES = sorted((HERE.parents[1] / "manifests" / "samples").glob("*.yaml"))
DEPLOYMENTS = [path for path in SAMPLES if "kind: LlamaDeployment" in path.read_text(encoding="utf-8")]

EXPECTED = {
    "tiny-cpu": ("BF16", 1, 1, 1),
    "llama-3.1-8b-l4": ("BF16", 1, 1, 1),
    "llama-3.1-8b-adapters": ("BF16", 1, 1, 1),
    "llama-3.3-70b-fp8-h100": ("FP8", 4, 1, 1),
    "llama-3.3-70b-bf16-h100": ("BF16", 8, 1, 1),
    "llama-3.3-70b-tenants": ("FP8", 4, 1, 1),
    "llama-3.3-70b-gateway": ("FP8", 4, 1, 1),
    "llama-3.3-70b-claim": ("FP8", 4, 1, 1),
    "llama-3.3-70b-image": ("FP8", 4, 1, 1),
    "llama-3.3-70b-guard": ("FP8", 4, 1, 1),
    "llama-3.1-8b-shared-guard": ("BF16", 1, 1, 1),
    "llama-3.1-405b-fp8-h100": ("FP8", 8, 1, 1),
    "llama-3.1-405b-bf16-h100": ("BF16", 8, 2, 2),
}
"""Precision, tensor size, pipeline size, nodes of one replica."""


def render(path, known, now):
    deployment = files.read([str(path)]).deployment
    observed = Observed(deployment, acceptances=None)
    decision = decide(observed, known)
    status = summary.build(observed, decision, failure=None, now=now)
    built = objects.build(observed, decision, Settings())
    return decision, {
        "status": status.to_api(),
        "apply": list(built.apply),
        "delete": [child.name for child in built.delete],
    }


@pytest.mark.parametrize("path", DEPLOYMENTS, ids=lambda path: path.stem)
def test_a_sample_renders_as_its_golden_file(path, known, now, request):
    _, content = render(path, known, now)
    text = yaml_text.dump([content])
    golden = HERE / "samples" / f"{path.stem}.output.yaml"
    if request.config.getoption("--update-golden"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8"), "if this change is wanted: make golden, and read the diff"


@pytest.mark.parametrize("path", DEPLOYMENTS, ids=lambda path: path.stem)
def test_a_sample_is_sharded_as_the_design_says(path, known, now):
    decision, _ = render(path, known, now)
    chosen = decision.plan.chosen
    assert (chosen.variant.precision, chosen.sharding.tensor, chosen.sharding.pipeline, chosen.nodes) == EXPECTED[
        path.stem
    ]


def test_every_sample_is_a_manifest_of_ours():
    for path in SAMPLES:
        files_of = yaml.safe_load_all(path.read_text(encoding="utf-8"))
        assert all(obj["apiVersion"] == "llama-operator.io/v1alpha1" for obj in files_of)


def test_no_golden_file_is_orphaned():
    assert {p.name.removesuffix(".output.yaml") for p in (HERE / "samples").glob("*.yaml")} == {
        p.stem for p in DEPLOYMENTS
    }

"""Names of revisions as version 0.1.0 computed them: another name restarts every model that runs.

`revision_names.yaml` was written before the modules moved, and is never rewritten: a new name needs a new way to tell old
revisions (docs/designs/0008-revisions.md).
"""

from pathlib import Path

import pytest
import yaml

from llama_operator.api.manifest import parse
from llama_operator.cli.shared import files
from llama_operator.decide.rollout.revision import revision_of

HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parents[1] / "manifests" / "samples"
NAMES = yaml.safe_load((HERE / "revision_names.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("stem", sorted(NAMES["samples"]))
def test_a_sample_keeps_the_name_of_its_revision(stem):
    deployment = files.read([str(SAMPLES / f"{stem}.yaml")]).deployment
    assert revision_of(deployment).name == NAMES["samples"][stem]


@pytest.mark.parametrize("case", NAMES["specs"], ids=lambda case: case["name"])
def test_a_spec_keeps_the_name_of_its_revision(case):
    deployment = parse(
        {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LlamaDeployment",
            "metadata": {"name": "chat", "namespace": "team-a"},
            "spec": case["spec"],
        }
    )
    assert revision_of(deployment).name == case["revision"]

"""Replica bounds and queue limits: every field of `spec.scaling` reaches the settings that change while engines run."""

import json

import pytest

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec, ScalingSpec
from llama_operator.decide.bounds import live_settings, most_replicas

BATCH = 8
CHANGED = {
    "min_replicas": 2,
    "max_replicas": 4,
    "target_queue_depth": 5,
    "max_queued_requests": 50,
    "upscale_delay_seconds": 6,
    "downscale_delay_seconds": 60,
}


def settings(**scaling):
    scaled = ScalingSpec(min_replicas=1, max_replicas=3).model_copy(update=scaling)
    spec = LlamaDeploymentSpec.model_validate({"model": {"name": "llama-3.1-8b"}})
    return live_settings(spec.model_copy(update={"scaling": scaled}), BATCH)


@pytest.mark.parametrize("field", [name for name in ScalingSpec.model_fields if name != "mode"])
def test_a_field_of_scaling_reaches_serve(field):
    assert settings(**{field: CHANGED[field]}) != settings()


@pytest.mark.parametrize("mode", ["External", "Manual"])
def test_a_number_of_replicas_that_is_given_is_not_bound_by_the_limit_of_the_queue(mode):
    """`maxReplicas` says so; spec.hardware.maxGPUs is the limit that holds in every mode."""
    written = {"model": {"name": "llama-3.1-8b"}, "replicas": 1024, "scaling": {"mode": mode, "maxReplicas": 2}}
    spec = LlamaDeploymentSpec.model_validate_json(json.dumps(written))
    assert most_replicas(spec) == 1024

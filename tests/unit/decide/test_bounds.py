"""Replica bounds and queue limits: every field of `spec.scaling` reaches the settings that change while engines run."""

import pytest

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec, ScalingSpec
from llama_operator.decide.bounds import live_settings

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

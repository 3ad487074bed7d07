"""What a store of the head changes: workers go on without the head, so requests come in through workers only."""

import pytest

from llama_operator import catalog
from llama_operator.api.manifest import parse
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.desired import objects

STORE = {"headStore": {"address": "redis.team-a:6379", "passwordSecret": {"name": "redis"}}}


def service_of(spec):
    tiny = {"model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}}
    obj = {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": "chat", "namespace": "team-a", "uid": "u-1"},
        "spec": tiny | spec,
    }
    observed = Observed(parse(obj), acceptances=None)
    built = objects.build(observed, decide(observed, catalog.load()), Settings())
    return next(one for one in built.apply if one["kind"] == "RayService")["spec"]


@pytest.mark.parametrize(
    ("spec", "excluded"),
    [
        ({}, None),
        (STORE, True),
        # Only the head is left to take the request that starts a replica.
        (STORE | {"scaling": {"minReplicas": 0, "maxReplicas": 2}}, None),
    ],
    ids=["without a store", "with a store", "down to no replica"],
)
def test_no_request_comes_in_through_a_head_that_may_end(spec, excluded):
    assert service_of(spec).get("excludeHeadPodFromServeSvc") is excluded

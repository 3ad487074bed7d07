"""Builders of typed inputs for the decisions."""

import json

import pytest

from llama_operator.api.manifest import parse
from llama_operator.decide.observed import Observed, RayServiceFacts

LICENSE = {"acceptance": "acme", "attributionURL": "https://acme.example/about"}
"""What a deployment says about its license; the acceptance is not looked up unless a test gives some."""


def deployment_of(*, name="chat", namespace="team-a", **spec):
    obj = {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": name, "namespace": namespace, "uid": "u-1", "generation": 1},
        "spec": {"model": {"name": "llama-3.1-8b"}, "hardware": {"accelerator": "L40S-48GB"}} | spec,
    }
    return parse(json.loads(json.dumps(obj)))


@pytest.fixture(scope="session")
def deployment():
    return deployment_of


@pytest.fixture(scope="session")
def observed():
    def build(*, acceptances=None, nodes=None, ray_services=(), serving=None, facts=None, **kwargs):
        return Observed(
            deployment_of(**({"license": LICENSE} | kwargs)),
            acceptances=acceptances,
            nodes=nodes,
            ray_services=ray_services,
            serving=serving,
            **(facts or {}),
        )

    return build


@pytest.fixture(scope="session")
def service_facts():
    def build(name, *, status="RUNNING", endpoints=1, message="", **more):
        return RayServiceFacts(name, name, endpoints, status, message, (), **more)

    return build

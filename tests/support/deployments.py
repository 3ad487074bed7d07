"""Builders of typed inputs for the decisions: a deployment, what is observed of it, what KubeRay says. For any kind of test."""

import json

from llama_operator import catalog
from llama_operator.api.manifest import parse
from llama_operator.decide.observed import NodeFacts, Observed, RayServiceFacts
from llama_operator.decide.placement.requests import described_room

LICENSE = {"acceptance": "acme", "attributionURL": "https://acme.example/about"}
"""What a deployment says about its license; the acceptance is not looked up unless a test gives some."""


def deployment_of(*, name="chat", namespace="team-a", **spec):
    """A LlamaDeployment of an 8B model on an L40S, with changes of its spec."""
    obj = {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": name, "namespace": namespace, "uid": "u-1", "generation": 1},
        "spec": {"model": {"name": "llama-3.1-8b"}, "hardware": {"accelerator": "L40S-48GB"}} | spec,
    }
    return parse(json.loads(json.dumps(obj)))


def observed_of(*, acceptances=None, nodes=None, ray_services=(), serving=None, facts=None, **spec):
    """What the operator would know about such a deployment; `facts` are further fields of `Observed`."""
    return Observed(
        deployment_of(**({"license": LICENSE} | spec)),
        acceptances=acceptances,
        nodes=nodes,
        ray_services=ray_services,
        serving=serving,
        **(facts or {}),
    )


def service_facts_of(name, *, status="RUNNING", endpoints=1, message="", **more):
    """What KubeRay says about the RayService of a revision."""
    return RayServiceFacts(name, name, endpoints, status, message, (), **more)


def node_of(name, accelerator, devices):
    """A node of which only the accelerators matter: of all else it has enough."""
    return NodeFacts(
        name, accelerator, devices, room=described_room(name, catalog.load().accelerator(accelerator), devices)
    )

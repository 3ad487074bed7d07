"""Deployments by the few fields that a plan depends on, and what is decided about them. Used by tests of `decide.plan` and `catalog`."""

from llama_operator import catalog
from llama_operator.api.manifest import parse_as
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.catalog import Catalog
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed

KNOWN = catalog.load()


def deployment(name="llama-3.3-70b-instruct", accelerator="H100-80GB", **spec):
    written = {"name": name} | spec.pop("model", {})
    hardware = {"accelerator": accelerator} | spec.pop("hardware", {})
    content = {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": "chat", "namespace": "team-a"},
        "spec": {
            "model": written,
            "hardware": hardware,
            "license": {"acceptance": "acme", "attributionURL": "https://acme.example/about"},
        }
        | spec,
    }
    return parse_as(LlamaDeployment, content)


def planned(known: Catalog = KNOWN, *, models=(), **how):
    return decide(Observed(deployment(**how), acceptances=None, models=models), known)

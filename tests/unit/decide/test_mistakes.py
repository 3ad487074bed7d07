"""A manifest is told all that only another manifest can cure, and nothing that rests on a field in doubt."""

import pytest

from llama_operator import catalog
from llama_operator.api.manifest import partly
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.decide.find_model import FIELD as NAME
from llama_operator.decide.mistakes import mistakes
from llama_operator.decide.observed import Observed

KNOWN = catalog.load()
LARGE = {"model": {"name": "llama-3.3-70b-instruct"}, "hardware": {"accelerator": "H100-80GB"}}
ACCELERATOR, LENGTH, PRECISION = "spec.hardware.accelerator", "spec.context.maxModelLength", "spec.model.precision"
LICENSE, SIZES = "spec.license", "spec.parallelism.tensor"

ROOM = {"adapterSlots": {"maxLoras": 1}}


def told(spec, doubted=(), **beside):
    content = {"metadata": {"name": "chat", "namespace": "team-a"}, "spec": {"license": {"acceptance": "acme", "attributionURL": "https://a.example"}} | spec}  # fmt: skip
    deployment, wrong = partly(LlamaDeployment, content)
    observed = Observed(deployment, acceptances=None, models=None, policies=None, **beside)
    return [problem.path for problem in mistakes(observed, KNOWN, (*wrong, *doubted))]


@pytest.mark.parametrize(
    ("spec", "paths"),
    [
        (LARGE, []),
        (LARGE | {"hardware": {"accelerator": "H100"}}, [ACCELERATOR]),
        ({"model": {"name": "llama-9"}, "hardware": {"accelerator": "H100"}}, [NAME, ACCELERATOR]),
        (
            {
                "model": {"name": "llama-3.3-70b-instruct", "precision": "FP16", "variant": "acme/none"},
                "hardware": {"accelerator": "H100"},
                "context": {"maxModelLength": 8_000_000},
            },
            [ACCELERATOR, "spec.model.variant", LENGTH],
        ),
        (
            LARGE | {"context": {"maxModelLength": 8_000_000}, "parallelism": {"mode": "Manual", "tensor": 3}},
            [LENGTH, SIZES],
        ),
        (LARGE | {"license": {"acceptance": "acme", "attributionURL": "https://a.example", "useCase": "Military"}}, [LICENSE]),
        (LARGE | {"license": {"useCase": "Military"}, "activation": "Suspended"}, []),
        (LARGE | ROOM | {"adapters": [{"name": "Llama-A", "source": {"path": "a"}}]}, []),
        (LARGE | ROOM | {"adapters": [{"name": "llama-3.3-70b-instruct", "source": {"path": "a"}}]}, ["spec.adapters"]),
        (LARGE | ROOM | {"adapters": [{"name": "support", "source": {"path": "a"}}]}, [LICENSE]),
        ({"model": {"name": "llama-4-scout"}, "hardware": {"accelerator": "H100-80GB"}} | ROOM, ["spec.adapterSlots"]),
    ],
    ids=range(11),
)  # fmt: skip
def test_every_mistake_is_told(spec, paths):
    assert told(spec) == paths


@pytest.mark.parametrize(
    ("spec", "paths"),
    [
        # The model may be any, so nobody knows its context; the accelerator is known all the same.
        ({"model": {}, "hardware": {"accelerator": "H100"}, "context": {"maxModelLength": 8_000_000}}, [ACCELERATOR]),
        ({"model": 5, "hardware": {"accelerator": "H100"}}, [ACCELERATOR]),
        ({"hardware": {"accelerator": "H100"}}, [ACCELERATOR]),
        (LARGE | {"hardware": {"accelerator": 5}, "context": {"maxModelLength": 8_000_000}}, [LENGTH]),
        (LARGE | {"hardware": 5, "parallelism": {"mode": "Manual", "tensor": 3}}, []),
        (LARGE | {"context": {"maxModelLength": "8"}, "parallelism": {"mode": "Manual", "tensor": 3}}, []),
        (LARGE | {"model": {"name": "llama-3.3-70b-instruct", "precision": "x", "variant": "acme/none"}}, []),
        (LARGE | {"license": {"useCase": "Military", "acceptance": 5}}, []),
        (LARGE | {"licence": {"acceptance": "acme"}, "license": {"useCase": "Military"}}, []),
        ([], []),
    ],
    ids=range(10),
)  # fmt: skip
def test_what_rests_on_a_field_in_doubt_is_not_judged(spec, paths):
    if isinstance(spec, list):
        deployment, wrong = partly(LlamaDeployment, {"metadata": {"name": "chat"}, "spec": spec})
        assert mistakes(Observed(deployment), KNOWN, wrong) == ()
    else:
        assert told(spec) == paths

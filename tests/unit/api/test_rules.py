"""Every cross-field rule gives the same verdict as CEL (in the API server) and as Python (in the CLI)."""

import json

import pytest
from cel_expr_python import cel

from llama_operator.api.meta import ObjectMeta
from llama_operator.api.rules import RULES
from llama_operator.api.v1alpha1.llamadeployment import (
    LlamaDeployment,
    LlamaDeploymentSpec,
    ModelSpec,
    ParallelismSpec,
    ScalingSpec,
)

MODEL = {"model": {"name": "m"}}
OBJECTS = {
    LlamaDeployment: [
        {"metadata": {"name": name}, "spec": MODEL}
        for name in ("a", "chat-70b", "9a", "A", "a.b", "a" * 38, "a" * 39, "a-", "with_underscore")
    ],
    ScalingSpec: [
        {"minReplicas": low, "maxReplicas": high, "mode": mode}
        for low in (0, 1, 3)
        for high in (1, 2, 3)
        for mode in ("QueueDepth", "Manual", "External")
    ],
    ParallelismSpec: [
        {"mode": mode} | tensor | pipeline
        for mode in ("Auto", "Manual")
        for tensor in ({}, {"tensor": 8})
        for pipeline in ({}, {"pipeline": 2})
    ],
    ModelSpec: [
        {"name": "m", "precision": precision} | precisions
        for precision in ("Auto", "FP8")
        for precisions in ({}, {"precisions": []}, {"precisions": ["BF16", "INT4"]}, {"precisions": ["FP8", "FP8"]})
    ],
    LlamaDeploymentSpec: [
        MODEL | {"scaling": {"mode": mode}} | replicas
        for mode in ("QueueDepth", "Manual", "External")
        for replicas in ({}, {"replicas": 0}, {"replicas": 2})
    ]
    + [
        MODEL | {"context": {"concurrentSequences": held}} | batch
        for held in (1, 4, 5)
        for batch in ({}, {"engine": {"arguments": {"maxNumSeqs": 4}}})
    ],
}
CASES = [
    pytest.param(rule, given, id=f"{rule.field}-{number}")
    for rule in RULES
    for number, given in enumerate(OBJECTS[rule.model])
]


@pytest.mark.parametrize(("rule", "given"), CASES)
def test_cel_and_python_agree(rule, given):
    instance = rule.model.model_validate_json(json.dumps(given))
    # With defaults, as the API server judges it.
    as_json = instance.model_dump(mode="json", by_alias=True, exclude_none=True)
    program = cel.NewEnv(variables={"self": cel.Type.DYN}).compile(rule.cel)
    assert program.eval(data={"self": as_json}).value() == rule.holds(instance)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.field)
def test_each_rule_is_broken_by_one_object_and_kept_by_another(rule):
    verdicts = {rule.holds(rule.model.model_validate_json(json.dumps(given))) for given in OBJECTS[rule.model]}
    assert verdicts == {True, False}


def test_the_longest_name_still_leaves_room_for_the_revision():
    longest = LlamaDeployment(metadata=ObjectMeta(name="a" * 38), spec=LlamaDeploymentSpec(model=ModelSpec(name="m")))
    assert len(longest.metadata.name) + len("-12345678") <= 47

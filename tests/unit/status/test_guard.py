"""GuardReady says how the guard is, and no guard that is down takes its model with it."""

from dataclasses import replace

import pytest

from llama_operator.api.reasons import Reason
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import ServeDeploymentFacts
from llama_operator.decide.rollout.revision import revision_of
from llama_operator.status import summary
from llama_serving.contract.guard import GUARD_DEPLOYMENT
from llama_serving.contract.status import DeploymentIdentity, ServingStatus
from support.deployments import node_of

TINY = {"model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}, "license": {}}
GUARD = {"model": {"name": "tiny-random-llama"}}


@pytest.fixture
def told(observed, known, now, service_facts):
    """Conditions by type, of a deployment that serves with a guard in some state."""

    def build(guard, status="RUNNING", *, held=True, engine="HEALTHY", said="", spec=GUARD, **more):
        name = revision_of(observed(**TINY, guard=spec).deployment).name
        parts = (
            ServeDeploymentFacts(GUARD_DEPLOYMENT, guard, said),
            ServeDeploymentFacts("LlamaServer:tiny-random-llama", engine, ""),
        )
        facts = replace(service_facts(name, status=status), deployments=parts, holds_replicas=held)
        serving = ServingStatus(
            identity=DeploymentIdentity(namespace="team-a", name="chat", revision=name),
            model_id="tiny-random-llama",
            replicas=1,
            target_replicas=1,
            queue_depth=0,
            running_requests=0,
        )
        found = observed(
            **TINY, guard=spec, ray_services=(facts,), nodes=(node_of("n", "CPU", 8),), serving=serving, **more
        )
        status_ = summary.build(found, decide(found, known), failure=None, now=now)
        return {one.type: one for one in status_.conditions}

    return build


@pytest.mark.parametrize(
    ("guard", "spec", "status", "reason", "words"),
    [
        ("HEALTHY", GUARD, "True", Reason.GUARD_RUNNING, "mode Block"),
        ("HEALTHY", GUARD | {"mode": "Log"}, "True", Reason.GUARD_RUNNING, "mode Log"),
        ("HEALTHY", GUARD | {"failure": "Open", "reason": "a trial of ours"}, "True", Reason.GUARD_FAILS_OPEN, "a trial of ours"),
        ("UPDATING", GUARD, "False", Reason.STARTING, "is starting"),
        ("UNHEALTHY", GUARD, "False", Reason.GUARD_DOWN, "refused with 503 guard_unavailable"),
        ("UNHEALTHY", GUARD | {"failure": "Open", "reason": "x"}, "False", Reason.GUARD_DOWN, "pass unchecked"),
        ("UNHEALTHY", GUARD | {"mode": "Log"}, "False", Reason.GUARD_DOWN, "nothing tells"),
    ],
)  # fmt: skip
def test_the_condition_of_the_guard(told, guard, spec, status, reason, words):
    found = told(guard, spec=spec)["GuardReady"]
    assert (found.status, found.reason) == (status, reason)
    assert words in found.message


@pytest.mark.parametrize("status", ["UNHEALTHY", "DEPLOYING", "RUNNING"])
def test_a_guard_that_is_down_leaves_its_model_ready(told, status):
    found = told("UNHEALTHY", status, said="its replica died")
    assert (found["Ready"].status, found["EndpointReady"].status, found["UpToDate"].status) == ("True", "True", "True")
    assert "its replica died" in found["GuardReady"].message


def test_a_model_that_is_down_is_not_ready_whatever_its_guard_does(told):
    assert told("UNHEALTHY", "UNHEALTHY", engine="UNHEALTHY")["Ready"].status != "True"
    assert told("HEALTHY", "UNHEALTHY", engine="UNHEALTHY")["Ready"].status != "True"


def test_a_revision_that_never_served_waits_for_its_guard(told):
    assert told("UPDATING", "DEPLOYING", held=False)["Ready"].status != "True"


def test_without_a_guard_nothing_is_said(observed, known, now):
    found = observed(**TINY)
    status = summary.build(found, decide(found, known), failure=None, now=now)
    assert "GuardReady" not in {one.type for one in status.conditions}
    assert status.plan.guard is None

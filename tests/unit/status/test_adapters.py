"""Each adapter is told for itself, for the current spec, and never against readiness."""

import pytest

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.decide.decision import decide
from llama_operator.decide.rollout.revision import revision_of
from llama_operator.status import summary
from llama_serving.contract.adapters import AdapterFault, AdapterReport
from llama_serving.contract.status import DeploymentIdentity, ServingStatus

TINY = {"model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}, "license": {}, "adapterSlots": {}}
A, B = {"name": "a", "source": {"path": "a/v1"}}, {"name": "b", "source": {"path": "b/v1"}}


def test_faults_of_pods_are_reasons_of_conditions():
    assert {fault.value for fault in AdapterFault} <= {reason.value for reason in Reason}


@pytest.fixture
def said(observed, service_facts, deployment, known, now):
    """The status of a deployment with two adapters, of which two replicas tell."""

    def build(*reports, adapters=(A, B), replicas=2, target=2, answers=True, **spec):
        spec = TINY | {"adapters": list(adapters)} | spec
        name = revision_of(deployment(**spec)).name
        serving = ServingStatus(
            identity=DeploymentIdentity(namespace="team-a", name="chat", revision=name),
            model_id="m",
            replicas=replicas,
            target_replicas=target,
            queue_depth=0,
            running_requests=0,
            adapters=reports,
        )
        seen = observed(**spec, ray_services=(service_facts(name),), serving=serving if answers else None)
        return summary.build(seen, decide(seen, known), failure=None, now=now)

    return build


def told(status):
    return next((one for one in status.conditions if one.type == ConditionType.ADAPTERS_READY), None)


def of(name="a", path=None, **more):
    return AdapterReport(name=name, source=path or f"{name}/v1", **more)


BOTH = (of("a", loaded=2, rank=8, digest="0" * 64), of("b", loaded=2))
FAILED = of("b", loaded=1, failed=1, fault=AdapterFault.RANK_TOO_LARGE, message="it has rank 32")


@pytest.mark.parametrize(
    ("reports", "more", "status", "reason"),
    [
        (BOTH, {}, "True", Reason.ADAPTERS_LOADED),
        ((of("a", loaded=2), of("b", loaded=1)), {}, "False", Reason.ADAPTERS_LOADING),
        ((of("a", loaded=2), of("b", path="b/v0", loaded=2)), {}, "False", Reason.ADAPTERS_LOADING),
        ((of("a", loaded=2), FAILED), {}, "False", Reason.ADAPTER_RANK_TOO_LARGE),
        ((), {}, "False", Reason.ADAPTERS_LOADING),
        ((), {"replicas": 0}, "Unknown", Reason.WAITING),
        ((), {"replicas": 0, "target": 0}, "Unknown", Reason.SCALED_TO_ZERO),
        (BOTH, {"answers": False}, "Unknown", Reason.WAITING),
        (BOTH, {"activation": "Suspended"}, "Unknown", Reason.SUSPENDED),
        (BOTH, {"adapters": (A, B | {"name": "tiny-random-llama"})}, "False", Reason.ADAPTER_NAME_TAKEN),
    ],
)
def test_the_condition_is_the_truth_of_the_current_spec(said, reports, more, status, reason):
    condition = told(said(*reports, **more))
    assert (condition.status, condition.reason) == (status, reason)


def test_without_adapters_nothing_is_said_of_them(said):
    status = said(adapters=())
    assert told(status) is None
    assert status.adapters is None


def test_each_adapter_has_its_replicas_and_the_reason_of_its_failure(said):
    status = said(of("a", loaded=2, rank=8, digest="0" * 64), FAILED)
    first, second = status.adapters
    assert (first.name, first.loaded_replicas, first.replicas, first.rank, first.digest) == ("a", 2, 2, 8, "0" * 64)
    assert (first.reason, first.message) == ("", "")
    assert (second.name, second.loaded_replicas, second.reason) == ("b", 1, "AdapterRankTooLarge")
    assert second.message == "it has rank 32"
    assert "b: it has rank 32" in told(status).message


def test_a_failed_adapter_does_not_count_against_the_model(said):
    before, after = said(*BOTH), said(of("a", loaded=2), FAILED)
    ready = [next(one for one in status.conditions if one.type == "Ready") for status in (before, after)]
    assert ready[0].reason == ready[1].reason
    assert ready[0].status == ready[1].status == "True"


def test_what_nobody_asks_for_any_more_is_not_told(said):
    status = said(*BOTH, of("c", loaded=2), adapters=(A,))
    assert [one.name for one in status.adapters] == ["a"]
    assert told(status).status == "True"

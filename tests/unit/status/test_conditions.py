"""Status says what is, for the current generation only, and says the same thing twice in the same words."""

from dataclasses import replace
from datetime import timedelta

import pytest

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import ServeDeploymentFacts
from llama_operator.decide.rollout.revision import revision_of
from llama_operator.status import summary
from llama_operator.status.conditions import OPTIONAL
from llama_operator.status.failure import Failure
from llama_serving.contract.status import DeploymentIdentity, ServingStatus
from support.deployments import node_of

TINY = {"model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}, "license": {}}


def serving(**changes):
    values = {
        "model_id": "tiny-random-llama",
        "replicas": 1,
        "target_replicas": 1,
        "queue_depth": 0,
        "running_requests": 0,
    }
    return ServingStatus(**({"identity": identity("r")} | values | changes))


def identity(revision):
    return DeploymentIdentity(namespace="team-a", name="chat", revision=revision)


@pytest.fixture
def say(known, now):
    def build(observed, *, failure=None, at=now):
        return summary.build(observed, decide(observed, known), failure=failure, now=at)

    return build


def find(status, kind):
    return next(condition for condition in status.conditions if condition.type == kind)


def words(status):
    return {condition.type: (condition.status, condition.reason) for condition in status.conditions}


@pytest.fixture
def wanted(deployment):
    return revision_of(deployment(**TINY)).name


def test_every_condition_is_set_from_the_first_look(observed, say):
    status = say(observed(**TINY))
    assert [condition.type for condition in status.conditions] == [
        kind for kind in ConditionType if kind not in OPTIONAL
    ]
    assert {condition.observed_generation for condition in status.conditions} == {1}


def test_before_the_cluster_exists_it_is_reconciling_and_not_ready(observed, say):
    found = words(say(observed(**TINY)))
    assert found["Ready"] == ("Unknown", "Starting")
    assert found["Reconciling"] == ("True", "Progressing")
    assert found["Stalled"][0] == "False"


def test_a_serving_revision_is_ready_and_at_rest(observed, say, service_facts, wanted):
    nodes = (node_of("n", "CPU", 8),)
    found = words(say(observed(**TINY, ray_services=(service_facts(wanted),), nodes=nodes, serving=serving())))
    # Nobody has measured anything yet, and Ready does not wait for it.
    assert {kind for kind, (status, _) in found.items() if status != "True"} == {
        "PlanAccurate",
        "Reconciling",
        "Stalled",
    }
    assert found["PlanAccurate"] == ("Unknown", "NotMeasured")
    assert found["Ready"] == ("True", "Serving")


def test_kuberays_ready_alone_is_not_enough(observed, say, service_facts, wanted):
    facts = service_facts(wanted, status="UNHEALTHY", message="engine core died")
    status = say(observed(**TINY, ray_services=(facts,)))
    assert find(status, "ModelLoaded").reason == Reason.ENGINE_FAILED
    assert "engine core died" in find(status, "Ready").message


@pytest.mark.parametrize("status", ["DEPLOY_FAILED", "DEPLOYING"])
def test_an_engine_that_refused_for_want_of_license_files_is_named_with_its_own_sentence(
    observed, say, service_facts, wanted, status
):
    sentence = "LicenseFilesMissing: tiny was not started: its folder /models has no readable LICENSE*; put it there"
    trace = (
        f"ray::ServeReplica:\n  File server.py\nllama_serving.license_files.LicenseFilesMissingError: {sentence}\nmore"
    )
    part = ServeDeploymentFacts("LlamaServer:tiny", "DEPLOY_FAILED", f"failed to start 3 times\n{trace}")
    facts = replace(service_facts(wanted, status=status, endpoints=0, message=""), deployments=(part,))

    found = find(say(observed(**TINY, ray_services=(facts,))), "ModelLoaded")

    assert (found.status, found.reason) == ("False", Reason.LICENSE_FILES_MISSING)
    assert found.message.partition(" → ")[0] == sentence


def test_a_folder_that_is_not_what_was_declared_is_named_with_its_own_sentence(observed, say, service_facts, wanted):
    sentence = "CheckpointRefused: tiny was not started: /models is not what LlamaModel acme declares: x"
    trace = f"llama_serving.contents.check.CheckpointRefusedError: {sentence}\nmore"
    facts = service_facts(wanted, status="DEPLOY_FAILED", endpoints=0, message=trace)

    found = find(say(observed(**TINY, ray_services=(facts,))), "ModelLoaded")

    assert (found.status, found.reason) == ("False", Reason.CHECKPOINT_REFUSED)
    assert found.message.partition(" → ")[0] == sentence


@pytest.mark.parametrize(
    ("version", "ready"),
    [
        ("0.32.0", True),
        ("0.32.1rc2+cu129", True),
        ("1.0", True),
        ("v0.33.0", True),
        (None, True),
        ("0.31.9", False),
        ("0.9.2", False),
        ("0.4", False),
        ("nightly", False),
    ],
)
def test_engines_older_than_the_floor_do_not_count_as_ready(observed, say, service_facts, wanted, version, ready):
    tells = serving(identity=identity(wanted), engine_version=version)
    status = say(observed(**TINY, ray_services=(service_facts(wanted),), serving=tells))

    found = find(status, "ModelLoaded")
    assert (found.reason == Reason.ENGINE_TOO_OLD) is not ready
    assert (find(status, "Ready").reason == Reason.ENGINE_TOO_OLD) is not ready
    assert ready or f"run vLLM {version}, and 0.32.0 or newer is needed" in found.message


def test_the_version_of_a_revision_that_is_replaced_says_nothing_of_the_new_one(observed, say, service_facts, wanted):
    old = serving(identity=identity("chat-old"), engine_version="0.9.0")
    status = say(observed(**TINY, ray_services=(service_facts(wanted),), serving=old))
    assert find(status, "ModelLoaded").reason != Reason.ENGINE_TOO_OLD


def test_an_engine_that_was_too_old_stays_so_while_nobody_answers(observed, say, service_facts, wanted, deployment):
    tells = serving(identity=identity(wanted), engine_version="0.9.0")
    before = say(observed(**TINY, ray_services=(service_facts(wanted),), serving=tells))
    silent = observed(**TINY, ray_services=(service_facts(wanted),), serving=None)
    silent = replace(silent, deployment=silent.deployment.model_copy(update={"status": before}))
    assert find(say(silent), "ModelLoaded") == find(before, "ModelLoaded")
    fresh = serving(identity=identity(wanted), engine_version="0.32.0")
    assert find(say(replace(silent, serving=fresh)), "ModelLoaded").reason == Reason.ENGINE_RUNNING


def test_a_bad_new_spec_leaves_it_ready_and_stalls(observed, say, service_facts):
    spec = TINY | {"context": {"maxModelLength": 100_000}}
    status = say(observed(**spec, ray_services=(service_facts("chat-old"),), serving=serving()))
    found = words(status)
    assert found["EndpointReady"] == ("True", "EndpointServing")
    assert found["Ready"] == ("True", "Serving")
    assert found["UpToDate"] == ("False", "ContextTooLong")
    assert found["Stalled"] == ("True", "ContextTooLong")
    assert found["Reconciling"][0] == "False"
    assert "spec.context.maxModelLength" in find(status, "Stalled").message
    assert status.revisions.active == "chat-old"


def test_while_a_new_revision_starts_the_old_one_serves_and_is_ready(observed, say, service_facts, wanted):
    facts = (service_facts("chat-old"), service_facts(wanted, status="DEPLOYING", endpoints=0))
    status = say(observed(**TINY, ray_services=facts, serving=serving()))
    found = words(status)
    assert found["EndpointReady"][0] == "True"
    assert found["UpToDate"] == ("False", "RollingOut")
    assert (found["Ready"][0], found["Reconciling"][0]) == ("True", "True")
    assert (status.revisions.active, status.revisions.pending) == ("chat-old", wanted)


def test_suspended_is_settled(observed, say):
    found = words(say(observed(**TINY, activation="Suspended")))
    assert found["Ready"] == ("Unknown", "Suspended")
    assert found["Reconciling"][0] == found["Stalled"][0] == "False"


def test_an_unexpected_failure_is_unknown_not_false(observed, say):
    found = words(say(observed(**TINY), failure=Failure(Reason.INTERNAL_ERROR, "TimeoutError: the API server")))
    assert found["Ready"] == ("Unknown", "InternalError")
    assert found["Stalled"][0] == "False"


def test_times_move_only_with_the_status_of_a_condition(observed, say, now):
    first = say(observed(**TINY))
    again = observed(**TINY)
    again = replace(again, deployment=again.deployment.model_copy(update={"status": first}))
    assert say(again, at=now + timedelta(hours=1)) == first


def test_missing_nodes_are_told_but_do_not_unready_what_serves(observed, say, service_facts, wanted):
    found = words(say(observed(**TINY, ray_services=(service_facts(wanted),), nodes=(), serving=serving())))
    assert found["CapacityFound"] == ("False", "NodesMissing")
    assert found["Ready"][0] == "True"


@pytest.mark.parametrize(
    ("nodes", "found", "words_"),
    [
        ((8,), True, "4 H100-80GB are needed and exist"),
        ((4, 2), True, "4 H100-80GB are needed and exist"),
        ((2, 2, 2), False, "6 H100-80GB exist, 4 are needed with 4 in one node"),
        ((2,), False, "2 H100-80GB exist, 4 are needed;"),
        ((), False, "0 H100-80GB exist, 4 are needed;"),
    ],
)
def test_gpus_in_nodes_that_are_too_small_for_a_replica_are_no_capacity(observed, say, nodes, found, words_):
    spec = {
        "model": {"name": "llama-3.1-8b", "precision": "BF16"},
        "hardware": {"accelerator": "H100-80GB"},
        "parallelism": {"mode": "Manual", "tensor": 4},
    }
    facts = tuple(node_of(f"n{index}", "H100-80GB", gpus) for index, gpus in enumerate(nodes))
    told = find(say(observed(**spec, nodes=facts)), "CapacityFound")
    assert (told.status == "True") is found
    assert words_ in told.message


def test_without_the_status_endpoint_kubernetes_is_believed(observed, say, service_facts, wanted):
    status = say(observed(**TINY, ray_services=(service_facts(wanted),)))
    assert status.queue_depth is None
    assert (status.replicas, status.ready_replicas) == (1, 1)
    assert find(status, "Ready").status == "True"


def test_what_haproxy_does_not_do_is_said_of_the_revision_that_answers(observed, say, service_facts, wanted):
    told = "requests go by least connections and not by ConsistentHash"
    here = {"ray_services": (service_facts(wanted),)}
    status = say(observed(**TINY, **here, serving=serving(identity=identity(wanted), haproxy_fault=told)))
    assert find(status, "EndpointReady").message == f"requests are answered, but {told}"
    assert words(status)["EndpointReady"] == ("True", "EndpointServing")
    assert find(status, "Ready").status == "True"
    of_another = say(observed(**TINY, **here, serving=serving(identity=identity("other"), haproxy_fault=told)))
    assert told not in find(of_another, "EndpointReady").message


@pytest.mark.parametrize(("depth", "shown"), [(0, 0), (99, 99), (101, 100), (149, 150), (12345, 12000)])
def test_queue_depth_is_rounded_to_two_digits(depth, shown):
    assert summary.rounded(depth) == shown


def test_the_url_is_the_services_own_or_the_address_from_outside(observed, say):
    assert say(observed(**TINY)).url == "http://chat.team-a.svc:8000/v1"
    outside = replace(observed(**TINY), address="127.0.0.1:9001")
    assert say(outside).url == "http://127.0.0.1:9001/v1"


def test_status_survives_a_round_trip_through_json(observed, say):
    status = say(observed(**TINY))
    assert type(status).model_validate(status.to_api()) == status


def test_an_engine_that_is_added_makes_a_serving_model_not_unready(observed, say, service_facts, wanted):
    adding = service_facts(wanted, status="DEPLOYING", holds_replicas=True)
    found = words(say(observed(**TINY, ray_services=(adding,), serving=serving())))
    assert found["Ready"] == ("True", "Serving")
    first = service_facts(wanted, status="DEPLOYING")
    assert words(say(observed(**TINY, ray_services=(first,))))["Ready"] == ("Unknown", "Starting")

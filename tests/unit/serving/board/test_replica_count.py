"""How many replicas serve, in each state that Serve has for one."""

import pytest

from llama_serving.contract.status import ReplicaReport

reporting = pytest.importorskip(
    "llama_serving.board.reporting", reason="Ray Serve is not installed", exc_type=ImportError
)
schema = pytest.importorskip("ray.serve.schema")
RayActorError = pytest.importorskip("ray.exceptions").RayActorError
RayServeException = pytest.importorskip("ray.serve.exceptions").RayServeException

SERVES = {"RUNNING", "UPDATING", "PENDING_MIGRATION"}
"""The last two serve as well: one gets a changed setting, beside the other one a new one starts on another node."""


def deployment(*states, target=2):
    """What Serve says of a deployment, as far as it is read; replicas are called r0, r1 and so on."""
    replicas = [
        schema.ReplicaDetails(replica_id=f"r{number}", state=state, start_time_s=0.0)
        for number, state in enumerate(states)
    ]
    return schema.DeploymentDetails.model_construct(replicas=replicas, target_num_replicas=target)


def report(replica):
    return ReplicaReport(
        replica=replica, waiting=0, running=0, kv_cache_usage=0.0, kv_cache_tokens=None, max_concurrency=None
    )


@pytest.mark.parametrize("state", [state.value for state in schema.ReplicaState])
def test_a_replica_counts_if_its_state_is_one_in_which_it_serves(state):
    count = reporting.counted(deployment("RUNNING", state))
    assert count.target == 2
    assert count.running(()) == 1 + (state in SERVES)


def test_of_those_that_a_new_controller_has_not_asked_yet_the_ones_that_report_count():
    count = reporting.counted(deployment("RECOVERING", "RECOVERING", "RUNNING", target=3))
    assert count.running((report("r0"), report("r2"), report("other"))) == 2
    assert count.running(()) == 1


@pytest.mark.parametrize(
    "error", [RayActorError(), RayServeException("the client is shut down"), TypeError("no details")]
)
async def test_a_controller_that_does_not_answer_says_nothing(error, monkeypatch):
    class Restarted:
        def get_serve_details(self):
            raise error

    monkeypatch.setattr(reporting, "_get_global_client", lambda **_: Restarted())
    counts = reporting.ReplicaCounts("llama", "LlamaServer:m")
    # What it said before its restart may be wrong by now.
    counts._answer = reporting.ReplicaCount(serving=2, target=2)
    assert await counts.read() is None
    assert await counts.read() is None

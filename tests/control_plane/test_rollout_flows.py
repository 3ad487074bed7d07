"""Rollouts on a real API server with real KubeRay and simulated H100 nodes: what serves goes on until its successor does."""

import pytest

pytestmark = pytest.mark.control_plane


def test_blue_green_moves_the_traffic_when_the_new_revision_serves_and_drains_the_old_one(
    eventually, user, operator, h100_nodes
):
    rollout = {"strategy": "BlueGreen", "drainSeconds": 5}
    user.apply("llama-3.3-70b-fp8-h100", rollout=rollout)
    user.ready()
    (old,) = user.services()
    user.apply("llama-3.3-70b-fp8-h100", rollout=rollout, engine={"arguments": {"maxNumSeqs": 32}})
    eventually(lambda: len(user.services()) == 2, "both revisions run")
    (new,) = user.services() - {old}
    user.ready()
    assert user.traffic() == new
    eventually(lambda: user.services() == {new}, "the old one is drained")


def test_recreate_never_holds_the_gpus_of_two_revisions(eventually, user, operator, h100_nodes):
    rollout = {"strategy": "Recreate"}
    user.apply("llama-3.1-405b-bf16-h100", rollout=rollout)
    user.ready()
    (old,) = user.services()
    user.apply("llama-3.1-405b-bf16-h100", rollout=rollout, engine={"arguments": {"maxNumSeqs": 16}})
    seen = []

    def replaced():
        seen.append({each["metadata"]["labels"]["llama-operator.io/revision"] for each in user.pods("worker")})
        return user.services() and old not in user.services() and user.serves()

    eventually(replaced, "the new revision serves")
    assert all(len(revisions) <= 1 for revisions in seen)


def test_a_revision_that_fails_is_rolled_back_and_says_why(eventually, user, operator, h100_nodes, plane):
    rollout = {"strategy": "BlueGreen", "drainSeconds": 0, "progressDeadlineSeconds": 15}
    user.apply("llama-3.3-70b-fp8-h100", rollout=rollout)
    user.ready()
    (old,) = user.services()
    user.apply("llama-3.3-70b-fp8-h100", rollout=rollout, engine={"arguments": {"maxNumSeqs": 32}})
    (new,) = eventually(lambda: user.services() - {old}, "the new revision starts")
    plane.dashboards.set(user.namespace, new, application_status="DEPLOY_FAILED", message="CUDA out of memory")
    eventually(lambda: user.condition("chat", "UpToDate")["reason"] == "ProgressDeadlineExceeded", "it is given up")
    eventually(lambda: user.services() == {old}, "its RayService is gone")
    assert "CUDA out of memory" in user.condition("chat", "UpToDate")["message"]
    assert user.condition("chat", "Ready")["status"] == "True"
    assert user.condition("chat", "Stalled")["status"] == "True"
    assert user.traffic() == old


def test_a_bad_spec_over_a_serving_one_changes_nothing_of_what_serves_and_says_why(
    eventually, user, operator, h100_nodes
):
    user.apply("llama-3.3-70b-fp8-h100")
    user.ready()
    before = {key: value for key, value in user.written().items() if key[0] != "LlamaDeployment"}
    refused = user.kubectl(
        "patch", "lld", "chat", "--type=merge", "-p", '{"spec":{"scaling":{"minReplicas":9}}}', check=False
    )
    assert "minReplicas" in refused.stderr, "the schema's own rules name the field"
    user.apply("llama-3.3-70b-fp8-h100", context={"maxModelLength": 1_000_000})
    eventually(lambda: user.condition("chat", "UpToDate")["reason"] == "ContextTooLong", "the status says why")
    assert "spec.context.maxModelLength" in user.condition("chat", "Stalled")["message"]
    assert user.condition("chat", "Ready")["status"] == "True"
    assert {key: value for key, value in user.written().items() if key[0] != "LlamaDeployment"} == before

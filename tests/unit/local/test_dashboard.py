import pytest

from llama_operator.local.dashboard import parse_applications


def test_the_answer_of_a_fresh_cluster_has_no_applications():
    assert parse_applications({"applications": {}}) == ()


def test_applications_deployments_and_replica_states_are_read():
    replicas = [{"state": "RUNNING"}, {"state": "STARTING"}, {"state": "STARTING"}]
    deployment = {"status": "UPDATING", "message": "m", "target_num_replicas": 3, "replicas": replicas}
    body = {"applications": {"llama": {"status": "DEPLOYING", "message": "", "deployments": {"D": deployment}}}}
    (application,) = parse_applications(body)
    assert (application.name, application.status) == ("llama", "DEPLOYING")
    (read,) = application.deployments
    assert (read.name, read.status, read.target_replicas) == ("D", "UPDATING", 3)
    assert read.replica_states == {"RUNNING": 1, "STARTING": 2}


@pytest.mark.parametrize("body", [{}, {"applications": []}, {"applications": {"a": "b"}}])
def test_anything_else_is_refused(body):
    with pytest.raises(ValueError, match="unexpected"):
        parse_applications(body)

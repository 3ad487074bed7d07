"""What the real API server refuses, and the words for it: in status, events, the log and `kubectl llama explain`."""

import json

import pytest

from llama_operator.cli.main import main

pytestmark = pytest.mark.control_plane

SAMPLE = "llama-3.3-70b-fp8-h100"
QUOTA = "no-services"


def events(user, reason):
    return [each for each in user.get("events.v1.events.k8s.io") if each["reason"] == reason]


def lines(operator, reason):
    """Lines of the log that tell of an event."""
    written = operator.log.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in written if f'"reason": "{reason}"' in line]


@pytest.fixture
def quota(user, eventually):
    """A quota that allows no Service; the server judges by it once it has counted."""
    user.kubectl("create", "quota", QUOTA, "--hard=count/services=0")
    eventually(lambda: (user.one("resourcequota", QUOTA).get("status") or {}).get("hard"), "the quota is counted")


def test_a_quota_that_refuses_an_object_is_told_everywhere_and_heals(
    eventually, user, quota, operator, kubeconfig, namespace, capsys
):
    user.apply(SAMPLE)
    eventually(lambda: user.condition("chat", "Stalled")["reason"] == "WriteRefused", "it is told")
    for kind, status in (("Ready", "False"), ("Stalled", "True")):
        told = user.condition("chat", kind)
        assert (told["status"], told["reason"]) == (status, "WriteRefused")
        assert f"exceeded quota: {QUOTA}" in told["message"]
    (event,) = eventually(lambda: events(user, "WriteRefused"), "an event")
    assert event["type"] == "Warning"
    assert f"exceeded quota: {QUOTA}" in event["note"]
    assert len(lines(operator, "WriteRefused")) == 1
    assert len(lines(operator, "RevisionStarted")) == len(events(user, "RevisionStarted")) == 1, "it was done before"
    main(["explain", "chat", "-n", namespace, "--kubeconfig", str(kubeconfig), "-o", "json"])
    found = json.loads(capsys.readouterr().out)["checks"]
    (check,) = [each for each in found if each["name"] == "reconcile"]
    assert check["state"] == "Failed"
    assert f"exceeded quota: {QUOTA}" in check["evidence"]
    assert check["unblock"]
    user.kubectl("delete", "quota", QUOTA)
    eventually(lambda: user.one("service", "chat"), "the Service is made")
    eventually(lambda: user.condition("chat", "Stalled")["status"] == "False", "nothing is refused any more")


@pytest.mark.nightly
def test_the_end_of_a_namespace_is_no_warning(eventually, user, make_operator, plane, namespace):
    # Its own Lease stays, as that of an operator in a namespace of its own does.
    operator = make_operator("--lease-namespace=default", f"--lease-name={namespace}")
    user.apply(SAMPLE)
    eventually(user.services, "it was begun")
    plane.kubectl("delete", "namespace", namespace, "--timeout=240s")
    plane.kubectl("delete", "lease", namespace, "-n", "default")
    assert "being terminated" not in operator.log.read_text(encoding="utf-8")


@pytest.mark.nightly
def test_what_kuberay_writes_back_is_no_change_of_somebody(eventually, user, operator, h100_nodes):
    user.apply(SAMPLE)
    user.ready()
    user.at_rest()
    assert events(user, "Repaired") == []
    assert len(events(user, "RevisionStarted")) == len(events(user, "Ready")) == 1

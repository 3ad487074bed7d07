"""Ends of licenses over time on a real API server with real KubeRay and simulated H100 nodes; the other flows run on the twin."""

import json

import pytest

pytestmark = pytest.mark.control_plane

SAMPLE = "llama-3.3-70b-fp8-h100"
DRAIN = {"strategy": "BlueGreen", "drainSeconds": 5}
FREE = {
    "model": {"name": "tiny-random-llama"},
    "context": {"maxModelLength": 1024},
    "license": {"purpose": "Production"},
}


@pytest.fixture
def acceptance(user):
    """Name of the record that the sample rests on."""
    for number in (0, 1):
        name = f"{user.namespace}-{number}" if number else user.namespace
        record = user.plane.api.find("licenseacceptance", name)
        if "llama-3.3" in record["spec"]["families"]:
            return name
    raise AssertionError("the samples have an acceptance of Llama 3.3")


@pytest.fixture
def terminate(user, acceptance):
    def patch():
        spec = {"state": "Terminated", "terminatedOn": "2026-03-01"}
        user.plane.kubectl("patch", "licenseacceptance", acceptance, "--type=merge", "-p", json.dumps({"spec": spec}))

    return patch


@pytest.fixture
def served(user, operator, h100_nodes, acceptance):
    """Name of the revision that serves under the acceptance."""
    license_spec = {"acceptance": acceptance, "purpose": "Production", "attributionURL": "https://acme.example/about"}
    obj = user.sample(SAMPLE, rollout=DRAIN, license=license_spec)
    user.kubectl("apply", "-f", "-", stdin=json.dumps(obj, default=str))
    user.ready()
    (name,) = user.services()
    return name


def test_a_license_that_ends_while_another_model_is_wanted(eventually, user, terminate, served):
    user.apply(SAMPLE, rollout=DRAIN, **FREE)
    eventually(lambda: len(user.services()) == 2, "the other model starts beside it")
    terminate()
    eventually(lambda: user.traffic() != served, "it gets no more requests")
    eventually(lambda: served not in user.services(), "its hardware is freed")
    user.ready()


def test_an_end_that_began_goes_on_without_the_record(eventually, user, terminate, served, acceptance):
    terminate()
    eventually(lambda: user.traffic() == "", "it gets no more requests")
    user.plane.kubectl("delete", "licenseacceptance", acceptance)
    eventually(lambda: not user.services(), "its hardware is freed")
    assert user.condition("chat", "LicenseAccepted")["status"] == "False"


@pytest.mark.nightly
def test_what_a_deletion_left_behind_gets_no_requests_until_its_deployment_is_back(eventually, user, served):
    manifest = json.dumps(user.one("lld", "chat"))
    # The chart's policies refuse this; they are not installed here.
    user.kubectl("delete", "lld", "chat", "--cascade=orphan")
    eventually(lambda: user.one("lld", "chat") is None, "the deployment is gone")
    eventually(lambda: user.traffic() == "", "what it left behind gets no more requests")
    assert user.services() == {served}
    spec = json.loads(manifest)["spec"]
    again = {"apiVersion": "llama-operator.io/v1alpha1", "kind": "LlamaDeployment", "metadata": {"name": "chat"}}
    user.kubectl("apply", "-f", "-", stdin=json.dumps(again | {"spec": spec}))
    user.ready()
    assert user.services() == {served}
    assert user.traffic() == served

"""The Job that asks the Hub, and how the Hub token gets into pods."""

import json

import kubernetes_validate
import pytest

from llama_operator.api.v1alpha1.llamadeployment import MAX_NAME_LENGTH
from llama_operator.api.v1alpha1.weights import SecretKey
from llama_operator.decide.access_check import LONGEST_WAIT_SECONDS, Subject
from llama_operator.decide.observed import Settings
from llama_operator.decide.placement.pod_settings import PodSettings
from llama_operator.decide.placement.requests import head_shape
from llama_operator.desired import access_check
from llama_operator.desired.pods import head, weights
from llama_operator.desired.pods.parts import PodParts

TOKEN = SecretKey(name="hugging-face", key="token")
SUBJECT = Subject("chat-01234567", "meta-llama/Llama-3.1-8B-Instruct", "main", TOKEN)


@pytest.fixture
def job(deployment):
    return access_check.build(deployment(), SUBJECT, 1, Settings())


@pytest.fixture
def pod(job):
    return job["spec"]["template"]["spec"]


def test_kubernetes_takes_it(job):
    kubernetes_validate.validate(job, "1.34", strict=True)


def test_it_belongs_to_its_deployment_and_goes_by_itself(job):
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("LlamaDeployment", "u-1", True)
    assert job["spec"]["ttlSecondsAfterFinished"] > LONGEST_WAIT_SECONDS, "gone earlier, its answer would be forgotten"
    assert job["spec"]["activeDeadlineSeconds"] > 0
    assert job["spec"]["backoffLimit"] == 0


def test_the_name_fits_and_follows_from_what_is_asked_and_how_often(deployment):
    long = deployment(name="a" * MAX_NAME_LENGTH)
    assert len(access_check.job_name(long, SUBJECT, 10**6)) <= 57
    names = {access_check.job_name(long, SUBJECT, attempt) for attempt in range(1, 50)}
    assert len(names) == 49
    assert access_check.job_name(long, SUBJECT, 3) in names


def test_the_token_is_named_and_never_held(job, pod):
    (container,) = pod["containers"]
    (variable,) = [each for each in container["env"] if "valueFrom" in each]
    assert variable == {
        "name": "HF_TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "hugging-face", "key": "token", "optional": True}},
    }
    assert "HF_TOKEN" not in json.dumps(container["command"])


def test_without_a_token_no_secret_is_named(deployment):
    subject = Subject("chat-01234567", "o/r", "main", None)
    assert "secretKeyRef" not in json.dumps(access_check.build(deployment(), subject, 1, Settings()))


def test_the_pod_is_restricted_and_has_no_rights(pod):
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert not {"hostNetwork", "hostPID", "volumes", "tolerations", "nodeSelector", "serviceAccountName"} & set(pod)


def test_it_takes_no_gpu_and_little_else(pod):
    (container,) = pod["containers"]
    for amounts in container["resources"].values():
        assert set(amounts) == {"cpu", "memory"}


def test_it_is_no_pod_of_the_ray_cluster(job):
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert "llama-operator.io/deployment" not in labels, "the NetworkPolicy opens Ray's ports to pods with this label"
    assert "llama-operator.io/revision" not in labels, "the Service selects pods by this label"


def test_the_endpoint_is_the_platforms_and_the_image_the_deployments(deployment):
    settings = Settings(hub_endpoint="https://hub.acme.example")
    job = access_check.build(deployment(image="acme/llama:2"), SUBJECT, 1, settings)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    command = container["command"]
    assert command[command.index("--endpoint") + 1] == "https://hub.acme.example"
    assert command[command.index("--repository") + 1] == SUBJECT.repository
    assert container["image"] == "acme/llama:2"


@pytest.mark.parametrize("token", [None, TOKEN])
def test_ray_pods_get_the_token_as_a_file_and_not_as_a_variable(token):
    template = head.template(
        head_shape(PodSettings()), "x", PodParts(environment={"A": "b"}) + weights.token_file(token)
    )
    (container,) = template["spec"]["containers"]
    names = [each["name"] for each in container["env"]]
    if token is None:
        assert names == ["A"]
        assert [each for each in template["spec"]["volumes"] if "secret" in each] == []
        return
    assert names == ["A", "HF_TOKEN_PATH"]
    (volume,) = [each for each in template["spec"]["volumes"] if "secret" in each]
    assert volume["secret"] == {
        "secretName": "hugging-face", "optional": True, "items": [{"key": "token", "path": "token"}],
    }  # fmt: skip
    (mount,) = container["volumeMounts"]
    assert container["env"][-1]["value"] == f"{mount['mountPath']}/token"
    assert (mount["name"], mount["readOnly"]) == (volume["name"], True)

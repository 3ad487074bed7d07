"""Incidents as real programs told of them: each has its cause, in their words, with a hint that fits."""

import pytest

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.decide.diagnosis.causes import causes
from support import recordings

LOADED, CAPACITY, ENDPOINT = ConditionType.MODEL_LOADED, ConditionType.CAPACITY_FOUND, ConditionType.ENDPOINT_READY

MOUNTED = f"127.0.0.1:1/acme/weights@sha256:{'0' * 64}"

TABLE = {
    "refused-by-kuberay": (
        Reason.CLUSTER_NOT_MADE,
        LOADED,
        "ValidationFailed: The RayService spec is invalid: worker group h100-80gb has minReplicas 4 greater than",
        "supported version",
    ),
    "quota": (
        Reason.PODS_REFUSED,
        LOADED,
        "FailedCreateWorkerPod: exceeded quota: acme, requested: requests.nvidia.com/gpu=4",
        "kubectl describe resourcequota -n team-a",
    ),
    "limit-range": (
        Reason.PODS_REFUSED,
        LOADED,
        "FailedCreateWorkerPod: maximum memory usage per Container is 8Gi, but limit is 80Gi",
        "kubectl describe limitrange",
    ),
    "webhook-down": (
        Reason.PODS_REFUSED,
        LOADED,
        'FailedCreateHeadPod: Internal error occurred: failed calling webhook "pods.acme.example"',
        "does not answer",
    ),
    "policy-denies": (
        Reason.PODS_REFUSED,
        LOADED,
        "ValidatingAdmissionPolicy 'acme' with binding 'acme' denied request: pods of acme need a cost center",
        "who run the policy",
    ),
    "pod-security": (
        Reason.PODS_REFUSED,
        LOADED,
        'FailedCreateHeadPod: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "autoscaler"',
        "pod-security.kubernetes.io/enforce=baseline",
    ),
    "gpus-taken": (
        Reason.PODS_UNSCHEDULABLE,
        CAPACITY,
        "of 5 worker pods",
        "lower spec.scaling.minReplicas",
    ),
    "held-by-a-queue": (Reason.PODS_UNSCHEDULABLE, CAPACITY, "non-empty scheduling gates", "as Kueue does"),
    "tainted": (Reason.PODS_UNSCHEDULABLE, CAPACITY, "untolerated taint", "kubectl describe nodes shows the taints"),
    "node-gone": (Reason.NODES_LOST, CAPACITY, "is gone, with", "kubectl describe node"),
    "node-silent": (Reason.NODES_LOST, CAPACITY, "not ready since 20", "kubectl describe node"),
    "image-missing": (
        Reason.IMAGE_NOT_PULLED,
        LOADED,
        "registry.invalid/acme/serving:1",
        "does not reach the registry",
    ),
    "image-missing-tried": (
        Reason.IMAGE_NOT_PULLED,
        LOADED,
        "registry.invalid/acme/serving:1",
        "does not reach the registry",
    ),
    "image-name-invalid": (Reason.IMAGE_NOT_PULLED, LOADED, "invalid reference format", "correct the name"),
    "mounted-image-missing": (
        Reason.IMAGE_NOT_PULLED,
        LOADED,
        f"without the image {MOUNTED}: ",
        "does not reach the registry",
    ),
    "mounted-image-missing-tried": (
        Reason.IMAGE_NOT_PULLED,
        LOADED,
        f"without the image {MOUNTED}: ",
        "does not reach the registry",
    ),
    "runtime-mounts-no-images": (
        Reason.CONTAINER_FAILED,
        LOADED,
        'failed to generate container spec: failed to apply OCI options: failed to mkdir ""',
        "containerd 2.1",
    ),
    "secret-missing": (
        Reason.CONTAINER_FAILED,
        LOADED,
        'CreateContainerConfigError: secret "hugging-face" not found',
        "create the Secret",
    ),
    "exit": (
        Reason.CONTAINER_FAILED,
        LOADED,
        "a worker pod broke, container ray-worker ended: Error, exit code 3",
        "--previous",
    ),
    "ended-well": (
        Reason.CONTAINER_FAILED,
        LOADED,
        "a worker pod broke, container ray-worker ended: Completed, exit code 0",
        "kubectl logs",
    ),
    "ended-well-beside-another": (
        Reason.CONTAINER_FAILED,
        LOADED,
        "a worker pod broke, container ray-worker ended: Completed, exit code 0",
        "kubectl logs",
    ),
    "broke-after-another": (
        Reason.CONTAINER_FAILED,
        LOADED,
        "a worker pod broke, container zzz ended: OOMKilled, exit code 137",
        "more memory than its limit",
    ),
    "liveness-fails": (
        Reason.CONTAINER_FAILED,
        LOADED,
        "a worker pod broke, container ray-worker ended: Error, exit code 137",
        "a probe that failed for long",
    ),
    "gate-out-of-memory": (
        Reason.CONTAINER_FAILED,
        LOADED,
        "a worker pod broke, container wait-gcs-ready ended: OOMKilled, exit code 137",
        "KubeRay gives this container 256Mi",
    ),
    "refused-by-kubelet": (
        Reason.CONTAINER_FAILED,
        LOADED,
        "a worker pod was ended: OutOfcpu: Pod was rejected: Node didn't have enough resource: cpu",
        "kubectl describe pod",
    ),
    "crash-loop": (Reason.CONTAINER_FAILED, LOADED, "container ray-worker ended: Error, exit code 1", "--previous"),
    "command-missing": (
        Reason.CONTAINER_FAILED,
        LOADED,
        'exec: "nowhere": executable file not found in $PATH',
        "serving image",
    ),
    "out-of-memory": (Reason.CONTAINER_FAILED, LOADED, "OOMKilled, exit code 137", "more memory than its limit"),
    "disk-share-full": (
        Reason.CONTAINER_FAILED,
        LOADED,
        "a worker pod was ended: Evicted: Pod ephemeral local storage usage exceeds the total limit of containers 1Mi",
        "weights on a volume",
    ),
}
LATER = {
    "volume-missing": (Reason.CONTAINER_FAILED, LOADED, "has not mounted its volumes", "its events name the volume"),
}
"""Those that are no trouble while they are new."""
WELL = ("killed-by-probe", "probe-fails", "runs", "another-ended-well", "gate-waits")
"""Those that may be well: a probe that fails once, a model that loads, a sidecar that ended, a head that starts."""


def told(name, **more):
    return causes(*recordings.observed(name, **more))


def test_every_recording_is_looked_at():
    assert set(recordings.NAMES) == {*TABLE, *LATER, *WELL}


@pytest.mark.parametrize("name", TABLE)
def test_an_incident_has_one_cause_in_the_words_of_who_told_it(name):
    reason, condition, words, hint = TABLE[name]
    (cause,) = told(name)
    assert (cause.reason, cause.condition) == (reason, condition)
    assert words in cause.message
    assert hint in cause.hint
    assert "{" not in cause.hint


@pytest.mark.parametrize("name", LATER)
def test_what_takes_long_becomes_a_cause(name):
    reason, condition, words, hint = LATER[name]
    assert told(name) == ()
    (cause,) = told(name, after=180)
    assert (cause.reason, cause.condition) == (reason, condition)
    assert words in cause.message
    assert hint in cause.hint


@pytest.mark.parametrize("name", WELL)
def test_what_may_be_well_is_no_cause(name):
    assert told(name) == ()


@pytest.mark.parametrize("name", ["image-missing", "mounted-image-missing"])
def test_an_attempt_to_pull_and_the_pause_after_it_are_told_in_the_same_words(name):
    (tried,), (paused,) = told(f"{name}-tried"), told(name)
    assert tried == paused


@pytest.mark.parametrize("name", TABLE)
def test_no_message_names_a_pod_for_the_next_one_has_another_name(name):
    facts, _ = recordings.observed(name)
    (cause,) = told(name)
    assert not [pod.name for pod in facts.pods if len(pod.name) > len("out-of-memory") and pod.name in cause.message]

"""What to do about a cause, by the words of the one who told it: the only table of hints. Facts, no logic.

Called by `decide.diagnosis.causes` and, for what a reason means at large, by `cli.explain.cures`. `docs/incidents.md` is made
from it too.
"""

import re
from dataclasses import dataclass
from typing import Final

from llama_operator.api.reasons import Reason
from llama_serving.config import CHECKPOINT_REFUSED, LICENSE_FILES_MISSING


@dataclass(frozen=True, slots=True)
class Hint:
    """What words usually come from, and what a person can do.

    Attributes:
        kind: Name of the incident, once in the table.
        reason: Reason of the causes that it is about.
        words: The hint fits where one of them is in the message, in any case; none: it fits all others of its reason.
        do: What to do. `{name}`, `{namespace}`, `{revision}` and `{accelerator}` are filled in.
    """

    kind: str
    reason: Reason
    words: tuple[str, ...]
    do: str


_LOGS = "kubectl logs -n {namespace} -l llama-operator.io/revision={revision} --tail 200 --prefix"
_DESCRIBE = "kubectl describe pod -n {namespace} -l llama-operator.io/revision={revision}"
_DOCTOR = (
    "see that KubeRay runs: kubectl llama doctor; its log: kubectl logs -A -l app.kubernetes.io/name=kuberay-operator"
)
_REPLACE = "cordon the node and have its GPU looked at; KubeRay makes the pod again on another one once you delete it"

HINTS: Final[tuple[Hint, ...]] = (
    # KubeRay and the RayService.
    Hint(
        "cluster-refused",
        Reason.CLUSTER_NOT_MADE,
        ("kuberay refuses",),
        "see that KubeRay is a supported version, and the newest one of it: kubectl llama doctor",
    ),
    Hint(
        "cluster-without-pods", Reason.CLUSTER_NOT_MADE, ("no pods",), f"{_DOCTOR}; kubectl get events -n {{namespace}}"
    ),
    Hint("cluster-not-made", Reason.CLUSTER_NOT_MADE, (), _DOCTOR),
    # Pods that the API server refuses.
    Hint(
        "quota-lacks-limits",
        Reason.PODS_REFUSED,
        ("must specify",),
        "the ResourceQuota asks for amounts that these pods do not name: have it changed, or a LimitRange give defaults",
    ),
    Hint(
        "quota-exceeded",
        Reason.PODS_REFUSED,
        ("exceeded quota",),
        "kubectl describe resourcequota -n {namespace}: have it raised, free what holds it, or lower spec.scaling.minReplicas",
    ),
    Hint(
        "limit-range",
        Reason.PODS_REFUSED,
        (" per container is ", " per pod is ", "usage per"),
        "kubectl describe limitrange -n {namespace}: have the limit that the message names changed",
    ),
    Hint(
        "pod-security",
        Reason.PODS_REFUSED,
        ("violates podsecurity",),
        "have the namespace enforce what the message allows: kubectl label namespace {namespace} "
        "pod-security.kubernetes.io/enforce=baseline --overwrite",
    ),
    Hint(
        "webhook-unreachable",
        Reason.PODS_REFUSED,
        ("failed calling webhook",),
        "the webhook that the message names does not answer: have its pods looked at, or its failurePolicy",
    ),
    Hint(
        "webhook-denied",
        Reason.PODS_REFUSED,
        ("admission webhook", "validatingadmissionpolicy"),
        "ask those who run the policy that the message names, or change what it objects to",
    ),
    Hint(
        "priority-class-missing",
        Reason.PODS_REFUSED,
        ("no priorityclass",),
        "have the PriorityClass that the message names created",
    ),
    Hint(
        "service-account-missing",
        Reason.PODS_REFUSED,
        ("error looking up service account", "serviceaccount"),
        "the service account that the message names is missing: KubeRay makes it again if you delete the RayCluster",
    ),
    Hint(
        "kuberay-lacks-a-right",
        Reason.PODS_REFUSED,
        ("cannot create resource",),
        "KubeRay lacks a right in {namespace}: have its role looked at (its chart: singleNamespaceInstall, watchNamespace)",
    ),
    Hint(
        "namespace-going",
        Reason.PODS_REFUSED,
        ("being terminated",),
        "the namespace is being deleted: nothing starts there any more",
    ),
    Hint("pods-refused", Reason.PODS_REFUSED, (), "change what the message names; KubeRay tries again by itself"),
    # Nodes.
    Hint(
        "nodes-lost",
        Reason.NODES_LOST,
        (),
        "kubectl describe node NAME says since when and why. KubeRay makes the pods again elsewhere once Kubernetes has evicted "
        "them, 5 minutes after the node went silent; at once: kubectl delete pod --force, if the node is gone for good",
    ),
    # The scheduler.
    Hint(
        "claim-missing",
        Reason.PODS_UNSCHEDULABLE,
        ("persistentvolumeclaim",),
        "kubectl get pvc -n {namespace}: create or bind the claim that the message names; weights on a volume are the "
        "LlamaModel's spec.source",
    ),
    Hint(
        "volume-elsewhere",
        Reason.PODS_UNSCHEDULABLE,
        ("volume node affinity", "volume zone"),
        "the volume with the weights is in another zone than the free nodes: add nodes there, or copy the volume",
    ),
    Hint(
        "scheduling-gated",
        Reason.PODS_UNSCHEDULABLE,
        ("scheduling gate", "non-empty scheduling"),
        "something holds the pods back by a scheduling gate, as Kueue does: see the queue that admits them",
    ),
    Hint(
        "gpus-taken",
        Reason.PODS_UNSCHEDULABLE,
        ("insufficient nvidia.com/", "insufficient amd.com/"),
        "free or add {accelerator} nodes (a cluster autoscaler may be at it: kubectl get events -A), lower "
        "spec.scaling.minReplicas, or ask for less by spec.model.precision or spec.hardware",
    ),
    Hint(
        "nodes-tainted",
        Reason.PODS_UNSCHEDULABLE,
        ("untolerated taint",),
        "kubectl describe nodes shows the taints: remove the one that the message names, or add {accelerator} nodes without "
        "it; a node that is not ready has a taint too",
    ),
    Hint(
        "node-too-small",
        Reason.PODS_UNSCHEDULABLE,
        ("insufficient cpu", "insufficient memory", "insufficient ephemeral-storage", "too many pods"),
        "free or add nodes with what the message names; a {accelerator} node must have that beside its GPUs",
    ),
    Hint(
        "nodes-cordoned",
        Reason.PODS_UNSCHEDULABLE,
        ("were unschedulable",),
        "kubectl uncordon NODE, once its maintenance is over; or add {accelerator} nodes",
    ),
    Hint(
        "no-such-node",
        Reason.PODS_UNSCHEDULABLE,
        ("node affinity", "node selector", "affinity/selector"),
        "add {accelerator} nodes; if there are some, they lack the label: kubectl get nodes -L nvidia.com/gpu.product",
    ),
    Hint("unschedulable", Reason.PODS_UNSCHEDULABLE, (), "change what the message names, or add {accelerator} nodes"),
    # Images.
    Hint(
        "image-name-invalid",
        Reason.IMAGE_NOT_PULLED,
        ("invalidimagename", "invalid reference format", "couldn't parse image"),
        "spec.image, or the operator's --image: correct the name",
    ),
    Hint(
        "image-rate-limit",
        Reason.IMAGE_NOT_PULLED,
        ("toomanyrequests", "429", "rate limit"),
        "the registry limits how often it is asked: wait, log in, or name a mirror in spec.image",
    ),
    Hint(
        "image-forbidden",
        Reason.IMAGE_NOT_PULLED,
        ("unauthorized", "401", "403", "denied", "no basic auth", "authorization failed"),
        "the registry does not let these pods pull it: have a pull secret put on the service account of the pods, or correct "
        "spec.image",
    ),
    Hint(
        "image-missing",
        Reason.IMAGE_NOT_PULLED,
        ("not found", "manifest unknown", "404", "no match for platform"),
        "spec.image, or the operator's --image: the registry has no such image or tag, or none for this processor",
    ),
    Hint(
        "registry-unreachable",
        Reason.IMAGE_NOT_PULLED,
        ("no such host", "i/o timeout", "connection refused", "timeout", "x509", "server misbehaving"),
        "the node does not reach the registry: look at its network, proxy and certificates, or name a mirror in spec.image",
    ),
    Hint(
        "image-disk-full",
        Reason.IMAGE_NOT_PULLED,
        ("no space left",),
        "the disk of the node is full: free it, or give it a larger one; the image takes tens of GiB",
    ),
    Hint("image", Reason.IMAGE_NOT_PULLED, (), f"name an image that the nodes can pull in spec.image; {_DESCRIBE}"),
    # Containers, in the kubelet's words.
    Hint(
        "oom-killed",
        Reason.CONTAINER_FAILED,
        ("oomkilled",),
        "the pod needs more memory than its limit: a smaller model or context, or fewer sequences "
        "(spec.context.concurrentSequences); this is memory of the node, not of the GPU",
    ),
    Hint(
        "evicted-disk",
        Reason.CONTAINER_FAILED,
        ("ephemeral-storage", "ephemeral local storage", "diskpressure"),
        "the disk of the node, or the pod's share of it, is full: put the weights on a volume (LlamaModel spec.source), or "
        "give the nodes larger disks",
    ),
    Hint(
        "evicted-memory",
        Reason.CONTAINER_FAILED,
        ("low on resource: memory", "memorypressure"),
        "the node ran out of memory: see what else runs on it (kubectl describe node), and keep it off GPU nodes",
    ),
    Hint(
        "gpu-device-plugin",
        Reason.CONTAINER_FAILED,
        ("unexpectedadmissionerror", "allocate failed", "unhealthy devices", "outofnvidia"),
        "the node's device plugin did not give what it offered: a GPU broke, or the plugin started again: kubectl describe "
        "node NAME, and the log of nvidia-device-plugin there",
    ),
    Hint(
        "container-toolkit",
        Reason.CONTAINER_FAILED,
        ("nvidia-container", "libnvidia-ml", "nvml", "nvidia runtime", "runtimeclass", "cdi device"),
        "the container runtime of the node cannot hand out GPUs: see NVIDIA's driver and container toolkit on it",
    ),
    Hint(
        "secret-or-config-missing",
        Reason.CONTAINER_FAILED,
        ('secret "', 'configmap "', "couldn't find key"),
        "create the Secret or ConfigMap that the message names in {namespace}",
    ),
    Hint(
        "image-runs-as-root",
        Reason.CONTAINER_FAILED,
        ("runasnonroot",),
        "the image starts as root: build it with a USER that is a number; the operator's image is",
    ),
    Hint(
        "wrong-architecture",
        Reason.CONTAINER_FAILED,
        ("exec format error",),
        "the image is for another processor: name one for the nodes' architecture in spec.image",
    ),
    Hint(
        "command-missing",
        Reason.CONTAINER_FAILED,
        ("executable file not found", "no such file or directory", "exit code 127"),
        "spec.image lacks Ray or bash: build it from the operator's serving image",
    ),
    Hint(
        "illegal-instruction",
        Reason.CONTAINER_FAILED,
        ("exit code 132",),
        "the processor of the node is too old for the image",
    ),
    Hint("crash", Reason.CONTAINER_FAILED, ("exit code 139", "exit code 134"), f"the process crashed: {_LOGS}"),
    Hint(
        "killed",
        Reason.CONTAINER_FAILED,
        ("exit code 137",),
        f"something killed it: a probe that failed for long, or the node for memory. {_DESCRIBE}",
    ),
    Hint(
        "preempted",
        Reason.CONTAINER_FAILED,
        ("preempt",),
        "a pod of a higher priority took its place: add nodes, or have the PriorityClasses looked at",
    ),
    Hint(
        "node-shutdown",
        Reason.CONTAINER_FAILED,
        ("nodeshutdown", "node shutdown"),
        "the node was shut down: KubeRay makes the pod again elsewhere, if there is room",
    ),
    Hint(
        "volume-not-mounted",
        Reason.CONTAINER_FAILED,
        ("has not mounted",),
        f"its events name the volume, Secret or network that the node waits for: {_DESCRIBE}",
    ),
    Hint(
        "image-slow",
        Reason.CONTAINER_FAILED,
        ("pulls its image",),
        f"its events say how far it is: {_DESCRIBE}; a mirror near the nodes, or the image on the nodes beforehand, is faster",
    ),
    Hint("container", Reason.CONTAINER_FAILED, (), f"{_DESCRIBE}; {_LOGS} --previous"),
    # Probes.
    Hint(
        "probe",
        Reason.PROBE_FAILED,
        (),
        f"{_DESCRIBE} has the probe's words under Events; {_LOGS}",
    ),
    # Engines, in their own words. The nearest cause comes first: an engine that runs out of memory also ends.
    Hint(
        "license-files-missing",
        Reason.LICENSE_FILES_MISSING,
        (),
        "put the license texts that came with the weights beside config.json, or have the platform owner change "
        "servedLicenseFiles in the LicensePolicy; then set spec.rollout.restartedAt",
    ),
    Hint(
        "checkpoint-refused",
        Reason.CHECKPOINT_REFUSED,
        (),
        "put the declared weights into the folder, or have an administrator declare what is there as a LlamaModel; then set "
        "spec.rollout.restartedAt",
    ),
    Hint(
        LICENSE_FILES_MISSING,
        Reason.ENGINE_FAILED,
        (LICENSE_FILES_MISSING,),
        "put the license texts beside the weights, or ask the platform owner (LicensePolicy)",
    ),
    Hint(
        CHECKPOINT_REFUSED,
        Reason.ENGINE_FAILED,
        (CHECKPOINT_REFUSED,),
        "put the declared weights there, or have them declared as what they are (LlamaModel)",
    ),
    Hint(
        "kv-cache",
        Reason.ENGINE_FAILED,
        ("kv cache", "no available memory for the cache blocks"),
        "lower spec.context.maxModelLength or concurrentSequences, or take more GPUs by spec.parallelism",
    ),
    Hint(
        "gpu-memory",
        Reason.ENGINE_FAILED,
        ("out of memory", "outofmemoryerror", "cublas_status_alloc_failed"),
        "give the engine less to hold: lower spec.context or spec.engine.gpuMemoryUtilizationPercent; see that nothing else "
        "runs on these GPUs",
    ),
    Hint(
        "gpu-memory-taken",
        Reason.ENGINE_FAILED,
        ("free memory on device", "is less than desired gpu memory utilization"),
        "something else holds memory of the GPU: an engine that did not end, or a pod that shares it; delete the pod, or lower "
        "spec.engine.gpuMemoryUtilizationPercent",
    ),
    Hint(
        "disk-full",
        Reason.ENGINE_FAILED,
        ("no space left", "disk quota exceeded", "errno 28"),
        "give the pods more ephemeral storage, or weights on a volume (LlamaModel spec.source)",
    ),
    Hint(
        "broken-file",
        Reason.ENGINE_FAILED,
        (
            "metadataincompletebuffer",
            "headertoolarge",
            "headertoosmall",
            "invalidheader",
            "safetensorerror",
            "incomplete metadata",
            "consistency check failed",
            "incompleteread",
            "checksum",
            "file is not a valid",
        ),
        "a weight file is broken, mostly a download that was cut: delete the worker pods, so that it is downloaded again "
        "(kubectl delete pod -n {namespace} -l llama-operator.io/revision={revision},ray.io/node-type=worker); on a volume: "
        "copy the file again",
    ),
    Hint(
        "hub-rate-limit",
        Reason.ENGINE_FAILED,
        ("429", "too many requests"),
        "the Hub limits how often it is asked: name a token in spec.weights.tokenSecret and wait, or use a mirror "
        "(--hub-endpoint) or weights on a volume",
    ),
    Hint(
        "hub-unauthorized",
        Reason.ENGINE_FAILED,
        ("401", "gated", "unauthorized"),
        "the Hub does not give the weights to the token of spec.weights.tokenSecret: see docs/access-check.md",
    ),
    Hint(
        "hub-forbidden",
        Reason.ENGINE_FAILED,
        ("403", "forbidden"),
        "the account behind spec.weights.tokenSecret may not read this repository: ask for access on the model's page, or let "
        "a fine-grained token read gated repositories",
    ),
    Hint(
        "hub-not-found",
        Reason.ENGINE_FAILED,
        ("404", "repositorynotfound", "revisionnotfound", "entrynotfound", "is not a valid model identifier"),
        "the Hub has no such repository, revision or file for this token: correct the model, or the token of "
        "spec.weights.tokenSecret",
    ),
    Hint(
        "nccl",
        Reason.ENGINE_FAILED,
        ("nccl",),
        "the GPUs do not reach each other: see NVLink and the driver on the node (nvidia-smi topo -m), /dev/shm, and between "
        "nodes the network and NetworkPolicies; NCCL_DEBUG=INFO in the image says more",
    ),
    Hint(
        "gpu-broken",
        Reason.ENGINE_FAILED,
        (
            "ecc error",
            "xid",
            "fallen off the bus",
            "gpu is lost",
            "unspecified launch failure",
            "hardware error",
            "device-side assert",
            "illegal memory access",
        ),
        _REPLACE,
    ),
    Hint(
        "driver",
        Reason.ENGINE_FAILED,
        (
            "driver version is insufficient",
            "driver/library version mismatch",
            "no nvidia driver",
            "nvidia driver on your system is too old",
            "no cuda-capable device",
            "no cuda gpus are available",
            "system not yet initialized",
            "cuda unknown error",
            "forward compatibility",
            "libcuda.so",
            "failed to infer device type",
        ),
        "the node's NVIDIA driver does not fit the image, or is not loaded: nvidia-smi on the node; upgrade the driver (and "
        "nvidia-fabricmanager), or take an image for its CUDA version",
    ),
    Hint(
        "gpu-too-old",
        Reason.ENGINE_FAILED,
        (
            "no kernel image is available",
            "compute capability",
            "not supported on this gpu",
            "requires device with capability",
        ),
        "the GPU cannot compute with this precision: another spec.model.precision or spec.hardware.accelerator",
    ),
    Hint(
        "port-taken",
        Reason.ENGINE_FAILED,
        ("address already in use", "eaddrinuse", "errno 98"),
        "something else in the pod has the port, mostly an engine that did not end: delete the worker pods",
    ),
    Hint(
        "shared-memory",
        Reason.ENGINE_FAILED,
        ("dev/shm", "bus error", "shared memory"),
        "the pod's shared memory is too small: KubeRay makes /dev/shm from the memory limit; see that the image does not mount "
        "its own",
    ),
    Hint(
        "module-missing",
        Reason.ENGINE_FAILED,
        ("no module named", "modulenotfounderror", "cannot import name", "importerror", "undefined symbol"),
        "the image lacks what the engine needs: correct spec.image",
    ),
    Hint(
        "architecture-unknown",
        Reason.ENGINE_FAILED,
        ("are not supported for now", "unrecognized model", "model type"),
        "the engine of the image does not know this model: take an image with a newer vLLM in spec.image",
    ),
    Hint(
        "context-too-long",
        Reason.ENGINE_FAILED,
        ("max_model_len", "maximum model length"),
        "lower spec.context.maxModelLength as the message says",
    ),
    Hint(
        "hub-unreachable",
        Reason.ENGINE_FAILED,
        (
            "name resolution",
            "max retries exceeded",
            "connection refused",
            "connecttimeout",
            "readtimeout",
            "couldn't connect to",
            "localentrynotfound",
            "cannot find the requested files",
            "network is unreachable",
            "502",
            "503",
            "504",
        ),
        "the pods do not reach the Hub: let {namespace} resolve names and use HTTPS (NetworkPolicies, proxy), have the platform "
        "owner set --hub-endpoint to a mirror, or put the weights on a volume",
    ),
    Hint(
        "permission",
        Reason.ENGINE_FAILED,
        ("permission denied", "read-only file system", "errno 13"),
        "the user of the image may not write or read the folder that the message names: see its rights, and the volume's",
    ),
    Hint(
        "file-missing",
        Reason.ENGINE_FAILED,
        ("no such file or directory", "filenotfounderror", "no config.json"),
        "the weights are not where the LlamaModel says: correct its spec.source, or put them there",
    ),
    Hint(
        "engine-died",
        Reason.ENGINE_FAILED,
        (
            "enginedead",
            "enginecore",
            "engine core",
            "actordied",
            "died unexpectedly",
            "actorunavailable",
            "worker died",
        ),
        f"the engine's process ended; its last words are in the log: {_LOGS}. Serve starts it again by itself",
    ),
    Hint(
        "health-check",
        Reason.ENGINE_FAILED,
        ("health check", "timed out", "timeouterror", "unresponsive"),
        f"the engine does not answer in time: overload, or a GPU that hangs; {_LOGS}",
    ),
    Hint("engine", Reason.ENGINE_FAILED, (), f"change what the message names; whole log: {_LOGS}"),
)
"""Of a reason, the first that fits; its last one fits all."""


def hint(reason: str, message: str) -> Hint | None:
    """The hint for a message; None for a reason without hints.

    Args:
        reason: Reason of a cause or of a condition.
        message: What was said.
    """
    lowered = message.lower()
    fitting = (one for one in HINTS if one.reason == reason)
    return next(
        (one for one in fitting if not one.words or any(_says(lowered, word.lower()) for word in one.words)), None
    )


def general(reason: Reason) -> str:
    """What to do about a reason, whatever the message says, with its fields still to be filled in."""
    return next((one.do for one in HINTS if one.reason is reason and not one.words), "")


def reasons() -> frozenset[Reason]:
    """Reasons that have hints."""
    return frozenset(one.reason for one in HINTS)


def _says(text: str, word: str) -> bool:
    """Whether a text has a word; a number counts only by itself: `401` is no part of a port or an amount."""
    if not word.isdigit():
        return word in text
    return re.search(rf"(?<![\w.]){word}(?![\w.]*\w)", text) is not None

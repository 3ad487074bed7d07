"""Hints for what KubeRay, API server, scheduler and kubelet say of clusters and pods. Facts, no logic; read by `hints`."""

from typing import Final

from llama_operator.api.reasons import Reason
from llama_operator.decide.diagnosis.hint import DESCRIBE, LOGS, Hint

_DOCTOR = (
    "see that KubeRay runs: kubectl llama doctor; its log: kubectl logs -n kuberay-system deployment/kuberay-operator"
)

PODS: Final[tuple[Hint, ...]] = (
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
        "kubectl describe resourcequota -n {namespace}: have it raised, free what holds it, or lower what spec.scaling asks for: "
        "minReplicas, or maxReplicas where it is a replica more under load",
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
        "spec.scaling.minReplicas, or maxReplicas where it is a replica more under load, or ask for less by spec.model.precision or spec.hardware",
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
        "add {accelerator} nodes; if there are some, `kubectl llama doctor` says why they are not known as such",
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
        "spec.image or spec.weights.cache.image, whichever the message names",
    ),
    Hint(
        "image-missing",
        Reason.IMAGE_NOT_PULLED,
        ("not found", "manifest unknown", "404", "no match for platform"),
        "spec.image, spec.weights.cache.image or the operator's --image, whichever the message names: the registry has no such image or tag, "
        "or none for this processor",
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
    Hint("image", Reason.IMAGE_NOT_PULLED, (), f"name an image that the nodes can pull in spec.image; {DESCRIBE}"),
    # Containers, in the kubelet's words.
    Hint(
        "head-out-of-memory",
        Reason.CONTAINER_FAILED,
        ("container ray-head ended: oomkilled", "container autoscaler ended: oomkilled"),
        "the head of the Ray cluster needs more memory than its limit: fewer replicas (spec.scaling.maxReplicas); it holds no "
        "model",
    ),
    Hint(
        "wait-for-head-killed",
        Reason.CONTAINER_FAILED,
        ("wait-gcs-ready ended: oomkilled",),
        "KubeRay gives this container 256Mi, and the Ray of this image needs more to ask for the head: use the serving image of "
        "this release, or have KubeRay leave the container out (ENABLE_INIT_CONTAINER_INJECTION=false in its Deployment)",
    ),
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
        "runtime-mounts-no-images",
        Reason.CONTAINER_FAILED,
        ('failed to mkdir ""',),
        "the container runtime of the node mounts no images as volumes: it needs containerd 2.1 or CRI-O 1.31 (kubectl get nodes -o wide); "
        "upgrade it, or take spec.weights.cache.mode Claim",
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
    Hint("crash", Reason.CONTAINER_FAILED, ("exit code 139", "exit code 134"), f"the process crashed: {LOGS}"),
    Hint(
        "killed",
        Reason.CONTAINER_FAILED,
        ("exit code 137",),
        f"something killed it: a probe that failed for long, or the node for memory. {DESCRIBE}",
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
        f"its events name the volume, Secret or network that the node waits for: {DESCRIBE}",
    ),
    Hint(
        "image-slow",
        Reason.CONTAINER_FAILED,
        ("pulls its image",),
        f"its events say how far it is: {DESCRIBE}; a mirror near the nodes, or the image on the nodes beforehand, is faster",
    ),
    Hint(
        "head-not-reached",
        Reason.CONTAINER_FAILED,
        ("held up by container wait-gcs-ready",),
        "the pod does not reach the head pod on port 6379: see NetworkPolicies, a service mesh and DNS in {namespace}; what it "
        "tries: kubectl logs -n {namespace} -l llama-operator.io/revision={revision} -c wait-gcs-ready",
    ),
    Hint("container", Reason.CONTAINER_FAILED, (), f"{DESCRIBE}; {LOGS} --previous"),
    # Probes.
    Hint(
        "probe",
        Reason.PROBE_FAILED,
        (),
        f"{DESCRIBE} has the probe's words under Events; {LOGS}",
    ),
)

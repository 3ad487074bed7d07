"""Hints for what engines say when they fail. Facts, no logic; read by `hints`."""

from typing import Final

from llama_operator.api.reasons import Reason
from llama_operator.decide.diagnosis.hint import LOGS, Hint
from llama_serving.config import CHECKPOINT_REFUSED, LICENSE_FILES_MISSING

_REPLACE = "cordon the node and have its GPU looked at; KubeRay makes the pod again on another one once you delete it"

ENGINES: Final[tuple[Hint, ...]] = (
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
        "board-failed",
        Reason.BOARD_FAILED,
        (),
        "look into the logs of the head: kubectl logs -n {namespace} -l "
        "llama-operator.io/revision={revision},ray.io/node-type=head; spec.rollout.restartedAt starts new pods",
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
        "hub-forbidden",
        Reason.ENGINE_FAILED,
        ("403", "forbidden", "not in the authorized list"),
        "the account behind spec.weights.tokenSecret may not read this repository: ask for access on the model's page, or let "
        "a fine-grained token read gated repositories",
    ),
    Hint(
        "hub-unauthorized",
        Reason.ENGINE_FAILED,
        ("401", "gated repo", "gatedrepo", "unauthorized"),
        "the Hub does not give the weights to the token of spec.weights.tokenSecret: see docs/access-check.md",
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
        "owner set --hub-endpoint to a mirror, or put the weights on a volume; a Hub that is asked too often, or forbids "
        "it, is told in the same words: name a token in spec.weights.tokenSecret that may read the repository, and wait",
    ),
    Hint(
        "permission",
        Reason.ENGINE_FAILED,
        ("permission denied", "read-only file system", "errno 13"),
        "the user of the image may not write or read the folder that the message names: see its rights, and the volume's",
    ),
    Hint(
        "store-silent",
        Reason.ENGINE_FAILED,
        (
            "config.json, or does not answer",
            "nocredentialserror",
            "unable to locate credentials",
            "clientauthenticationerror",
        ),
        "the object store has no such folder, or does not give it to these pods: see uri, endpoint and region of the LlamaModel, and "
        "the keys of the Secret in spec.weights.storeSecret or the rights of the service account (docs/stores.md)",
    ),
    Hint(
        "file-missing",
        Reason.ENGINE_FAILED,
        (
            "no such file or directory",
            "filenotfounderror",
            "no config.json",
            "invalid repository id or local directory",
            "cannot find any model weights",
            "repo id must be in the form",
        ),
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
        f"the engine's process ended; its last words are in the log: {LOGS}. Serve starts it again by itself",
    ),
    Hint(
        "health-check",
        Reason.ENGINE_FAILED,
        ("health check", "timed out", "timeouterror", "unresponsive"),
        "the engine's process ended, or does not answer in time (overload, or a GPU that hangs): its last words are in the log: "
        f"{LOGS}. Serve starts it again by itself",
    ),
    Hint("engine", Reason.ENGINE_FAILED, (), f"change what the message names; whole log: {LOGS}"),
)

"""`kubectl llama weights prefetch`: has the weights of a manifest copied before the manifest is applied.

It applies a second LlamaDeployment that holds no hardware. The copy belongs to its source, so the real deployment finds it; when that
serves, the second one can go, and the copy stays with the first.
"""

from dataclasses import dataclass
from typing import Any, Final

from llama_operator.api.v1alpha1.llamadeployment import MAX_NAME_LENGTH, Activation
from llama_operator.cli.shared import files, output
from llama_operator.cli.shared.connection import ClusterError, Connection, runner
from llama_operator.cli.shared.exit_codes import EXIT_OK
from llama_operator.decide.copies.needed import caches
from llama_operator.kube.port import Object

_SUFFIX: Final = "-prefetch"


@dataclass(frozen=True, slots=True)
class PrefetchOptions:
    """What the user asked for on the command line."""

    file: list[str]
    name: str | None = None


async def command(connection: Connection, options: PrefetchOptions) -> int:
    """Apply the deployment that holds the copy."""
    manifests = files.read(options.file, name=options.name, alone=False)
    deployment = manifests.deployment
    if not caches(deployment):
        raise ClusterError(
            f"{manifests.path}: spec.weights.cache.mode is {deployment.spec.weights.cache.mode}, so each node downloads for itself: set "
            "it to Claim"
        )
    (written,) = (
        obj
        for obj in manifests.objects
        if obj["kind"] == deployment.kind and obj["metadata"]["name"] == deployment.metadata.name
    )
    obj = ahead_of(written, connection.namespace)
    await connection.cluster.apply(obj, force=False)
    name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
    output.console(wide=True).print(
        f"llamadeployment.llama-operator.io/{name} applied: it copies the weights and holds no hardware.\n"
        f"  kubectl llama weights list -n {namespace}\n"
        f"  kubectl llama explain {name} -n {namespace}\n"
        f"  kubectl delete lld {name} -n {namespace}    # once {deployment.metadata.name} serves; the copy stays with that",
        markup=False,
    )
    return EXIT_OK


def ahead_of(written: Object, namespace: str) -> Object:
    """The deployment that copies ahead of one that is written in a manifest; it has nothing that others would reach."""
    spec: dict[str, Any] = {**written["spec"], "activation": Activation.PREFETCH.value}
    if "endpoint" in spec:
        spec["endpoint"] = {name: value for name, value in spec["endpoint"].items() if name != "expose"}
    name = written["metadata"]["name"][: MAX_NAME_LENGTH - len(_SUFFIX)].rstrip("-") + _SUFFIX
    metadata = {"name": name, "namespace": written["metadata"].get("namespace") or namespace}
    return {"apiVersion": written["apiVersion"], "kind": written["kind"], "metadata": metadata, "spec": spec}


run = runner(command, PrefetchOptions)

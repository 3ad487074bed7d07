"""Names, labels and owner references of what the operator creates. Used by all builders."""

from typing import Any

from llama_operator.api.meta import API_VERSION, LABEL_DEPLOYMENT, LABEL_REVISION, ObjectMeta
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment

MANAGER = "llama-operator"
"""Field manager of every write, and value of app.kubernetes.io/managed-by."""


def labels(deployment: LlamaDeployment, revision: str | None = None) -> dict[str, str]:
    """Labels of an object of `deployment`, and of its `revision` if it belongs to one."""
    common = {
        "app.kubernetes.io/name": "llama",
        "app.kubernetes.io/instance": deployment.metadata.name,
        "app.kubernetes.io/managed-by": MANAGER,
        LABEL_DEPLOYMENT: deployment.metadata.name,
    }
    return common if revision is None else common | {LABEL_REVISION: revision}


def serving_selector(deployment: LlamaDeployment, revision: str) -> dict[str, str]:
    """Labels of the pods of `revision` that can serve, as KubeRay sees it."""
    return {LABEL_DEPLOYMENT: deployment.metadata.name, LABEL_REVISION: revision, "ray.io/serve": "true"}


def metadata(deployment: LlamaDeployment, name: str, revision: str | None = None) -> dict[str, Any]:
    """Metadata of a namespaced child named `name`; owned by the deployment once that has a uid."""
    owner: ObjectMeta = deployment.metadata
    built: dict[str, Any] = {"name": name, "namespace": owner.namespace, "labels": labels(deployment, revision)}
    if owner.uid:
        built["ownerReferences"] = [
            {
                "apiVersion": API_VERSION,
                "kind": deployment.kind,
                "name": owner.name,
                "uid": owner.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    return built

"""The Service and the NetworkPolicy of a deployment. Called by `desired.objects`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from llama_operator.api.meta import ANNOTATION_TRAFFIC_SINCE, LABEL_DEPLOYMENT, rfc3339
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.decide.observed import Settings
from llama_operator.desired import naming
from llama_operator.desired.pods.head import DASHBOARD_PORT, METRICS_PORT
from llama_serving.config import HTTP_PORT
from llama_serving.contract.haproxy import HAPROXY_METRICS_PORT


def service(deployment: LlamaDeployment, revision: str, since: datetime | None) -> dict[str, Any]:
    """Build the stable Service: its selector names the revision that gets the traffic.

    Traffic goes on while the operator is down, because only KubeRay and the kubelet keep the labels and the readiness.
    An annotation records when the selector last changed, and both change in one write: from then on the revision
    before is drained.

    Args:
        deployment: Whose Service.
        revision: Revision that gets the traffic; `NO_REVISION` selects no pod.
        since: When the selector last changed, in UTC; None for the first revision.
    """
    metadata = naming.metadata(deployment, deployment.metadata.name)
    if since is not None:
        metadata["annotations"] = {ANNOTATION_TRAFFIC_SINCE: rfc3339(since)}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": "ClusterIP",
            "selector": naming.serving_selector(deployment, revision),
            "ports": [
                {"name": "http", "port": HTTP_PORT, "targetPort": HTTP_PORT, "protocol": "TCP", "appProtocol": "http"}
            ],
        },
    }


def network_policy(deployment: LlamaDeployment, settings: Settings) -> dict[str, Any]:
    """Build the NetworkPolicy: a client that reaches Ray's ports can run code, so only the cluster and KubeRay reach them.

    The ports for requests and for Ray's metrics are open to all: this policy does not authorize requests. HAProxy's metrics are for
    the namespaces of the monitoring. Its page of statistics, which asks for no password, is for nobody outside.
    """
    own_pods = {"podSelector": {"matchLabels": {LABEL_DEPLOYMENT: deployment.metadata.name}}}
    kuberay = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.kuberay_namespace}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "kuberay-operator"}},
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": naming.metadata(deployment, deployment.metadata.name),
        "spec": {
            "podSelector": {"matchLabels": {LABEL_DEPLOYMENT: deployment.metadata.name}},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [own_pods]},
                {"from": [kuberay], "ports": [_tcp(DASHBOARD_PORT), _tcp(HTTP_PORT)]},
                {"ports": [_tcp(HTTP_PORT), _tcp(METRICS_PORT)]},
                *_for_monitoring(settings.monitoring_namespaces),
            ],
        },
    }


def _for_monitoring(namespaces: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """No rule for no namespace: an empty list of peers would be everybody."""
    peers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}} for name in namespaces]
    return ({"from": peers, "ports": [_tcp(HAPROXY_METRICS_PORT)]},) if peers else ()


def _tcp(port: int) -> dict[str, Any]:
    return {"protocol": "TCP", "port": port}

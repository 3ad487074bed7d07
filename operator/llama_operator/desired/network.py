"""The Service and the NetworkPolicies of a deployment. Called by `desired.objects`."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from llama_operator.api.meta import ANNOTATION_TRAFFIC_SINCE, LABEL_DEPLOYMENT, rfc3339
from llama_operator.api.v1alpha1.access import AccessPeer
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.decide.observed import RevisionFacts, Settings
from llama_operator.desired import egress, naming
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


def policies(
    deployment: LlamaDeployment, settings: Settings, pinned: Iterable[RevisionFacts]
) -> tuple[dict[str, Any], ...]:
    """Build the NetworkPolicies of a deployment: who reaches its pods, and what they reach.

    Args:
        deployment: Its spec says who else may send requests.
        settings: Settings of the operator.
        pinned: Revisions that run: what they were told of stays open.
    """
    own = {"podSelector": {"matchLabels": {LABEL_DEPLOYMENT: deployment.metadata.name}}}
    spec: dict[str, Any] = {**own, "policyTypes": ["Ingress"], "ingress": _ingress(deployment, settings, own)}
    if not settings.bounds_egress:
        return (_policy(deployment, deployment.metadata.name, spec),)
    spec |= {"policyTypes": ["Ingress", "Egress"], "egress": egress.rules(own, pinned, settings)}
    head = {
        "podSelector": {"matchLabels": {LABEL_DEPLOYMENT: deployment.metadata.name, "ray.io/node-type": "head"}},
        "policyTypes": ["Egress"],
        # The API server has no pods that a selector could name.
        "egress": [{"ports": [_tcp(port) for port in settings.api_server_ports]}],
    }
    # No deployment has a name with a dot.
    return (
        _policy(deployment, deployment.metadata.name, spec),
        _policy(deployment, f"{deployment.metadata.name}.head", head),
    )


def _policy(deployment: LlamaDeployment, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": naming.metadata(deployment, name),
        "spec": spec,
    }


def _ingress(deployment: LlamaDeployment, settings: Settings, own: dict[str, Any]) -> list[dict[str, Any]]:
    """Rules for who comes in: a client that reaches Ray's ports can run code, so only the cluster and KubeRay reach them.

    HAProxy's page of statistics, which asks for no password, is for nobody outside.
    """
    kuberay = _namespace(settings.kuberay_namespace) | {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "kuberay-operator"}}
    }
    monitoring = [_namespace(name) for name in settings.monitoring_namespaces]
    return [
        {"from": [own]},
        {"from": [kuberay], "ports": [_tcp(DASHBOARD_PORT), _tcp(HTTP_PORT)]},
        _for_clients(deployment, settings),
        # No rule for no namespace: an empty list of peers would be everybody.
        *([{"from": monitoring, "ports": [_tcp(METRICS_PORT), _tcp(HAPROXY_METRICS_PORT)]}] if monitoring else []),
    ]


def _for_clients(deployment: LlamaDeployment, settings: Settings) -> dict[str, Any]:
    """Who may send requests: the own namespace, those whom the spec names, the operator, and gateways to what is exposed."""
    ports = {"ports": [_tcp(HTTP_PORT)]}
    exposed = deployment.spec.endpoint.expose is not None
    if exposed and not settings.gateway_namespaces:
        # Nobody says where its gateways are.
        return ports
    operator = [_namespace(settings.operator_namespace)] if settings.operator_namespace else []
    gateways = [_namespace(name) for name in settings.gateway_namespaces] if exposed else []
    named = [_peer(one) for one in deployment.spec.access.from_]
    return {"from": [{"podSelector": {}}, *operator, *gateways, *named], **ports}


def _peer(one: AccessPeer) -> dict[str, Any]:
    if one.cidr is not None:
        return {"ipBlock": {"cidr": one.cidr}}
    pods = {"podSelector": {"matchLabels": dict(one.pod_labels)}} if one.pod_labels else {}
    return _namespace(one.namespace or "") | pods


def _namespace(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _tcp(port: int) -> dict[str, Any]:
    return {"protocol": "TCP", "port": port}

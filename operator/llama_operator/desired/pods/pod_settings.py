"""Renders what platform and team want of pods. Called by the builders of head, workers and Jobs.

A new setting of a pod is a line here, beside its field in `api.v1alpha1.pods`. What the builders themselves need (names,
security, the labels that Services select) is not for settings to change: see `over`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from llama_operator.api.meta import LABEL_REVISION
from llama_operator.api.v1alpha1.pods import Affinity, CABundle, Proxy
from llama_operator.decide.placement.pod_settings import PodSettings
from llama_operator.desired.pods.parts import PodParts

_CA_VOLUME: Final = "ca-bundle"
_CA_FOLDER: Final = "/etc/llama-operator/ca"
_CA_FILE: Final = "ca.crt"
_CA_VARIABLES: Final = ("AWS_CA_BUNDLE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
"""Names by which the libraries of the pods look for certificates."""
_WITHOUT_PROXY: Final = (
    "localhost",
    "127.0.0.1",
    "::1",
    ".svc",
    ".cluster.local",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
)
"""What pods of a cluster reach without a proxy: each other, first of all."""
_NODE_AFFINITY: Final = "nodeAffinity"


def peers(revision: str, node_type: str) -> dict[str, str]:
    """Labels of the Ray pods of a revision that have one role, `head` or `worker`."""
    return {LABEL_REVISION: revision, "ray.io/node-type": node_type}


def over(parts: PodParts, wanted: PodSettings, same: Mapping[str, str], *, spans_nodes: bool = False) -> PodParts:
    """Add settings to the parts of a pod.

    Of an environment variable the setting counts, of a label that of the builder: Services and policies select by it.

    Args:
        parts: What the builders put into the pod.
        wanted: Settings of its role.
        same: Labels of the pods of its revision and role.
        spans_nodes: Whether the pod is a part of a replica over several nodes.
    """
    settings = _rendered(wanted, same, locks_memory=spans_nodes and wanted.lock_memory)
    environment = {name: value for name, value in parts.environment.items() if name not in settings.environment}
    labels = {name: value for name, value in settings.labels.items() if name not in parts.labels}
    return replace(parts, environment=environment) + replace(settings, labels=labels)


def _rendered(wanted: PodSettings, same: Mapping[str, str], *, locks_memory: bool) -> PodParts:
    section = wanted.fields
    rendered = section.to_api()
    variables = {each.name: _variable(each.to_api()) for each in section.env}
    spread = [_about(each, same) for each in rendered["topologySpreadConstraints"]]
    fields = {
        "runtimeClassName": section.runtime_class_name,
        "schedulerName": section.scheduler_name,
        "priorityClassName": section.priority_class_name,
        "serviceAccountName": wanted.service_account,
        "topologySpreadConstraints": spread,
        "hostAliases": rendered["hostAliases"],
    }
    common = PodParts(
        environment=variables,
        labels=section.labels,
        annotations=section.annotations,
        node_selector=section.node_selector,
        node_requirements=tuple(_expression(each.key, each.operator, each.values) for each in wanted.requirements),
        affinity=_affinity(section.affinity, same),
        tolerations=tuple(rendered["tolerations"]),
        pull_secrets=tuple(secret.name for secret in section.image_pull_secrets),
        capabilities=("IPC_LOCK",) if locks_memory else (),
        pod_fields={name: value for name, value in fields.items() if value},
    )
    return common + _certificates(section.ca_bundle, variables) + _proxy(section.proxy, variables)


def _variable(written: Mapping[str, Any]) -> Any:
    return written.get("valueFrom") or written.get("value", "")


def _expression(key: str, operator: str, values: tuple[str, ...]) -> dict[str, Any]:
    return {"key": key, "operator": operator} | ({"values": list(values)} if values else {})


def _affinity(affinity: Affinity | None, same: Mapping[str, str]) -> dict[str, Any]:
    """Affinity without the requirements on nodes, which stand by themselves."""
    if affinity is None:
        return {}
    rendered = affinity.to_api()
    node = rendered.pop(_NODE_AFFINITY, {})
    node.pop("requiredDuringSchedulingIgnoredDuringExecution", None)
    for side in rendered.values():
        required = "requiredDuringSchedulingIgnoredDuringExecution"
        side[required] = [_about(term, same) for term in side[required]]
        for preferred in side["preferredDuringSchedulingIgnoredDuringExecution"]:
            preferred["podAffinityTerm"] = _about(preferred["podAffinityTerm"], same)
    return _without_empty(rendered | {_NODE_AFFINITY: node})


def _about(term: Mapping[str, Any], same: Mapping[str, str]) -> dict[str, Any]:
    """A term over pods: those of the same revision and role, if it names none."""
    return _without_empty({"labelSelector": {"matchLabels": dict(same)}, **term})


def _without_empty(rendered: Mapping[str, Any]) -> dict[str, Any]:
    below = {name: _without_empty(each) if isinstance(each, Mapping) else each for name, each in rendered.items()}
    return {name: value for name, value in below.items() if value not in ({}, [])}


def _certificates(bundle: CABundle | None, named: Mapping[str, Any]) -> PodParts:
    if bundle is None:
        return PodParts()
    path = f"{_CA_FOLDER}/{_CA_FILE}"
    source = {"name": bundle.config_map, "items": [{"key": bundle.key, "path": _CA_FILE}]}
    return PodParts(
        environment={name: path for name in _CA_VARIABLES if name not in named},
        mounts={_CA_FOLDER: {"name": _CA_VOLUME, "readOnly": True}},
        volumes={_CA_VOLUME: {"configMap": source}},
    )


def _proxy(proxy: Proxy | None, named: Mapping[str, Any]) -> PodParts:
    if proxy is None:
        return PodParts()
    direct = ",".join((*_WITHOUT_PROXY, *proxy.no_proxy))
    values = {"HTTP_PROXY": proxy.url, "HTTPS_PROXY": proxy.url, "NO_PROXY": direct}
    # Libraries differ in which of the two spellings they read.
    both = values | {name.lower(): value for name, value in values.items()}
    return PodParts(environment={name: value for name, value in both.items() if name not in named})

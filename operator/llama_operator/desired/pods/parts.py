"""What pods of ours are made of, as values that add up. Called by the builders of pods.

One cause, one value: the Hub token, a claim with weights, the GPUs of a node. A pod is the sum of its values, so a new
cause (a cache, a key, what a user asks of all pods) is one more summand and changes none of the others. The sum of
values that contradict each other does not exist: no value silently replaces another.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from llama_operator.errors import LlamaOperatorError

Named = Mapping[str, Any]
"""Values by name. Equal ones add up to one, different ones of the same name are a conflict."""


_NODE_AFFINITY = "nodeAffinity"


class PodConflictError(LlamaOperatorError):
    """Two parts of a pod want different values for the same thing."""


@dataclass(frozen=True, slots=True)
class PodParts:
    """Parts of a pod. `a + b` has the parts of both; it is associative, and `PodParts()` changes nothing.

    Attributes:
        environment: Variables by name: a text, or a `valueFrom` of Kubernetes.
        mounts: Volume mounts by path, without `mountPath`.
        volumes: Volumes by name, without `name`.
        tolerations: Tolerations of Kubernetes.
        node_selector: Labels that a node must have.
        node_requirements: Expressions over labels of a node, all of which must hold: its node affinity.
        node_alternatives: Lists of such expressions; beside `node_requirements`, all of one list must hold. The sum of two
            that have some is not made: only one part of a pod says which cards it needs.
        affinity: Affinity beside these requirements, as Kubernetes has it: `podAffinity`, or preferred nodes.
        pod_fields: Fields of the pod's spec that have no part of their own, by name.
        pull_secrets: Names of Secrets for the registry.
        pod_security: Fields of the pod's security context.
        container_security: Fields of the container's security context.
        capabilities: Linux capabilities that the container keeps; all others are dropped.
        labels: Labels of the pod.
        annotations: Annotations of the pod.
    """

    environment: Named = field(default_factory=dict)
    mounts: Named = field(default_factory=dict)
    volumes: Named = field(default_factory=dict)
    tolerations: tuple[Named, ...] = ()
    node_selector: Named = field(default_factory=dict)
    node_requirements: tuple[Named, ...] = ()
    node_alternatives: tuple[tuple[Named, ...], ...] = ()
    affinity: Named = field(default_factory=dict)
    pod_fields: Named = field(default_factory=dict)
    pull_secrets: tuple[str, ...] = ()
    pod_security: Named = field(default_factory=dict)
    container_security: Named = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    labels: Named = field(default_factory=dict)
    annotations: Named = field(default_factory=dict)

    def __add__(self, other: "PodParts") -> "PodParts":
        """Add up.

        Raises:
            PodConflictError: If both have different values for one name.
        """
        names = [part.name for part in fields(self)]
        return PodParts(**{name: _add(name, getattr(self, name), getattr(other, name)) for name in names})

    def template(self, container: Named, spec: Named | None = None) -> dict[str, Any]:
        """Render the template of a pod with one container.

        Args:
            container: What only this container has: name, image, resources. An empty field that the parts fill keeps its
                place.
            spec: What only this pod has, beside its container.
        """
        pod = {
            "securityContext": self.pod_security,
            "affinity": self._affinity(),
            "tolerations": list(self.tolerations),
            "nodeSelector": self.node_selector,
            "imagePullSecrets": [{"name": name} for name in self.pull_secrets],
            "containers": [dict(container) | self._of_container()],
            "volumes": [{"name": name, **source} for name, source in self.volumes.items()],
            **self.pod_fields,
        }
        metadata = {"labels": self.labels, "annotations": self.annotations}
        return {"metadata": _filled(metadata), "spec": dict(spec or {}) | _filled(pod)}

    def _affinity(self) -> dict[str, Any]:
        terms = [(*one, *self.node_requirements) for one in self.node_alternatives or ((),)]
        if not all(terms):
            return dict(self.affinity)
        selector = {"nodeSelectorTerms": [{"matchExpressions": list(term)} for term in terms]}
        node = {"requiredDuringSchedulingIgnoredDuringExecution": selector, **self.affinity.get(_NODE_AFFINITY, {})}
        return {_NODE_AFFINITY: node} | {name: each for name, each in self.affinity.items() if name != _NODE_AFFINITY}

    def _of_container(self) -> dict[str, Any]:
        kept = {"capabilities": {"drop": ["ALL"], "add": list(self.capabilities)}} if self.capabilities else {}
        mounts = [{"name": mount["name"], "mountPath": path, **mount} for path, mount in self.mounts.items()]
        return _filled(
            {
                "env": [_variable(name, value) for name, value in self.environment.items()],
                "securityContext": dict(self.container_security) | kept,
                "volumeMounts": mounts,
            }
        )


RESTRICTED = PodParts(
    pod_security={"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    container_security={"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
)
"""Pod security standard `restricted`: part of every pod of ours."""


def _add(part: str, one: Any, other: Any) -> Any:
    if part == "node_alternatives":
        return _same(part, one, other) if one and other else one or other
    if isinstance(one, tuple):
        return (*one, *(value for value in other if value not in one))
    for name in one.keys() & other.keys():
        _same(f"{part} {name}", one[name], other[name])
    return {**one, **other}


def _same(what: str, one: Any, other: Any) -> Any:
    if one != other:
        raise PodConflictError(f"two parts of a pod want different values for {what}: {one!r} and {other!r}")
    return one


def _variable(name: str, value: str | Named) -> dict[str, Any]:
    return {"name": name, "value" if isinstance(value, str) else "valueFrom": value}


def _filled(rendered: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in rendered.items() if value}

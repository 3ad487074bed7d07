"""Paths of the Kubernetes REST API. Pure; called by `client`, `watching` and kopf's settings.

https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris
"""

from collections.abc import Mapping
from urllib.parse import quote

from llama_operator.kube.port import InvalidError, Kind, Ref


def of_kind(kind: Kind, namespace: str | None = None) -> str:
    """Path of all objects of a kind, in one namespace or, with None, in all."""
    root = "/apis" if "/" in kind.api_version else "/api"
    where = f"/namespaces/{_segment('metadata.namespace', namespace)}" if namespace and kind.namespaced else ""
    return f"{root}/{kind.api_version}{where}/{kind.plural}"


def of_object(ref: Ref, subresource: str = "") -> str:
    """Path of one object, or of a subresource of it.

    Raises:
        InvalidError: If a name could not stand in a path, or the kind needs a namespace and there is none.
    """
    if ref.kind.namespaced and not ref.namespace:
        raise InvalidError(f"metadata.namespace: a {ref.kind.kind} needs one")
    path = f"{of_kind(ref.kind, ref.namespace)}/{_segment('metadata.name', ref.name)}"
    return f"{path}/{subresource}" if subresource else path


def of_service(ref: Ref, port: int, path: str) -> str:
    """Path of what a Service answers itself, through the API server.

    Raises:
        InvalidError: If a name could not stand in a path.
    """
    return f"{of_kind(ref.kind, ref.namespace)}/{_segment('metadata.name', ref.name)}:{port}/proxy{path}"


def selector(labels: Mapping[str, str]) -> str:
    """A label selector that asks for equality of all `labels`."""
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def _segment(field: str, value: str) -> str:
    """Quote a name. The server judges what else is wrong with it."""
    if not value or value in {".", ".."} or "/" in value or "%" in value:
        raise InvalidError(f"{field}: {value!r} is not a name; use lower case letters, digits and `-`")
    return quote(value, safe="")

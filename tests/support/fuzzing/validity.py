"""What the servers behind a write would say: KubeRay's CRDs, closed; Kubernetes' own types; our own CRDs."""

import functools
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from jsonschema.validators import Draft202012Validator
from referencing import Registry, Resource

from llama_operator.api import crd

ROOT = Path(__file__).resolve().parents[3]
KUBERNETES = "1.36"
LONGEST = {"RayService": 47, "Service": 63, "Job": 63, "NetworkPolicy": 253, "ControllerRevision": 253, "Event": 253}
LONGEST |= {"HTTPRoute": 253, "Ingress": 253, "PodDisruptionBudget": 253, "PersistentVolumeClaim": 253}
"""Characters of a name. RayServices: what KubeRay makes of it has to fit, too."""

NOTE_BYTES = 1024


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as a server that prunes reads it: a field that it does not know is lost, so here it is an error."""
    result = dict(schema)
    if "properties" in schema:
        result["properties"] = {name: closed(child) for name, child in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            result["additionalProperties"] = False
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = closed(schema["additionalProperties"])
    if "items" in schema:
        result["items"] = closed(schema["items"])
    return result


@functools.cache
def kuberay(plural: str) -> dict[str, Any]:
    """Schema of a kind of KubeRay's, from its own CRD."""
    return _of_module("kuberay_crds", f"ray.io_{plural}.yaml")


@functools.cache
def _of_module(tool: str, file: str) -> dict[str, Any]:
    command = [sys.executable, str(ROOT / "tools" / f"{tool}.py")]
    folder = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    text = Path(folder, file).read_text(encoding="utf-8")
    definition = yaml.load(text, Loader=yaml.CSafeLoader)
    version = next(found for found in definition["spec"]["versions"] if found["name"] == "v1")
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


@functools.cache
def ours(kind: str) -> dict[str, Any]:
    """Schema of one of our own kinds, from our CRD."""
    resource = next(each for each in crd.RESOURCES if each.model.__name__ == kind)
    schema: dict[str, Any] = crd.build(resource)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


@functools.cache
def _of_ours(kind: str) -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(closed(ours(kind)["properties"]["status"]), format_checker=_FORMATS)


@functools.cache
def _of_kuberay() -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(closed(kuberay("rayservices")["properties"]["spec"]))


@functools.cache
def _of_gateway_api() -> jsonschema.Draft7Validator:
    schema = _of_module("gateway_crds", "gateway.networking.k8s.io_httproutes.yaml")
    return jsonschema.Draft7Validator(closed(schema["properties"]["spec"]))


@functools.cache
def _of_kubernetes(kind: str, api_version: str) -> Draft202012Validator:
    group = api_version.replace(".k8s.io", "").replace("/", "-")
    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"v{KUBERNETES}.0-local-strict"
    schema = json.loads((folder / f"{kind.lower()}-{group}.json").read_text(encoding="utf-8"))
    definitions = json.loads((folder / "_definitions.json").read_text(encoding="utf-8"))
    registry = Resource.from_contents(definitions) @ (Resource.from_contents(schema) @ Registry())
    return Draft202012Validator(schema, registry=registry)


_FORMATS = jsonschema.FormatChecker(formats=())
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


@_FORMATS.checks("date-time")
def _is_time(written: object) -> bool:
    return not isinstance(written, str) or _TIME.fullmatch(written) is not None


_KNOWN_GOOD: set[str] = set()


def check_object(obj: Mapping[str, Any]) -> None:
    """Check an object that the operator applies.

    Raises:
        AssertionError: If its server would refuse it, or lose a part of it.
    """
    kind, name = obj["kind"], obj["metadata"]["name"]
    assert len(name) <= LONGEST[kind], f"{kind} {name}: a name of {len(name)} characters"
    if kind == "Event":
        assert len(obj["note"].encode()) <= NOTE_BYTES, "the note of an event is too long"
    if kind == "RayService":
        # The Serve config is a text to KubeRay, and changes with every bound.
        content = {**obj["spec"], "serveConfigV2": ""}
        _check(kind, content, _of_kuberay())
        return
    if kind == "HTTPRoute":
        _check(kind, obj["spec"], _of_gateway_api())
        return
    _check(kind, dict(obj), _of_kubernetes(kind, obj["apiVersion"]))


def check_status(kind: str, status: Mapping[str, Any]) -> None:
    """Check a status that the operator writes.

    Raises:
        AssertionError: If our own CRD refuses it, or loses a part of it.
    """
    _check(f"{kind}.status", dict(status), _of_ours(kind))


def _check(what: str, content: dict[str, Any], validator: Any) -> None:
    digest = f"{what}{json.dumps(content, sort_keys=True)}"
    if digest in _KNOWN_GOOD:
        return
    errors = [f"{'.'.join(map(str, error.path))}: {error.message[:300]}" for error in validator.iter_errors(content)]
    assert not errors, f"{what} is refused: {errors[:3]}"
    if len(_KNOWN_GOOD) > 20_000:
        _KNOWN_GOOD.clear()
    _KNOWN_GOOD.add(digest)

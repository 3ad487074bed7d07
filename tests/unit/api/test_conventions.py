"""The API conventions that a linter of Go types would hold, held on the generated schemas instead."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from llama_operator.api.crd import RESOURCES, Resource, build

ROOT = Path(__file__).resolve().parents[3]
CRDS = sorted((ROOT / "manifests" / "crds").glob("*.yaml"))


def schema_of(resource: Resource) -> dict[str, Any]:
    return build(resource)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def nodes(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        if path == "" and name in {"apiVersion", "kind", "metadata"}:
            continue
        yield from nodes(f"{path}.{name}", child)
    if "items" in schema:
        yield from nodes(f"{path}[]", schema["items"])


ALL = [
    pytest.param(path, node, id=f"{resource.model.__name__}{path}")
    for resource in RESOURCES
    for path, node in nodes("", schema_of(resource))
]


@pytest.mark.parametrize(("path", "node"), ALL)
def test_a_field_follows_the_conventions(path, node):
    kind, name = node["type"], path.rsplit(".", 1)[-1].removesuffix("[]")
    assert kind in {"object", "string", "integer", "array"}, "no booleans, no floats"
    assert name != "phase"
    assert not re.search(r"(?i)duration|timeout$|period$", name), "durations are integers that end in Seconds"
    if kind == "string" and node.get("format") != "date-time":
        assert "enum" in node or "maxLength" in node, "every string is bounded"
        for value in node.get("enum", ()):
            assert re.fullmatch(r"[A-Z][A-Za-z0-9]*", value), "enums are CamelCase"
    if kind == "array":
        assert "maxItems" in node, "every list is bounded"
    if kind == "integer":
        assert "minimum" in node, "every number is bounded"
        assert "maximum" in node or name == "observedGeneration", "every number is bounded"
    if path and not path.endswith("[]"):
        assert node.get("description"), "kubectl explain has something to say"


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.plural)
def test_names_are_camel_case(resource):
    for path, _ in nodes("", schema_of(resource)):
        name = path.rsplit(".", 1)[-1].removesuffix("[]")
        assert not name or re.fullmatch(r"[a-z][A-Za-z0-9]*", name), path


def test_conditions_are_a_map_by_type_with_an_observed_generation():
    status = schema_of(RESOURCES[0])["properties"]["status"]
    conditions = status["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert "observedGeneration" in conditions["items"]["properties"]
    assert "reason" in conditions["items"]["required"]


def test_tenants_are_a_map_by_name():
    tenants = schema_of(RESOURCES[0])["properties"]["spec"]["properties"]["tenants"]
    assert tenants["x-kubernetes-list-type"] == "map"
    assert tenants["x-kubernetes-list-map-keys"] == ["name"] == tenants["items"]["required"]


def test_status_has_no_default_but_that_nobody_has_looked():
    for resource in RESOURCES:
        for path, node in nodes("", schema_of(resource)["properties"].get("status", {})):
            default = None if path else resource.unseen or None
            assert node.get("default") == default, f"the API server would write status{path} for us"


def test_every_rule_tells_what_to_do():
    for resource in RESOURCES:
        for path, node in nodes("", schema_of(resource)):
            for rule in node.get("x-kubernetes-validations", ()):
                assert len(rule["message"]) > 40, path


def test_reserved_fields_are_still_free():
    spec = schema_of(RESOURCES[0])["properties"]["spec"]["properties"]
    assert not {"budget", "gateway"} & set(spec)


def test_the_scale_subresource_names_fields_that_exist():
    version = build(RESOURCES[0])["spec"]["versions"][0]
    root = version["schema"]["openAPIV3Schema"]
    for path in version["subresources"]["scale"].values():
        node = root
        for part in path.strip(".").split("."):
            node = node["properties"][part]


@pytest.mark.parametrize("path", CRDS, ids=lambda path: path.stem)
@pytest.mark.parametrize("version", ["1.35", "1.36", "1.37"])
def test_the_committed_crd_is_valid_for_kubernetes(path, version):
    definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    kubernetes_validate.validate(definition, version, strict=True)


def test_every_crd_is_committed():
    assert {path.name for path in CRDS} == {f"{resource.plural}.llama-operator.io.yaml" for resource in RESOURCES}

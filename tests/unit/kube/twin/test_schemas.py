"""The table of kinds against the CRDs themselves: a list that merges there must merge here, and the other way round."""

import pytest
import yaml

from llama_operator.kube import kinds
from llama_operator.kube.twin import schemas
from llama_operator.kube.twin.fields import KEY_DEFAULTS


def granular(schema, names=()):
    """Names, keys and sorts of what is declared in a CRD, as far as anybody can own something inside."""
    if schema.get("x-kubernetes-map-type") == "atomic":
        yield names, "atomic", ()
        return
    if schema.get("type") == "array":
        sort = schema.get("x-kubernetes-list-type", "atomic")
        if sort == "atomic":
            return
        yield names, sort, tuple(schema.get("x-kubernetes-list-map-keys", ()))
        for key in schema.get("x-kubernetes-list-map-keys", ()):
            assert (schema["items"]["properties"][key].get("default") or None) == KEY_DEFAULTS.get(key), (names, key)
        yield from granular(schema["items"], names)
    for name, child in schema.get("properties", {}).items():
        yield from granular(child, (*names, name))


def crds(folder):
    for path in sorted(folder.glob("*.yaml")):
        crd = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        for version in crd["spec"]["versions"]:
            kind = kinds.find(f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"])
            if kind is not None:
                yield kind, crd["spec"], version


def check(folder):
    found = set()
    for kind, crd, version in crds(folder):
        found.add(kind)
        schema = schemas.schema(kind)
        declared = list(granular(version["schema"]["openAPIV3Schema"]))
        ours = schema.merging
        assert {names: keys for names, sort, keys in declared if sort == "map"} == {
            names: keys for names, keys in ours.list_maps.items() if names[0] != "metadata"
        }
        assert {names for names, sort, _ in declared if sort == "set"} == {
            names for names in ours.list_sets if names[0] != "metadata"
        }
        assert {names for names, sort, _ in declared if sort == "atomic"} == {
            names for names in ours.atomic_maps if names[0] != "metadata"
        }
        assert kind.plural == crd["names"]["plural"]
        assert kind.namespaced == (crd["scope"] == "Namespaced")
        assert schema.status == ("status" in version.get("subresources", {}))
        assert schema.generation, "the server counts generations of every custom resource"
    return found


def test_our_kinds_merge_as_our_crds_say(root):
    assert check(root / "manifests" / "crds") >= {kinds.LLAMA_DEPLOYMENT, kinds.LICENSE_ACCEPTANCE}


def test_kuberays_kinds_merge_as_its_crds_say(kuberay_crds):
    assert check(kuberay_crds) == {kinds.RAY_SERVICE, kinds.RAY_CLUSTER}


def test_routes_of_gateway_api_merge_as_its_crds_say(gateway_crds):
    assert check(gateway_crds) == {kinds.HTTP_ROUTE}


@pytest.mark.parametrize("kind", [kinds.SERVICE, kinds.NODE, kinds.EVENT, kinds.RAY_SERVICE, kinds.LEASE, kinds.POD])
def test_a_kind_is_found_by_what_its_objects_say(kind):
    assert kinds.find(kind.api_version, kind.kind) == kind


def test_an_unknown_kind_is_not_found():
    assert kinds.find("v1", "Secret") is None
    assert kinds.find("v2", "Service") is None


def test_the_twin_can_write_every_kind():
    assert {kind for kind in kinds.ALL if schemas.schema(kind)} == set(kinds.ALL)

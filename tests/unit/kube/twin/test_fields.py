"""Addresses of fields: how they are written, and what counts as a difference."""

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import InvalidError
from llama_operator.kube.twin import schemas
from llama_operator.kube.twin.fields import compare, describe, encode, members

SERVICE = schemas.schema(kinds.SERVICE).merging
LLAMA = schemas.schema(kinds.LLAMA_DEPLOYMENT).merging


def described(paths):
    return sorted(map(describe, paths))


def test_a_path_reads_as_kubernetes_writes_it():
    content = {
        "metadata": {"finalizers": ["a/b"]},
        "spec": {"ports": [{"port": 80, "targetPort": 8000}], "selector": {"app": "web"}},
    }
    assert described(members(content, SERVICE)) == [
        '.metadata.finalizers[="a/b"]',
        '.spec.ports[port=80,protocol="TCP"]',
        '.spec.ports[port=80,protocol="TCP"].port',
        '.spec.ports[port=80,protocol="TCP"].targetPort',
        ".spec.selector",
    ]


def test_owned_fields_are_written_as_fields_v1():
    content = {"spec": {"ports": [{"port": 80}]}, "metadata": {"labels": {"team": "a"}}}
    assert encode(frozenset(members(content, SERVICE))) == {
        "f:metadata": {"f:labels": {"f:team": {}}},
        "f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}}},
    }


def test_true_is_not_one():
    difference = compare({"spec": {"a": 1}}, {"spec": {"a": True}}, LLAMA)
    assert described(difference.changed) == [".spec.a"]


def test_a_field_that_becomes_an_object_is_changed():
    difference = compare({"spec": {"a": 1}}, {"spec": {"a": {"b": 1}}}, LLAMA)
    assert described(difference.changed) == [".spec.a", ".spec.a.b"]
    assert not difference.removed


def test_an_object_that_gets_its_first_field_is_itself_unchanged():
    difference = compare({"spec": {"a": {}}}, {"spec": {"a": {"b": 1}}}, LLAMA)
    assert described(difference.changed) == [".spec.a.b"]
    assert not difference.removed


def test_the_order_of_a_list_that_merges_is_no_difference():
    one = {"spec": {"ports": [{"port": 80}, {"port": 81}]}}
    other = {"spec": {"ports": [{"port": 81}, {"port": 80}]}}
    assert not compare(one, other, SERVICE).fields


def test_the_order_of_an_atomic_list_is_one():
    one, other = {"spec": {"ipFamilies": ["IPv4", "IPv6"]}}, {"spec": {"ipFamilies": ["IPv6", "IPv4"]}}
    assert described(compare(one, other, SERVICE).fields) == [".spec.ipFamilies"]


@pytest.mark.parametrize(
    ("ports", "named"),
    [
        ([{"name": "http"}], "port"),
        (["http"], "object"),
        ([{"port": 80}, {"port": 80, "protocol": "TCP"}], "duplicate"),
    ],
)
def test_items_without_a_key_of_their_own_are_invalid(ports, named):
    with pytest.raises(InvalidError, match=named):
        members({"spec": {"ports": ports}}, SERVICE)

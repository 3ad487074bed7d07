"""What a person is told about the door of what serves."""

import pytest

from llama_operator.api.v1alpha1.llamadeployment_status import AccessStatus
from llama_operator.decide.access import Door, KeysObject
from llama_operator.status.access import advice, keys_in_status
from llama_serving.config import RequestPath
from llama_serving.contract.door import Access

DIRECT, INGRESS = RequestPath.DIRECT, RequestPath.INGRESS
TENANTS = {"endpoint": {"path": "Direct"}, "tenants": [{"name": "anonymous", "concurrentRequests": 2}]}
PRODUCTION = {"license": {"purpose": "Production"}}


@pytest.mark.parametrize(
    ("spec", "path", "access", "words"),
    [
        ({}, DIRECT, Access.OPEN, []),
        (PRODUCTION, DIRECT, Access.KEYS, []),
        (
            PRODUCTION,
            DIRECT,
            Access.OPEN,
            ["without a key", "the next revision asks for keys", "set spec.access.mode to Keys"],
        ),
        (PRODUCTION | {"access": {"mode": "Open"}}, DIRECT, Access.OPEN, ["spec.access.mode is Open"]),
        (TENANTS, DIRECT, Access.OPEN, []),
        (TENANTS, INGRESS, Access.OPEN, ["do not count yet"]),
        ({"endpoint": {"path": "Direct"}, "otherTenants": {"priority": 1}}, INGRESS, Access.OPEN, ["do not count yet"]),
        (TENANTS | PRODUCTION, INGRESS, Access.OPEN, ["without a key", "do not count yet"]),
    ],
)
def test_advice_is_given_where_the_spec_is_not_what_serves(observed, spec, path, access, words):
    told = advice(Door(path, access), observed(**spec))
    assert bool(told) is bool(words)
    assert all(word in told for word in words), told


@pytest.mark.parametrize(
    ("door", "words"),
    [
        (Door(DIRECT, Access.OPEN), "open: anyone who reaches the Service"),
        (Door(DIRECT, Access.KEYS, KeysObject("ConfigMap", "chat-keys")), "keys from ConfigMap chat-keys"),
        (Door(DIRECT, Access.KEYS, KeysObject("Secret", "acme")), "keys from Secret acme"),
    ],
)
def test_a_door_has_one_line_for_people(door, words):
    assert door.words == words


@pytest.mark.parametrize("length", [1, 253, 254, 5000])
def test_the_name_of_the_object_with_the_keys_fits_into_the_status(length):
    door = Door(DIRECT, Access.KEYS, KeysObject("ConfigMap", "a" * length))

    status = AccessStatus(revision="chat-1", mode="Keys", path="Direct", keys=keys_in_status(door))

    assert status.keys.startswith("ConfigMap a")
    assert ("a" * length in status.keys) is (length <= 253)

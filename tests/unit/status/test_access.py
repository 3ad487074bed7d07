"""What a person is told about the door of what serves."""

import pytest

from llama_operator.decide.access import Door, KeysObject
from llama_operator.status.access import advice
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

"""Networks in `spec.access.from`: every one that is let through is one for Kubernetes too."""

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.api.v1alpha1.access import CIDR


@given(st.from_regex(CIDR, fullmatch=True))
def test_what_is_let_through_is_a_network(text):
    ipaddress.ip_network(text.strip(), strict=False)


@pytest.mark.parametrize(
    "text", ["10.0.0.0/8", "0.0.0.0/0", "192.0.2.7/32", "::/0", "fd00::/8", "2001:db8:1:2:3:4:5:6/128"]
)
def test_usual_networks_are(text):
    assert re.search(CIDR, text)


@pytest.mark.parametrize(
    "text", ["10.0.0.0", "10.0.0.0/33", "256.0.0.0/8", "10.0.0/8", "::/129", "fd00::1::/64", "a/8", ":/8"]
)
def test_others_are_not(text):
    assert not re.search(CIDR, text)

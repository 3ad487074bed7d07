"""What a replica says of HAProxy on its node."""

import pytest

from llama_serving.contract.haproxy import LAUNCHER_WORDS, SWITCH_VARIABLE
from llama_serving.contract.routing import LAUNCHER_VARIABLE, ROUTING_VARIABLE, Routing
from llama_serving.contract.status import MOST_FAULT_CHARACTERS
from llama_serving.routing.told import haproxy_fault

NODE = "0f" * 28
DIRECT = {SWITCH_VARIABLE: "1"}
LAUNCHED = DIRECT | {LAUNCHER_VARIABLE: "/opt/bin/llama-haproxy"}
ROUTED = {ROUTING_VARIABLE: Routing.CONSISTENT_HASH.value}


@pytest.mark.parametrize("program", [{}, {LAUNCHER_VARIABLE: ""}, {LAUNCHER_VARIABLE: "/usr/sbin/haproxy"}])
def test_an_image_without_the_launcher_is_told_with_what_it_costs(program):
    told = haproxy_fault(DIRECT | ROUTED | program, NODE)
    assert "least connections and not by ConsistentHash" in told
    assert LAUNCHER_VARIABLE in told
    assert haproxy_fault(DIRECT | program, NODE).startswith("headers of requests have no time limit")


def test_nothing_is_told_where_haproxy_is_not_used_or_has_not_started(tmp_path):
    assert haproxy_fault(ROUTED, NODE) == ""
    assert haproxy_fault(LAUNCHED | {"RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{tmp_path}/haproxy.cfg"}, NODE) == ""


def test_the_words_of_the_launcher_on_this_node_are_told(tmp_path):
    variables = LAUNCHED | ROUTED | {"RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{tmp_path}/haproxy.cfg"}
    (tmp_path / NODE).mkdir()
    words = tmp_path / NODE / LAUNCHER_WORDS
    words.write_text("")
    assert haproxy_fault(variables, NODE) == ""
    words.write_text("requests go by\n\tleast connections: " + "x" * 5000)
    told = haproxy_fault(variables, NODE)
    assert told.startswith("requests go by least connections: x")
    assert len(told) == MOST_FAULT_CHARACTERS

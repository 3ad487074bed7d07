"""What is put into the configuration of HAProxy, and when nothing is."""

import pytest

from llama_serving.config import APPLICATION_NAME
from llama_serving.contract.haproxy import CLIENT_SECONDS, HEADER_SECONDS
from llama_serving.contract.routing import ROUTING_VARIABLE, Routing, environment
from llama_serving.door import application
from llama_serving.routing.amend import BODY_SECONDS, ENGINE_BACKEND, amended, hardened

HASH, PREFIX, LEAST = Routing.CONSISTENT_HASH, Routing.PREFIX_AWARE, Routing.LEAST_CONNECTIONS
REPLICAS = ("SERVE_REPLICA--llama-a", "SERVE_REPLICA--llama-b")


def config(*replicas, backup=True):
    servers = [f"    server {name} 10.0.0.1:30000 check" for name in replicas]
    servers += ["    server SERVE_PROXY_ACTOR-1 10.0.0.2:8000 check backup"] if backup else []
    lines = [
        "global",
        "    maxconn 1024",
        "defaults",
        "    mode http",
        "frontend prometheus",
        "    bind :9101",
        "frontend http_frontend",
        "    bind *:8000",
        "    use_backend http-llama-board if is_http-llama-board",
        "    use_backend http-llama if is_http-llama",
        "    default_backend default_backend",
        "backend http-llama-board",
        "    server SERVE_REPLICA--board 10.0.0.2:30001 check",
        "backend http-llama",
        *servers,
        "listen stats",
        "  bind *:8404",
    ]
    return "\n".join(lines) + "\n"


def choose(text, routing=HASH, keys_folder=None):
    return amended(text, routing, script="/tmp/s.lua", keys_folder=keys_folder)


def test_the_name_of_the_section_is_that_of_the_application():
    assert f"http-{APPLICATION_NAME}" == ENGINE_BACKEND


def test_a_body_that_the_door_would_wait_for_is_waited_for():
    assert application.BODY_SECONDS == BODY_SECONDS


def test_what_ray_wrote_stays_and_the_choice_is_made_before_a_section_is():
    text = config(*REPLICAS)
    lines = choose(text).config.splitlines()
    added = [line for line in lines if line not in text.splitlines()]
    assert [line for line in lines if line in text.splitlines()] == text.splitlines()
    assert lines[:2] == ["global", "    lua-load /tmp/s.lua"]
    asked = lines.index("    http-request lua.llama_choose if METH_POST llama_answers")
    assert (
        lines.index("    bind *:8000") < asked < lines.index("    use_backend http-llama-board if is_http-llama-board")
    )
    assert lines[lines.index("backend http-llama") + 1].startswith("    use-server %[var(txn.llama_replica)]")
    assert sum("srv_conn" in line for line in added) == len(REPLICAS)
    assert not [line for line in added if "PROXY" in line or "board" in line]


def test_the_program_knows_replicas_and_not_what_wakes_one():
    script = choose(config(*REPLICAS), PREFIX, keys_folder='/keys"').script
    first = script.splitlines()[:4]
    assert first[0] == "local BY_PREFIX = true"
    assert first[1].count("SERVE") == len(REPLICAS)
    assert r'"\047keys\034"' in first[3], "what is no letter is a number: nothing ends the text"
    assert choose(config(*REPLICAS)).script.splitlines()[3] == "local KEYS_FOLDER = nil"


@pytest.mark.parametrize(
    ("text", "routing"),
    [(config(), HASH), (config(REPLICAS[0]), PREFIX), (config(*REPLICAS), LEAST), ("global\n", HASH), ("", HASH)],
)
def test_nothing_is_chosen_where_there_is_no_choice(text, routing):
    assert choose(text, routing) is None


@pytest.mark.parametrize("gone", ["global", "frontend http_frontend"])
def test_a_configuration_of_another_form_is_refused(gone):
    with pytest.raises(ValueError, match="section"):
        choose(config(*REPLICAS).replace(f"{gone}\n", "other\n"))


def test_pods_without_a_choice_have_the_environment_of_before():
    assert environment(None) == environment(LEAST) == {}
    assert environment(PREFIX)[ROUTING_VARIABLE] == "PrefixAware"


def test_headers_get_a_time_and_the_page_of_statistics_the_loopback_address():
    text = config(*REPLICAS)
    changed = hardened(text).splitlines()
    added = [line for line in changed if line not in text.splitlines()]
    assert added == [
        f"    timeout http-request {HEADER_SECONDS}s",
        "    option http-ignore-probes",
        "  bind 127.0.0.1:8404",
    ]
    assert "    bind :9101" in changed, "Prometheus comes from elsewhere"
    assert [line for line in text.splitlines() if line not in changed] == ["  bind *:8404"]
    assert HEADER_SECONDS <= CLIENT_SECONDS


@pytest.mark.parametrize("gone", ["defaults", "listen stats", "  bind *:8404"])
def test_limits_are_not_put_into_another_form(gone):
    with pytest.raises(ValueError, match="no section"):
        hardened(config(*REPLICAS).replace(f"{gone}\n", "other\n"))

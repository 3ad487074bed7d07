"""Replicas chosen by conversation, on real Ray Serve: while replicas come, are killed and go.

Nightly: it starts a cluster of its own, because the nodes have the setting. What HAProxy does with stubs of replicas runs with every
`make test` (`tests/unit/serving/routing`).
"""

import contextlib
import threading

import httpx
import psutil
import pytest

from llama_serving.config import pod_environment
from llama_serving.contract.routing import Routing
from support.serving.configs import live_settings, serve_config, tiny_config
from support.serving.ray_cluster import LOOPBACK, RayCluster, wait_for
from support.serving.usage import events

pytestmark = [pytest.mark.serving, pytest.mark.nightly, pytest.mark.timeout(1800)]

CONVERSATIONS = 16


class Fleet:
    """The tiny model in several replicas, and two tenants who ask."""

    def __init__(self, keys):
        self.keys = {tenant: keys.add(tenant).text for tenant in ("alice", "bob")}
        self.config = tiny_config(keys_folder=str(keys.folder), routing=Routing.CONSISTENT_HASH)
        self.cluster = RayCluster(pod_environment(self.config), api_key=self.keys["alice"])
        self.statuses = []

    def scale(self, replicas):
        live = live_settings(min_replicas=replicas, max_replicas=replicas, downscale_delay_seconds=1)
        self.cluster.deploy(serve_config(self.config, live, http_port=self.cluster.http_port))
        wait_for(lambda: len(self.running()) == replicas, seconds=300, what=f"{replicas} replicas")

    def running(self):
        states = self.cluster.replicas(self.config.server_deployment)
        return {name for name, state in states.items() if state == "RUNNING"}

    def ask(self, tenant="alice"):
        """One request of each conversation; the ids under which they were booked."""
        with httpx.Client(base_url=f"http://{LOOPBACK}:{self.cluster.http_port}", timeout=120) as client:
            answers = [
                client.post(
                    "/v1/completions",
                    json={"model": self.config.model_id, "prompt": "llama", "max_tokens": 2},
                    headers={"Authorization": f"Bearer {self.keys[tenant]}", "X-Session-Id": f"c{number}"},
                )
                for number in range(CONVERSATIONS)
            ]
        self.statuses += [answer.status_code for answer in answers]
        return [answer.headers.get("x-request-id") for answer in answers]

    def where(self, asked):
        """The replica of each request."""

        def all_are_booked():
            booked = {event.id: replica for replica, event in events(self.cluster.folder)}
            return [booked[one] for one in asked] if booked.keys() >= set(asked) else None

        return wait_for(all_are_booked, seconds=30, what="the usage log")

    def replica_processes(self):
        found = []
        for process in self.cluster.processes():
            with contextlib.suppress(psutil.Error):
                if f"ServeReplica:llama:{self.config.server_deployment}" in " ".join(process.cmdline()):
                    found.append(process)
        return found

    @contextlib.contextmanager
    def asked_all_the_time(self):
        """Ask in a thread of its own until the end of the block."""
        over = threading.Event()

        def on():
            while not over.is_set():
                self.ask()

        thread = threading.Thread(target=on)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@pytest.fixture(scope="module")
def fleet(keys):
    made = Fleet(keys)
    try:
        made.cluster.start_node(cpus=4)
        made.scale(1)
        made.cluster.wait_until_running()
        yield made
    finally:
        made.cluster.stop()


def steady(fleet):
    """Where the conversations are once HAProxy knows all replicas: twice the same, and on as many."""

    def settled():
        first, second = fleet.where(fleet.ask()), fleet.where(fleet.ask())
        return first if first == second and len(set(first)) == len(fleet.running()) else None

    return wait_for(settled, seconds=120, what="HAProxy to know the replicas")


def test_conversations_stay_where_they_are_while_replicas_come_and_go(fleet):
    assert len(set(steady(fleet))) == 1
    with fleet.asked_all_the_time():
        fleet.scale(2)
    two = steady(fleet)
    assert len(set(two)) == 2
    other = fleet.where(fleet.ask("bob"))
    assert sum(mine != theirs for mine, theirs in zip(two, other, strict=True)) > 1, "a tenant's place tells another's"

    victim = fleet.replica_processes()[0]
    victim.kill()
    # What it was answering is lost, on any way of choosing.
    victim.wait(30)
    fleet.ask()
    wait_for(lambda: len(fleet.running()) == 2, seconds=300, what="the killed replica's successor")
    again = steady(fleet)
    left = set(two) & set(again)
    assert len(left) == 1
    stayed = [now for was, now in zip(two, again, strict=True) if was in left]
    assert sum(now in left for now in stayed) >= len(stayed) / 4

    with fleet.asked_all_the_time():
        fleet.scale(1)
    assert len(set(steady(fleet))) == 1
    assert set(fleet.statuses) == {200}

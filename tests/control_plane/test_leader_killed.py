"""SIGKILL of the leader at random moments of every flow, with a standby: the flows end as if nobody had died.

The moments come from a seed that is printed; LLAMA_OPERATOR_TEST_SEED repeats a run. `make test-nightly` kills more often.
"""

import os
import random
import signal
import threading
import time

import pytest

from control_plane.nodes import add_nodes, remove_nodes

pytestmark = [pytest.mark.control_plane, pytest.mark.timeout(900)]

KILLS = int(os.environ.get("LLAMA_OPERATOR_TEST_KILLS", "5"))
BESIDE = {"strategy": "BlueGreen", "drainSeconds": 1}
LEASE = ("--lease-duration-seconds=4", "--lease-renew-seconds=3", "--lease-retry-seconds=1")
AFTER = BESIDE | {"strategy": "Recreate"}
SOON_GIVEN_UP = BESIDE | {"progressDeadlineSeconds": 20}
"""For the revision that is made to fail alone: on a busy machine a good one may need longer."""


class Witness:
    """Looks all the time, independently of the operator: no revision ever has two RayClusters."""

    def __init__(self, user):
        self.user = user
        self.found = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _watch(self):
        while not self._stop.wait(0.5):
            clusters = [each["metadata"] for each in self.user.get("rayclusters.ray.io")]
            living = [
                each["labels"]["llama-operator.io/revision"] for each in clusters if "deletionTimestamp" not in each
            ]
            self.found += [revision for revision in living if living.count(revision) > 1]


def flows(user, plane, name, stop, eventually):
    """One deployment through everything that can happen to it, again and again, each end state asserted."""
    lengths = iter(range(128, 1024, 8))

    def settled(revisions=1):
        user.ready(name)
        eventually(lambda: len(user.services(name)) == revisions, f"{name} has {revisions} revision(s)")
        (only,) = user.services(name)
        eventually(lambda: user.traffic(name) == only, f"{name}: traffic goes to what runs")
        return only

    while not stop.is_set():
        user.apply("tiny-cpu", name=name, rollout=BESIDE)
        first = settled()
        user.apply("tiny-cpu", name=name, rollout=BESIDE, scaling={"minReplicas": 1, "maxReplicas": 5})
        eventually(lambda: user.bounds(name) == [(1, 5)], f"{name} has its new bounds")
        assert settled() == first, "a change of bounds starts nothing"
        for rollout in (BESIDE, AFTER):
            before = settled()
            user.apply("tiny-cpu", name=name, rollout=rollout, context={"maxModelLength": next(lengths)})
            eventually(lambda before=before: before not in user.services(name), f"{name}: the old revision is gone")
            settled()
        before = settled()
        user.apply("tiny-cpu", name=name, rollout=SOON_GIVEN_UP, context={"maxModelLength": next(lengths)})
        failing = eventually(lambda old=before: user.services(name) - {old}, f"{name}: the next revision starts")
        plane.dashboards.set(user.namespace, *failing, application_status="DEPLOY_FAILED", message="broken")
        eventually(
            lambda: user.condition(name, "UpToDate")["reason"] in {"ProgressDeadlineExceeded", "RolledOut"},
            f"{name}: it is rolled back, or served before it broke",
        )
        user.kubectl("delete", "lld", name, "--timeout=240s")
        eventually(lambda: not user.services(name), f"{name} leaves nothing")


@pytest.fixture
def nodes(plane):
    """Room for two copies of everybody."""
    names = add_nodes(plane, "cpu", 2)
    yield names
    remove_nodes(plane, names)


def test_dead_leaders_change_no_end_state(user, plane, nodes, make_operator, eventually, eventual_holder):
    seed = int(os.environ.get("LLAMA_OPERATOR_TEST_SEED") or random.randrange(10_000))  # noqa: S311 - no secret
    print(f"LLAMA_OPERATOR_TEST_SEED={seed}")
    chance, stop, failures, takeovers = random.Random(seed), threading.Event(), [], []  # noqa: S311 - no secret

    def play(name):
        try:
            flows(user, plane, name, stop, eventually)
        except BaseException as error:
            failures.append(f"{name}: {error!r}")
            raise

    replicas = {name: make_operator(f"--identity={name}", *LEASE) for name in ("one", "two")}
    players = [threading.Thread(target=play, args=(f"chat-{number}",)) for number in range(3)]
    with Witness(user) as witness:
        for player in players:
            player.start()
        for number in range(KILLS):
            leader = eventual_holder()
            time.sleep(chance.uniform(0.2, 3))
            began = time.monotonic()
            replicas.pop(leader).stop(signal.SIGKILL)
            eventual_holder(other_than=leader)
            takeovers.append(time.monotonic() - began)
            replicas[f"next-{number}"] = make_operator(f"--identity=next-{number}", *LEASE)
            if failures:
                break
        stop.set()
        for player in players:
            player.join()
    assert not failures
    assert not witness.found, "two RayClusters of one revision"
    # How long a takeover takes on a busy machine says nothing about the operator; `eventual_holder` bounds it.
    assert len(takeovers) == KILLS
    print(f"takeover: longest {max(takeovers):.1f} s of {len(takeovers)}")

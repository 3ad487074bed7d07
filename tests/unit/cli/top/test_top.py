"""`kubectl llama top`: what replicas do now, from the pods, and from the status where they cannot be asked."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from llama_operator.api import meta
from llama_operator.cli.top import command, samples
from llama_operator.cli.top.command import TopOptions
from llama_operator.kube import kinds
from llama_operator.kube.delegating import Delegating
from llama_operator.kube.port import Ref, UnavailableError
from llama_serving.config import STATUS_PATH
from support.rights import WithoutRights


def service(name, namespace="team-a"):
    return Ref(kinds.SERVICE, namespace, name)


def report(**numbers):
    return {"replica": "a", "waiting": 0, "running": 0, "kv_cache_usage": 0.0} | numbers


async def deployed(world, name="chat", *, namespace="team-a", says=(), status=None, **answer):
    """A deployment that serves, and what its pods answer; nothing without `says`."""
    await world.serving(name, namespace, status=status or {})
    address = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}}
    await world.operator.apply({**address, "spec": {"ports": [{"name": "http", "port": 8000}]}})
    if says:
        whole = {
            "identity": {"namespace": namespace, "name": name, "revision": f"{name}-aaaaaaaa"},
            "model_id": "llama",
            "replicas": 2,
            "target_replicas": 2,
            "queue_depth": sum(one["waiting"] for one in says),
            "running_requests": sum(one["running"] for one in says),
            "reports": list(says),
        }
        world.memory.write_answer(service(name, namespace), STATUS_PATH, json.dumps(whole | answer))


GROWS = {
    "at": 1772443800.0,
    "wanted_replicas": 4,
    "needed_replicas": 3,
    "requests_per_second": 20.0,
    "seconds_per_request": 0.12,
    "reason": "up: 20.0 requests/s",
}
BUSY = (report(waiting=7, running=30, kv_cache_usage=0.42), report(waiting=2, running=31, kv_cache_usage=0.5))


PINNED = {
    "inputs": {"model": {"name": "llama-3.3-70b-instruct"}},
    "serveConfig": {
        "applications": [
            {"args": {"engine": {"max_num_seqs": 8}}, "deployments": [{"autoscaling_config": {"max_replicas": 1}}]}
        ]
    },
    "cluster": {"headGroupSpec": {"template": {}}, "workerGroupSpecs": [{"groupName": "h100-80gb"}]},
}
ROLLING = ("False", "RollingOut", "revision chat-bbbbbbbb is on its way")


@pytest.mark.parametrize(
    ("up_to_date", "recorded", "may_read", "gpus"),
    [
        pytest.param(ROLLING, ("chat-aaaaaaaa", 2), True, 8, id="the plan is of the next revision"),
        pytest.param(ROLLING, ("chat-bbbbbbbb", 8), True, None, id="nobody recorded what serves"),
        pytest.param(ROLLING, ("chat-aaaaaaaa", 2), False, None, id="the right is missing"),
        pytest.param(("True", "RolledOut", ""), ("chat-aaaaaaaa", 2), False, 32, id="rolled out"),
    ],
)
def test_gpus_are_those_of_what_serves(world, serving_facts, up_to_date, recorded, may_read, gpus):
    chosen, conditions, _ = serving_facts
    eight = chosen | {"tensorParallelSize": 8, "gpusPerReplica": 8}
    status = {"conditions": conditions(UpToDate=up_to_date), "plan": {"chosen": eight}}
    name, each = recorded

    async def prepare():
        await deployed(world, says=BUSY, target_replicas=4, status=status)
        labels = {meta.LABEL_DEPLOYMENT: "chat", meta.LABEL_REVISION: name}
        record = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1}
        record |= {"metadata": {"name": name, "namespace": "team-a", "labels": labels}}
        plan = {"chosen": chosen | {"tensorParallelSize": each, "gpusPerReplica": each}}
        await world.operator.apply(record | {"data": PINNED | {"plan": plan}})

    asyncio.run(prepare())
    if not may_read:
        world.client = WithoutRights(world.client, kinds.CONTROLLER_REVISION)
    assert world.json("top", "chat")[1]["gpus"] == gpus
    cells = world.run("top", "--sort-by", "gpus")[1].splitlines()[3].split()
    assert cells[5] == ("-" if gpus is None else str(gpus))


def test_what_the_pods_say_is_shown(world):
    asyncio.run(deployed(world, says=BUSY, target_replicas=4, scaling=GROWS))
    code, found = world.json("top", "chat")
    assert code == 0
    assert found == {
        "namespace": "team-a",
        "name": "chat",
        "model": "llama-3.3-70b-instruct",
        "replicas": {"ready": 2, "wanted": 4, "starting": 2},
        "needed": 3,
        "whyThisMany": "up: 20.0 requests/s",
        "gpus": 8,
        "workShare": 1.2,
        "running": 61,
        "waiting": 9,
        "kvCacheUsage": 0.5,
        "ready": "True",
        "reason": "Serving",
        "fromPods": True,
        "whyNotFromPods": "",
    }
    _, out, _ = world.run("top")
    for words in ("chat", "2/4 +2", " 3 ", " 8 ", "120%", "61", " 9 ", "50%", "Serving"):
        assert words in out
    assert "~" not in out
    assert world.json("top")[1] == {"items": [found]}


def test_without_an_answer_it_shows_what_the_operator_saw_and_why(world):
    asyncio.run(deployed(world))
    code, out, _ = world.run("top")
    assert code == 0
    assert "~2/2" in out
    assert "~3" in out, "the queue of the status"
    assert "no endpoints available" in out


def test_without_the_right_it_names_the_right(world):
    asyncio.run(deployed(world, says=BUSY))
    world.client = WithoutRights(world.client, kinds.SERVICE)
    code, out, _ = world.run("top")
    assert code == 0
    assert "jo may not get the proxy of services chat:8000 in namespace team-a" in out
    assert "~2/2" in out


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "its answer cannot be read"),
        ("<html>a proxy says no</html>", "its answer cannot be read"),
        (json.dumps({"replicas": -1}), "its answer cannot be read"),
    ],
)
def test_an_answer_that_cannot_be_read_is_none(world, text, why):
    asyncio.run(deployed(world))
    world.memory.write_answer(service("chat"), STATUS_PATH, text)
    _, found = world.json("top", "chat")
    assert not found["fromPods"]
    assert found["whyNotFromPods"].startswith(why)


def test_the_answer_of_another_deployment_is_not_taken_for_its_own(world):
    other = {"namespace": "team-b", "name": "chat", "revision": "chat-bbbbbbbb"}
    asyncio.run(deployed(world, says=BUSY, identity=other))
    _, found = world.json("top", "chat")
    assert (found["fromPods"], found["whyNotFromPods"]) == (False, "pods of team-b/chat answer in its place")


@pytest.mark.parametrize(
    ("order", "names"), [("name", ["a", "b", "c"]), ("waiting", ["b", "a", "c"]), ("running", ["a", "b", "c"])]
)
def test_rows_are_sorted(world, order, names):
    async def prepare():
        await deployed(world, "b", says=(report(waiting=5, running=1),))
        await deployed(world, "a", says=(report(waiting=4, running=9),))
        await deployed(world, "c", says=(report(waiting=0, running=1),))

    asyncio.run(prepare())
    _, found = world.json("top", "--sort-by", order)
    assert [one["name"] for one in found["items"]] == names


def test_all_namespaces_have_a_column(world):
    async def prepare():
        await deployed(world, says=BUSY)
        await deployed(world, "chat", namespace="team-b", says=BUSY)

    asyncio.run(prepare())
    _, out, _ = world.run("top", "-A")
    assert "NAMESPACE" in out
    assert "team-b" in out


def test_the_reasons_name_the_deployments_of_each_namespace(world):
    async def prepare():
        await deployed(world)
        await deployed(world, namespace="team-b")

    asyncio.run(prepare())
    _, out, _ = world.run("top", "-A")
    assert "(team-a/chat)" in out
    assert "(team-b/chat)" in out


def test_nothing_is_said_as_such(world):
    assert world.run("top")[1] == "No LlamaDeployment in namespace team-a.\n"


@pytest.mark.parametrize(("there", "told"), [(True, "no endpoints available"), (False, "No LlamaDeployment in")])
def test_a_watch_into_a_pipe_says_what_one_look_says(world, capsys, there, told):
    async def watching():
        if there:
            await deployed(world)
        async with world.connect_as("team-a") as connection:
            running = asyncio.create_task(command.command(connection, TopOptions(watch=True, every=0.001)))
            out = ""
            while out.count(told) < 2:
                await asyncio.sleep(0.002)
                out += capsys.readouterr().out
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(watching(), 10))


def test_a_watch_looks_again(world, capsys):
    async def watching():
        await deployed(world, says=BUSY)
        async with world.connect_as("team-a") as connection:
            running = asyncio.create_task(
                command.command(connection, TopOptions(watch=True, every=0.001, as_json=True))
            )
            lines = []
            while len(lines) < 3:
                await asyncio.sleep(0.002)
                lines += capsys.readouterr().out.splitlines()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            return lines

    lines = [json.loads(line) for line in asyncio.run(watching())]
    assert [one["items"][0]["waiting"] for one in lines[:3]] == [9, 9, 9]


class Away(Delegating):
    """An API server that does not answer while `away` says so."""

    away = False

    @asynccontextmanager
    async def _around(self, verb, ref):
        if self.away:
            raise UnavailableError("list of LlamaDeployment: no answer")
        yield

    async def ask(self, service, *, port, path):
        return await self._inner.ask(service, port=port, path=path)


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
def test_a_watch_goes_on_when_the_api_server_was_away(world, capsys, as_json):
    async def watching():
        await deployed(world, says=BUSY)
        world.client = Away(world.client)
        async with world.connect_as("team-a") as connection:
            options = TopOptions(watch=True, every=0.001, as_json=as_json)
            running = asyncio.create_task(command.command(connection, options))
            said = {True: "", False: ""}
            for away in (False, True, False):
                world.client.away = away
                capsys.readouterr()
                said[away] = ""
                while ("no answer" if away else "llama-3.3") not in said[away]:
                    assert not running.done(), running.result()
                    await asyncio.sleep(0.002)
                    out, err = capsys.readouterr()
                    said[away] += err if away else out
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            return said[True]

    assert "no look at 2026-03-02T09:30:00Z: list of LlamaDeployment: no answer" in asyncio.run(
        asyncio.wait_for(watching(), 10)
    )


class Dropped(Delegating):
    """An API server whose packets to the pods of one deployment a network policy drops."""

    async def ask(self, service, *, port, path):
        if service.name == "dark":
            await asyncio.sleep(30)
        return await self._inner.ask(service, port=port, path=path)


def test_pods_that_cannot_be_reached_hold_up_nobody(world, monkeypatch):
    monkeypatch.setattr(samples, "_PATIENCE_SECONDS", 0.05)

    async def prepare():
        await deployed(world, says=BUSY)
        await deployed(world, "dark", says=BUSY)

    asyncio.run(prepare())
    world.client = Dropped(world.client)
    _, found = world.json("top")
    told = {one["name"]: (one["fromPods"], one["whyNotFromPods"]) for one in found["items"]}
    assert told == {
        "chat": (True, ""),
        "dark": (False, "nothing in 0.05 s; may the API server reach the pods (spec.access.from)?"),
    }


def test_a_first_look_that_fails_ends_the_command(world):
    world.client = Away(world.client)
    world.client.away = True
    code, _, err = world.run("top", "--watch")
    assert code
    assert "no answer" in err


@pytest.mark.parametrize("seconds", ["0", "-1", "x", "nan", "1e9"])
def test_a_time_that_is_none_is_refused(world, seconds, capsys):
    with pytest.raises(SystemExit):
        world.run("top", "--watch", "--every", seconds)
    assert "no time between 1 and 3600 seconds" in capsys.readouterr().err

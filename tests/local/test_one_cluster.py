"""One real Ray cluster for the module; each test brings it to the state that it needs and leaves it serving or gone."""

import asyncio
import json
import signal
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import grpc
import psutil
import pytest
import pytest_asyncio

from llama_operator.kube.kinds import RAY_SERVICE, SERVICE
from llama_operator.kube.port import NotFoundError, Ref
from llama_operator.kube.twin.cluster import MemoryCluster
from llama_operator.local import processes
from llama_operator.local.progress import Stage
from llama_operator.local.runtime import LocalRuntime

pytestmark = [pytest.mark.serving, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

RAY_SERVICE_REF = Ref(RAY_SERVICE, "team-a", "hello")
SERVICE_REF = Ref(SERVICE, "team-a", "hello")


class Clock:
    """The time, and how often the runtime asked for it: at least once in each look at its cluster."""

    def __init__(self):
        self.asked = 0

    def __call__(self):
        self.asked += 1
        return datetime.now(UTC)


@dataclass
class Bench:
    """The twin, the runtime and what the runtime told."""

    twin: MemoryCluster
    root: Path
    build: object
    eventually: object
    clock: Clock = field(default_factory=Clock)
    events: list = field(default_factory=list)
    runtime: LocalRuntime | None = None

    async def apply(self, greeting, **options):
        return await self.twin.client("llama-operator").apply(self.build(greeting, **options))

    async def status(self):
        return (await self.twin.client("test").get(RAY_SERVICE_REF)).get("status", {})

    async def serve(self, greeting):
        """Bring the cluster to answer `greeting`; return the URL."""
        await self.apply(greeting)

        async def answering():
            url = self.runtime.url("team-a", "hello")
            return url if url and (await get(url))[1].get("greeting") == greeting else None

        return await self.eventually(answering)

    async def until(self, happened):
        """Wait until a condition on the status holds; return the status."""

        async def probe():
            status = await self.status()
            return status if happened(status) else None

        return await self.eventually(probe)

    async def settled(self):
        """Wait until the status tells about the newest generation and is ready; return the whole object."""

        async def probe():
            live = await self.twin.client("test").get(RAY_SERVICE_REF)
            seen = live["status"].get("observedGeneration") == live["metadata"]["generation"]
            return live if seen and condition(live["status"], "Ready").get("status") == "True" else None

        return await self.eventually(probe)

    async def ingress(self):
        """Where the stable Service says that it is answered."""
        service = await self.twin.client("test").get(SERVICE_REF)
        return service.get("status", {}).get("loadBalancer", {}).get("ingress", [])

    async def failure(self, since=0):
        """Wait for the next failure that the runtime tells."""
        events = self.events
        return await self.eventually(lambda: next((e for e in events[since:] if e.stage is Stage.FAILED), None))

    def processes(self):
        return processes.find(processes.marker(self.runtime.run_id))

    def process(self, word):
        """The one process of the run whose command line has `word`."""
        (found,) = [process for process in self.processes() if word in " ".join(process.cmdline()[:3])]
        return found


async def get(url, **headers):
    try:
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
            body = await response.json() if "json" in response.content_type else {"text": await response.text()}
            return response.status, body
    except aiohttp.ClientError:
        return 0, {}


def condition(status, name):
    return next((item for item in status.get("conditions", []) if item["type"] == name), {})


@asynccontextmanager
async def running(bench, **options):
    async with LocalRuntime(
        bench.twin.client("kuberay-operator"), on_progress=bench.events.append, clock=bench.clock, **options
    ) as runtime:
        bench.runtime = runtime
        task = asyncio.create_task(runtime.run())
        yield
        assert not task.done() or task.result() is None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory, ray_environment, hello_service, eventually, temporary_folders):
    bench = Bench(MemoryCluster(), tmp_path_factory.mktemp("root"), hello_service, eventually)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": "team-a", "name": "hello"},
        "spec": {
            "selector": {"llama-operator.io/revision": "r1", "ray.io/serve": "true"},
            "ports": [{"name": "http", "port": 80, "targetPort": 8000, "protocol": "TCP"}],
        },
    }
    await bench.twin.client("llama-operator").apply(service)
    async with running(bench, root=bench.root, environment=ray_environment):
        yield bench
        run_id = bench.runtime.run_id
        assert (bench.root / "runs" / run_id).exists()
    assert processes.find(processes.marker(run_id)) == []
    assert temporary_folders(run_id) == []
    assert list((bench.root / "runs").iterdir()) == []


async def test_an_applied_ray_service_answers_with_the_variables_of_its_manifest(bench):
    url = await bench.serve("hello")
    assert await get(url) == (200, {"greeting": "hello", "from_manifest": "yes"})


async def test_the_status_is_what_kuberay_would_write(bench):
    await bench.serve("hello")
    status = (await bench.settled())["status"]
    assert status["numServeEndpoints"] == 1
    assert condition(status, "Ready")["reason"] == "NonZeroServeEndpoints"
    active = status["activeServiceStatus"]
    assert active["rayClusterName"].startswith("hello-")
    assert active["applicationStatuses"] == {
        "hello": {
            "status": "RUNNING",
            "message": "",
            "serveDeploymentStatuses": {"Hello": {"status": "HEALTHY", "message": ""}},
        }
    }


async def test_a_status_that_does_not_change_is_not_written_again(bench):
    await bench.serve("hello")
    before = (await bench.settled())["metadata"]["resourceVersion"]
    asked = bench.clock.asked
    await bench.eventually(lambda: bench.clock.asked >= asked + 6)  # two looks at least
    assert (await bench.twin.client("test").get(RAY_SERVICE_REF))["metadata"]["resourceVersion"] == before


async def test_the_stable_service_tells_the_address_of_the_revision_that_it_selects(bench):
    url = await bench.serve("hello")
    port = int(url.rpartition(":")[2])
    wanted = [{"ip": "127.0.0.1", "ports": [{"port": port, "protocol": "TCP"}]}]

    async def told():
        return await bench.ingress() == wanted

    await bench.eventually(told)


async def test_the_dashboard_wants_the_token_of_the_run(bench):
    await bench.serve("hello")
    port = next(word for word in bench.process("/ray start").cmdline() if word.startswith("--dashboard-port=")).split(
        "="
    )[1]
    url = f"http://127.0.0.1:{port}/api/serve/applications/"
    assert (await get(url))[0] == 401
    assert (await get(url, Authorization="Bearer wrong"))[0] == 403
    assert (await get(url, Authorization=f"Bearer {bench.runtime.token}"))[0] == 200


async def test_what_listens_beyond_the_loopback_address_wants_the_token(bench):
    await bench.serve("hello")
    ours = {process.pid for process in bench.processes()}
    beyond = {
        connection.laddr.port
        for connection in psutil.net_connections("tcp")
        if connection.pid in ours
        and connection.status == psutil.CONN_LISTEN
        and connection.laddr.ip not in {"127.0.0.1", "::ffff:127.0.0.1"}
    }
    # Serve binds the gRPC server of each replica to all interfaces and offers no setting for it.
    assert len(beyond) <= 1
    for port in beyond:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await channel.unary_unary("/ray.serve.ASGIService/HandleRequest")(b"")
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_changed_serve_config_is_put_to_the_running_cluster(bench):
    url = await bench.serve("before")
    ray = bench.process("gcs_server").pid
    assert await bench.serve("after") == url
    assert bench.process("gcs_server").pid == ray


async def test_an_application_that_cannot_be_imported_is_reported_with_its_own_message(bench):
    await bench.serve("hello")
    begin = len(bench.events)
    await bench.apply("hello", import_path="no_such_module:build")

    def failed(status):
        return status["activeServiceStatus"]["applicationStatuses"].get("hello", {}).get("status") == "DEPLOY_FAILED"

    status = await bench.until(failed)
    message = status["activeServiceStatus"]["applicationStatuses"]["hello"]["message"]
    assert "ModuleNotFoundError: No module named 'no_such_module'" in message
    assert (await bench.failure(begin)).text == (
        "application hello is DEPLOY_FAILED: ModuleNotFoundError: No module named 'no_such_module'"
    )


async def test_a_config_that_ray_refuses_is_reported_and_the_cluster_stays(bench):
    await bench.serve("hello")
    ray = bench.process("gcs_server").pid
    begin = len(bench.events)
    broken = bench.build("hello")
    broken["spec"]["serveConfigV2"] = "applications: [{name: hello, route_prefix: /}]"
    await bench.twin.client("llama-operator").apply(broken)
    text = (await bench.failure(begin)).text
    assert "refused the Serve config" in text
    assert "import_path" in text
    await bench.serve("hello again")
    assert bench.process("gcs_server").pid == ray


async def test_a_killed_run_beside_it_is_cleaned_up_by_the_next_start_and_it_goes_on(
    bench, start_owner, temporary_folders, hello_service
):
    url = await bench.serve("from the run that goes on")
    owner = await start_owner(bench.root, hello_service("from the other run"))
    other = json.loads(await owner.stdout.readline())
    assert (await get(url))[1]["greeting"] == "from the run that goes on"
    assert (await get(other["url"]))[1]["greeting"] == "from the other run"

    owner.kill()
    await owner.wait()
    left = processes.find(processes.marker(other["run_id"]))
    assert any("raylet" in " ".join(process.cmdline()) for process in left)

    events, here = [], bench.process("gcs_server").pid
    async with LocalRuntime(MemoryCluster().client("x"), root=bench.root, on_progress=events.append):
        assert processes.find(processes.marker(other["run_id"])) == []
        assert temporary_folders(other["run_id"]) == []
        assert not (bench.root / "runs" / other["run_id"]).exists()
    assert other["run_id"] in events[-1].text
    assert events[-1].stage is Stage.CLEANING_UP

    assert (await get(url))[1]["greeting"] == "from the run that goes on"
    assert bench.process("gcs_server").pid == here


async def test_a_killed_raylet_is_noticed_reported_and_replaced(bench):
    await bench.serve("hello")
    begin = len(bench.events)
    bench.process("raylet/raylet").send_signal(signal.SIGKILL)
    status = await bench.until(lambda status: condition(status, "Ready").get("status") == "False")
    assert condition(status, "Ready")["reason"] == "ZeroServeEndpoints"
    assert "raylet" in condition(status, "Ready")["message"]
    assert status["numServeEndpoints"] == 0
    assert list((await bench.failure(begin)).log.glob("raylet*"))
    await bench.serve("hello")


async def test_deleting_the_ray_service_stops_everything_and_frees_the_port(bench):
    url = await bench.serve("hello")
    await bench.twin.client("llama-operator").delete(RAY_SERVICE_REF)
    with pytest.raises(NotFoundError):
        await bench.status()
    await bench.runtime.stopped("team-a", "hello")
    assert bench.processes() == []
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", int(url.rpartition(":")[2])))

    async def forgotten():
        return await bench.ingress() == []

    await bench.eventually(forgotten)

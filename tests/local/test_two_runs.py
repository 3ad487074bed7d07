"""Two runs on one machine: they do not see each other, and the death of one is cleaned up without harm to the other."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from llama_operator.kube.twin.cluster import MemoryCluster
from llama_operator.local import processes
from llama_operator.local.progress import Stage
from llama_operator.local.runtime import LocalRuntime

DRIVER = Path(__file__).with_name("owner_driver.py")

pytestmark = [pytest.mark.serving, pytest.mark.timeout(900)]


def temporary_folders(run_id):
    return list(Path("/tmp").glob(f"lld-{run_id}*"))


async def greeting(url):
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return (await response.json())["greeting"]


async def start_owner(root, environment, ray_service):
    owner = await asyncio.create_subprocess_exec(
        sys.executable,
        str(DRIVER),
        str(root),
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    owner.stdin.write(json.dumps(ray_service).encode())
    owner.stdin.close()
    return owner


async def test_a_killed_run_is_cleaned_up_by_the_next_start_while_a_live_one_goes_on(
    tmp_path, ray_environment, hello_service
):
    owner = await start_owner(tmp_path, ray_environment, hello_service("from the first run"))
    twin = MemoryCluster()
    await twin.client("llama-operator").apply(hello_service("from the second run"))
    async with LocalRuntime(twin.client("kuberay-operator"), root=tmp_path, environment=ray_environment) as live:
        running = asyncio.create_task(live.run())
        url = await live.serving("team-a", "hello")
        other = json.loads(await owner.stdout.readline())
        assert await greeting(url) == "from the second run"
        assert await greeting(other["url"]) == "from the first run"

        owner.kill()
        await owner.wait()
        left = processes.find(processes.marker(other["run_id"]))
        assert any("raylet" in " ".join(process.cmdline()) for process in left)

        events = []
        async with LocalRuntime(MemoryCluster().client("x"), root=tmp_path, on_progress=events.append):
            assert processes.find(processes.marker(other["run_id"])) == []
            assert temporary_folders(other["run_id"]) == []
            assert not (tmp_path / "runs" / other["run_id"]).exists()
        assert other["run_id"] in events[-1].text
        assert events[-1].stage is Stage.CLEANING_UP

        assert await greeting(url) == "from the second run"
        assert not running.done()
        run_id = live.run_id
    assert processes.find(processes.marker(run_id)) == []
    assert temporary_folders(run_id) == []
    assert list((tmp_path / "runs").iterdir()) == []


async def test_an_interrupted_run_that_is_still_starting_leaves_nothing(
    tmp_path, ray_environment, hello_service, eventually
):
    owner = await start_owner(tmp_path, ray_environment, hello_service("never heard"))

    def started():
        runs = [run.name for run in tmp_path.glob("runs/*")]
        # A few of its daemons are up, the dashboard is not.
        return runs[0] if runs and len(processes.find(processes.marker(runs[0]))) > 2 else None

    run_id = await eventually(started)
    owner.send_signal(signal.SIGINT)
    assert await owner.wait() != 0
    assert processes.find(processes.marker(run_id)) == []
    assert temporary_folders(run_id) == []
    assert list((tmp_path / "runs").iterdir()) == []


async def test_without_ray_in_the_environment_the_failure_says_what_to_do(tmp_path, hello_service, eventually):
    twin = MemoryCluster()
    await twin.client("llama-operator").apply(hello_service("never"))
    events = []
    options = {"root": tmp_path, "on_progress": events.append, "python": tmp_path / "no-python"}
    async with LocalRuntime(twin.client("kuberay-operator"), **options) as runtime:
        running = asyncio.create_task(runtime.run())
        failure = await eventually(lambda: next((event for event in events if event.stage is Stage.FAILED), None))
        assert not running.done()
    assert "name a Python environment that has ray[serve] installed" in failure.text

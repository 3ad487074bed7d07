"""Runs that never serve: one that is interrupted while it starts, and one without Ray. What they leave, and what they say."""

import asyncio
import signal

import pytest

from llama_operator.kube.twin.cluster import MemoryCluster
from llama_operator.local import processes
from llama_operator.local.progress import Stage
from llama_operator.local.runtime import LocalRuntime

pytestmark = [pytest.mark.serving, pytest.mark.timeout(900)]


async def test_an_interrupted_run_that_is_still_starting_leaves_nothing(
    tmp_path, start_owner, temporary_folders, hello_service, eventually
):
    owner = await start_owner(tmp_path, hello_service("never heard"))

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

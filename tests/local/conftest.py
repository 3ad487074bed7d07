import asyncio
import inspect
import json
import os
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("owner_driver.py")
APPS = Path(__file__).parent / "apps"


@pytest.fixture(scope="session")
def eventually():
    """Waits until a probe (plain or async) returns something true, and returns that; pytest's timeout bounds it."""

    async def wait(probe):
        while True:
            result = probe()
            if inspect.isawaitable(result):
                result = await result
            if result:
                return result
            await asyncio.sleep(0.1)

    return wait


@pytest.fixture(scope="session")
def ray_environment():
    """Our own environment, with the test application importable."""
    return dict(os.environ) | {"PYTHONPATH": os.pathsep.join([str(APPS), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture(scope="session")
def hello_service():
    """Builds a RayService of the trivial application."""

    def build(greeting, *, import_path="hello_app:build"):
        application = {"name": "hello", "route_prefix": "/", "import_path": import_path, "args": {"greeting": greeting}}
        config = {"http_options": {"host": "10.0.0.1", "port": 8000}, "applications": [application]}
        container = {"name": "ray-head", "image": "any", "env": [{"name": "FROM_MANIFEST", "value": "yes"}]}
        template = {"spec": {"containers": [container]}}
        workers = {"groupName": "cpu", "replicas": 1, "minReplicas": 1, "maxReplicas": 2}
        return {
            "apiVersion": "ray.io/v1",
            "kind": "RayService",
            "metadata": {
                "namespace": "team-a",
                "name": "hello",
                "labels": {"llama-operator.io/revision": "r1"},
            },
            "spec": {
                "serveConfigV2": json.dumps(config),
                "upgradeStrategy": {"type": "None"},
                "rayClusterConfig": {
                    "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": template},
                    "workerGroupSpecs": [workers | {"rayStartParams": {"num-cpus": "1"}, "template": template}],
                },
            },
        }

    return build


@pytest.fixture(scope="session")
def start_owner(ray_environment):
    """Starts a process that owns a run below a folder; it prints a line when the run serves."""

    async def start(root, ray_service):
        owner = await asyncio.create_subprocess_exec(
            sys.executable,
            str(DRIVER),
            str(root),
            env=ray_environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        owner.stdin.write(json.dumps(ray_service).encode())
        owner.stdin.close()
        return owner

    return start


@pytest.fixture(scope="session")
def temporary_folders():
    """Finds the folders with the sockets of a run."""
    return lambda run_id: list(Path("/tmp").glob(f"lld-{run_id}*"))

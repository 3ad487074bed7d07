"""Owns a local run until it is killed: reads a RayService from stdin, prints one JSON line when it serves.

Run by the fixture `start_owner` as `python owner_driver.py ROOT`.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path

from llama_operator.kube.twin.cluster import MemoryCluster
from llama_operator.local.runtime import LocalRuntime


async def own(root: Path, ray_service: dict[str, object]) -> None:
    """Serve the RayService for ever."""
    twin = MemoryCluster()
    await twin.client("llama-operator").apply(ray_service)
    async with LocalRuntime(twin.client("kuberay-operator"), root=root) as runtime:
        running = asyncio.create_task(runtime.run())
        url = await runtime.serving("team-a", "hello")
        print(json.dumps({"url": url, "run_id": runtime.run_id}), flush=True)
        await running


if __name__ == "__main__":
    # A shell starts what it puts into the background with SIGINT ignored, and that is inherited: by the test, then by us.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asyncio.run(own(Path(sys.argv[1]), json.load(sys.stdin)))

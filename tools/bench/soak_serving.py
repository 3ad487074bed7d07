"""Streams long answers while replicas come and go, and counts those that were cut (`make soak-serving`).

Every scale step reloads HAProxy, which keeps its process of before for the streams that it has. Here that goes on for an hour, with the
times that pods have. It ends with 1 if a stream was cut; docs/data-plane.md has the figures of a run.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp
import httpx
import psutil
from rich import box
from rich.console import Console
from rich.table import Table

from llama_serving.config import LiveSettings, ServingConfig, pod_environment
from llama_serving.contract import haproxy
from support.serving.api_keys import KeysOfTeam
from support.serving.configs import live_settings, serve_config, tiny_config
from support.serving.ray_cluster import LOOPBACK, READY_SECONDS, RayCluster

SLOTS: Final = 16
STREAMS: Final = 24
"""At once: more than one replica runs, so that some wait in an engine when its replica goes."""
TOKENS: Final = (1900, 600, 60)
"""Of answers, in turn: minutes, half a minute and seconds on two cores."""
MOST_REPLICAS: Final = 3
REST_SECONDS: Final = 15.0
"""Between two scale steps, once the one before is done."""
DRAIN_SECONDS: Final = 900
SETTLE_SECONDS: Final = "30"
"""How long a replica that goes takes connections in a pod: Ray's default."""


@dataclass(slots=True)
class Soaked:
    """What came of it."""

    finished: int = 0
    tokens: int = 0
    longest_seconds: float = 0.0
    over_a_minute: int = 0
    steps: int = 0
    most_processes: int = 0
    """Of HAProxy, at once."""
    most_megabytes: float = 0.0
    """Resident memory of all of them together."""
    cut: list[str] = field(default_factory=list)
    """Why, one for each stream that did not come to its end."""


class Soak:
    """One run.

    Args:
        cluster: Where the deployment runs.
        config: What it runs.
        key: A key of it.
        progress: Where to say how it goes.
    """

    def __init__(self, cluster: RayCluster, config: ServingConfig, key: str, progress: Console) -> None:
        self._cluster = cluster
        self._config = config
        self._headers = {"Authorization": f"Bearer {key}"}
        self._progress = progress
        self._ends = asyncio.Event()
        self.found = Soaked()

    async def run(self, seconds: float) -> Soaked:
        """Stream and scale for so long, and then until the last stream has ended."""
        timeout = aiohttp.ClientTimeout(total=None)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(headers=self._headers, timeout=timeout, connector=connector) as session:
            streams = [asyncio.create_task(self._stream_on(session, number)) for number in range(STREAMS)]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._scale_on()
            self._ends.set()
            await asyncio.gather(*streams)
        return self.found

    async def _stream_on(self, session: aiohttp.ClientSession, number: int) -> None:
        turn = number
        while not self._ends.is_set():
            began, tokens = time.monotonic(), TOKENS[turn % len(TOKENS)]
            turn += 1
            try:
                await self._one(session, tokens)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                lasted = time.monotonic() - began
                self.found.cut.append(f"{type(error).__name__}: {error} after {lasted:.0f} s of {tokens} tokens")
                self._progress.print(f"==> cut: {self.found.cut[-1]}", highlight=False)
                continue
            lasted = time.monotonic() - began
            self.found.finished += 1
            self.found.tokens += tokens
            self.found.longest_seconds = max(self.found.longest_seconds, lasted)
            self.found.over_a_minute += lasted > 60  # noqa: PLR2004

    async def _one(self, session: aiohttp.ClientSession, tokens: int) -> None:
        """Read one stream to its end.

        Raises:
            ValueError: If it ends too early, or with fewer tokens than it must have.
        """
        body = {
            "model": self._config.model_id,
            "prompt": "llama",
            "max_tokens": tokens,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        url = f"http://{LOOPBACK}:{self._cluster.http_port}/v1/completions"
        last, made = "", 0
        async with session.post(url, json=body) as answer:
            if answer.status != HTTPStatus.OK:
                raise ValueError(f"{answer.status} {await answer.text()}")
            async for line in answer.content:
                text = line.decode().strip()
                last = text or last
                if text.startswith("data: {"):
                    made = ((json.loads(text[6:]) or {}).get("usage") or {}).get("completion_tokens", made)
        if last != "data: [DONE]" or made != tokens:
            raise ValueError(f"it ended with {last[:80]!r} and {made} tokens")

    async def _scale_on(self) -> None:
        """From one replica to three and back, again and again."""
        while True:
            for wanted in (MOST_REPLICAS, 1):
                await asyncio.to_thread(self._deploy, scaled(wanted))
                await self._until_there_are(wanted)
                self.found.steps += 1
                self._progress.print(
                    f"==> {wanted} replicas; {self.found.finished} streams finished, {len(self.found.cut)} cut",
                    highlight=False,
                )

    async def _until_there_are(self, wanted: int) -> None:
        ready_at: float | None = None
        while ready_at is None or time.monotonic() - ready_at < REST_SECONDS:
            await asyncio.to_thread(self._look)
            replicas = await asyncio.to_thread(self._cluster.replicas, self._config.server_deployment)
            there = list(replicas.values()).count("RUNNING") == wanted
            ready_at = (ready_at or time.monotonic()) if there else None
            await asyncio.sleep(1.0)

    def _deploy(self, live: LiveSettings) -> None:
        self._cluster.deploy(serve_config(self._config, live, http_port=self._cluster.http_port))

    def _look(self) -> None:
        """Count HAProxy's processes: those of before a reload stay for their streams."""
        megabytes = []
        for process in self._cluster.processes():
            with contextlib.suppress(psutil.Error):
                if "haproxy" in process.name():
                    megabytes.append(process.memory_info().rss / 2**20)
        self.found.most_processes = max(self.found.most_processes, len(megabytes))
        self.found.most_megabytes = max(self.found.most_megabytes, sum(megabytes))


def scaled(replicas: int) -> LiveSettings:
    """Live settings for so many replicas, as the operator renders them."""
    return live_settings(min_replicas=replicas, max_replicas=replicas, graceful_shutdown_seconds=DRAIN_SECONDS)


@contextlib.contextmanager
def serving() -> Iterator[tuple[RayCluster, ServingConfig, str]]:
    """One replica of our endpoint, with keys and with HAProxy's times in pods."""
    with tempfile.TemporaryDirectory() as folder:
        keys = KeysOfTeam(Path(folder))
        config = tiny_config(keys_folder=folder, max_num_seqs=SLOTS, max_model_len=2048, cpu_kv_cache_mib=128)
        key = keys.add("soak").text
        environment = pod_environment(config)
        # On one machine old processes end earlier, so that a run leaves none behind, and replicas go sooner.
        of_pods = {name: environment[name] for name in haproxy.times(1)}
        of_pods |= {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": SETTLE_SECONDS}
        cluster = RayCluster(environment, api_key=key, overrides=of_pods)
        try:
            cluster.start_node(cpus=MOST_REPLICAS + 1)
            cluster.deploy(serve_config(config, scaled(1), http_port=cluster.http_port))
            cluster.wait_until_running()
            _wait_for_the_key(cluster, key)
            yield cluster, config, key
        finally:
            cluster.stop()


def _wait_for_the_key(cluster: RayCluster, key: str) -> None:
    url, deadline = f"http://{LOOPBACK}:{cluster.http_port}/v1/models", time.monotonic() + READY_SECONDS
    while httpx.get(url, headers={"Authorization": f"Bearer {key}"}).status_code != HTTPStatus.OK:
        if time.monotonic() > deadline:
            raise TimeoutError("the key is not known")
        time.sleep(0.5)


def rows(found: Soaked, minutes: float) -> list[tuple[str, Any]]:
    """The report."""
    return [
        ("minutes", f"{minutes:g}"),
        ("scale steps (1 to 3 or 3 to 1 replicas)", found.steps),
        ("streams that came to their end", found.finished),
        ("of them longer than a minute", found.over_a_minute),
        ("streams that were cut", len(found.cut)),
        ("longest stream", f"{found.longest_seconds:.0f} s"),
        ("tokens", found.tokens),
        ("processes of HAProxy at once, at most", found.most_processes),
        ("their memory together, at most", f"{found.most_megabytes:.0f} MiB"),
    ]


def main() -> int:
    """Run it, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("minutes", type=float, nargs="?", default=60.0, help="how long (60)")
    minutes = parser.parse_args().minutes
    # Else a run that is ended from outside leaves its cluster, and its engines go on.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with serving() as (cluster, config, key):
        found = asyncio.run(Soak(cluster, config, key, Console(stderr=True)).run(minutes * 60))
    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    for name, value in rows(found, minutes):
        table.add_row(name, str(value))
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(table)
    for why in found.cut[:20]:
        console.print(why, highlight=False)
    return 1 if found.cut or not found.finished else 0


if __name__ == "__main__":
    sys.exit(main())

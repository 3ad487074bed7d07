"""Measures the ways of choosing a replica beside each other on this machine, in one run (`make bench-routing`).

Each way gets a cluster of its own with two, then three replicas of the generated model, and the same requests, drawn with a seed.
Reported is which share of the prompt tokens the engines had in their caches, how evenly the replicas were asked, requests a second
beside the first way, and CPU a request outside the engines. Shares hold elsewhere, for the same ratio of prompts to cache; times do
not: what a hit saves on a GPU only a GPU says. Nothing here passes or fails; docs/data-plane.md has the figures of a run.
"""

import argparse
import asyncio
import itertools
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import aiohttp
from rich import box
from rich.console import Console
from rich.table import Table

from bench import routing_load
from bench.serving import Server, cpu_seconds
from llama_serving.config import pod_environment
from llama_serving.contract.routing import Routing
from llama_serving.contract.usage import UsageEvent
from support.serving.api_keys import KeysOfTeam
from support.serving.configs import live_settings, serve_config, tiny_config
from support.serving.ray_cluster import LOOPBACK, RayCluster, wait_for
from support.serving.usage import events

CLIENTS = 12
_CACHE_MIB = 16
_HAND = 4
"""Conversations that a client holds at once: it goes on with any of them. With one, the replica that has just answered has the fewest
open requests, and gets the next turn by that alone."""


class Fleet:
    """Replicas behind one way of choosing."""

    def __init__(self, routing: Routing, folder: Path) -> None:
        keys = KeysOfTeam(folder)
        self.keys = {tenant: keys.add(tenant).text for tenant in routing_load.TENANTS}
        self.config = tiny_config(
            keys_folder=str(folder),
            routing=None if routing is Routing.LEAST_CONNECTIONS else routing,
            max_model_len=2048,
            cpu_kv_cache_mib=_CACHE_MIB,
            max_num_seqs=8,
        )
        self.cluster = RayCluster(pod_environment(self.config), api_key=self.keys["alice"])
        self.url = f"http://{LOOPBACK}:{self.cluster.http_port}"

    def scale(self, replicas: int) -> None:
        """Bring the number of replicas, and wait until HAProxy knows all of them."""
        live = live_settings(min_replicas=replicas, max_replicas=replicas)
        self.cluster.deploy(serve_config(self.config, live, http_port=self.cluster.http_port))
        self.cluster.wait_until_running()
        warm = [
            (routing_load.Asked("alice", ({"role": "user", "content": "hi"},), f"warm{n}"),)
            for n in range(4 * replicas)
        ]

        def all_answer() -> bool:
            _, ids = asyncio.run(self.ask(warm))
            return len(Counter(replica for replica, _ in self.booked(ids))) == replicas

        wait_for(all_answer, seconds=300, what=f"{replicas} replicas")

    async def ask(self, askers: list[routing_load.Asker]) -> tuple[float, set[str]]:
        """Send all requests; return the seconds, and the ids under which they are booked."""
        left, ids = iter(askers), set()

        async def client(session: aiohttp.ClientSession, number: int) -> None:
            draw = random.Random(number)  # noqa: S311 - no secret
            hand = [list(asker) for asker in itertools.islice(left, _HAND)]
            while hand:
                asker = draw.choice(hand)
                ids.add(await self._answered(session, asker.pop(0)))
                if not asker:
                    hand.remove(asker)
                    hand += [list(another) for another in itertools.islice(left, 1)]

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            began = time.perf_counter()
            await asyncio.gather(*(client(session, number) for number in range(CLIENTS)))
            return time.perf_counter() - began, ids

    async def _answered(self, session: aiohttp.ClientSession, asked: routing_load.Asked) -> str:
        headers = {"Authorization": f"Bearer {self.keys[asked.tenant]}"}
        if asked.conversation:
            headers["X-Session-Id"] = asked.conversation
        body = routing_load.body(asked, self.config.model_id)
        async with session.post(f"{self.url}/v1/chat/completions", json=body, headers=headers) as answer:
            if answer.status != HTTPStatus.OK:
                raise RuntimeError(f"{answer.status} {await answer.text()}")
            await answer.read()
            return str(answer.headers["x-request-id"])

    def booked(self, ids: set[str]) -> list[tuple[str, UsageEvent]]:
        """Return what the engines counted of the requests `ids`."""

        def all_there() -> list[tuple[str, UsageEvent]] | None:
            found = [(replica, event) for replica, event in events(self.cluster.folder) if event.id in ids]
            return found if len(found) == len(ids) else None

        found = wait_for(all_there, seconds=60, what="the usage log")
        return found or []


def drawn(seed: int, requests: int, trace: Path | None) -> dict[str, list[routing_load.Asker]]:
    """Return what is asked, by name."""
    loads = {
        "conversations": routing_load.conversations(seed, requests),
        "shared documents": routing_load.documents(seed, requests),
    }
    return loads | ({"trace": routing_load.trace(trace, seed, requests)} if trace else {})


def measure(
    routing: Routing, loads: dict[int, dict[str, list[routing_load.Asker]]], progress: Console
) -> Iterator[dict[str, object]]:
    """Yield a row for each number of replicas and load."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(routing, Path(folder))
        try:
            fleet.cluster.start_node(cpus=max(loads) + 1)
            for count, asked in loads.items():
                fleet.scale(count)
                server = Server(routing, fleet.url, fleet.config.model_id, fleet.cluster.processes)
                for name, load in asked.items():
                    before = cpu_seconds(server)
                    seconds, ids = asyncio.run(fleet.ask(load))
                    cpu = cpu_seconds(server).since(before, len(ids))
                    row: dict[str, object] = {
                        "load": name,
                        "replicas": count,
                        "routing": routing.value,
                        **_counted(fleet.booked(ids), count),
                        "requestsPerSecond": round(len(ids) / seconds, 1),
                        "cpuMillisecondsOutsideEngine": round(cpu.all, 2),
                        "cacheTokens": fleet.cluster.status().kv_cache_tokens,
                    }
                    progress.print(f"==> {json.dumps(row)}", highlight=False, soft_wrap=True)
                    yield row
        finally:
            fleet.cluster.stop()


def _counted(booked: list[tuple[str, UsageEvent]], replicas: int) -> dict[str, object]:
    asked = Counter(replica for replica, _ in booked)
    prompt = sum(event.data.prompt_tokens for _, event in booked)
    cached = sum(event.data.cached_tokens for _, event in booked)
    return {
        "requests": len(booked),
        "hitPercent": round(100 * cached / prompt, 1),
        "most": round(max(asked.values()) * replicas / len(booked), 2),
        "requestsPerReplica": sorted(asked.values()),
    }


def main() -> None:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=300, help="requests of each load (300)")
    parser.add_argument("--replicas", type=int, nargs="+", default=[2, 3], help="numbers of replicas (2 3)")
    parser.add_argument("--seed", type=int, default=7, help="of what is drawn (7)")
    parser.add_argument("--trace", type=Path, help="a trace in Mooncake's form, as one more load")
    parser.add_argument("-o", choices=("table", "json"), default="table", help="form of the result")
    options = parser.parse_args()
    # Other words for each number, or the replicas would have them in their caches already.
    loads = {count: drawn(options.seed + count, options.requests, options.trace) for count in options.replicas}
    progress = Console(stderr=True)
    rows = [row for routing in Routing for row in measure(routing, loads, progress)]
    names = list(next(iter(loads.values())))
    rows.sort(key=lambda row: (names.index(str(row["load"])), row["replicas"]))
    if options.o == "json":
        print(json.dumps(rows, indent=2))
        return
    table = Table(box=box.SIMPLE_HEAD)
    heads = ("load", "replicas", "routing", "in cache", "most asked", "req/s", "of the first", "CPU ms*")
    for name in heads:
        table.add_column(name, justify="left" if name in {"load", "routing"} else "right", no_wrap=True)
    first: dict[tuple[object, object], float] = {}
    for row in rows:
        rate = float(str(row["requestsPerSecond"]))
        yardstick = first.setdefault((row["load"], row["replicas"]), rate)
        table.add_row(
            *(str(row["load"]), str(row["replicas"]), str(row["routing"]), f"{row['hitPercent']} %"),
            *(
                f"{row['most']} of its part",
                str(rate),
                f"{rate / yardstick:.2f}",
                str(row["cpuMillisecondsOutsideEngine"]),
            ),
        )
    console = Console() if sys.stdout.isatty() else Console(width=140)
    console.print(table, "* a request, outside the engines' processes", sep="")


if __name__ == "__main__":
    main()

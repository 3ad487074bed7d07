"""Measures the data plane beside plain vLLM on this machine, in one run (`make bench-serving`).

Plain vLLM and our endpoint serve the same generated model with the same settings, both at once, and take turns, so that a
machine that is busy for a while slows both. Reported are ratios of requests a second and of the time to the first token, and
the CPU time a request outside the engine. Nothing here passes or fails; docs/data-plane.md has the figures of a run.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
import httpx
import psutil
from rich import box
from rich.console import Console
from rich.table import Table

from llama_serving.config import RequestPath, pod_environment
from llama_serving.contract.tenants import DeskSettings, TenantLimits
from llama_serving.generated import checkpoint
from support.serving.api_keys import KeysOfTeam
from support.serving.collector import collecting, variables_of
from support.serving.configs import live_settings, serve_config, tiny_config
from support.serving.ray_cluster import LOOPBACK, RayCluster, free_ports, wait_for

CLIENTS = 16
SLOTS = 16
LIMITS = TenantLimits(
    name="bench",
    requests_per_minute=1_000_000,
    tokens_per_minute=1_000_000_000,
    concurrent_requests=1000,
    tokens_per_day=1_000_000_000_000,
)
"""Limits of every kind, none of which is reached."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of request."""

    name: str
    tokens: int
    stream: bool


SHAPES = (
    Shape("16 tokens", 16, stream=False),
    Shape("16 tokens, streamed", 16, stream=True),
    Shape("64 tokens, streamed", 64, stream=True),
)


@dataclass(slots=True)
class Measured:
    """What the rounds of one server and one shape gave."""

    rates: list[float] = field(default_factory=list)
    """Requests a second, one for each round."""
    first_tokens: list[float] = field(default_factory=list)
    """Seconds to the first token; of answers that are not streamed, to the answer."""
    cpu: "list[Cpu]" = field(default_factory=list)
    """Milliseconds of CPU a request, one entry for each round."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU time of the processes of a server but its engine, in one unit."""

    server: float = 0.0
    """Of the process that speaks HTTP and hands requests to the engine."""
    proxy: float = 0.0
    """Of HAProxy."""
    others: float = 0.0
    """Of processes that no request passes: controllers, ledgers, agents. They take most of it at rest too."""

    @property
    def all(self) -> float:
        """The sum."""
        return self.server + self.proxy + self.others

    def since(self, before: "Cpu", per: float) -> "Cpu":
        """What was spent since `before`, in milliseconds and divided by `per`."""
        factor = 1000 / per
        return Cpu(
            server=(self.server - before.server) * factor,
            proxy=(self.proxy - before.proxy) * factor,
            others=(self.others - before.others) * factor,
        )


@dataclass(frozen=True, slots=True)
class Server:
    """Something that answers OpenAI requests."""

    name: str
    url: str
    model: str
    processes: "Callable[[], list[psutil.Process]]"
    """Those that run now: Ray replaces HAProxy now and then."""
    headers: dict[str, str] = field(default_factory=dict)


async def one_round(server: Server, shape: Shape, requests: int) -> tuple[float, list[float]]:
    """Send `requests` requests from closed loops; return requests a second and times to the first token in seconds."""
    left = iter(range(requests))
    firsts: list[float] = []
    body = {
        "model": server.model,
        "messages": [{"role": "user", "content": "What is a llama, and where does it live?"}],
        "max_tokens": shape.tokens,
        "ignore_eos": True,
        "temperature": 0,
        "stream": shape.stream,
    }

    async def loop(session: aiohttp.ClientSession) -> None:
        for _ in left:
            began = time.perf_counter()
            async with session.post(f"{server.url}/v1/chat/completions", json=body, headers=server.headers) as answer:
                if answer.status != HTTPStatus.OK:
                    raise RuntimeError(f"{server.name}: {answer.status} {await answer.text()}")
                chunks = 0
                async for _chunk in answer.content.iter_any():
                    if not chunks:
                        firsts.append(time.perf_counter() - began)
                    chunks += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        began = time.perf_counter()
        await asyncio.gather(*(loop(session) for _ in range(CLIENTS)))
        return requests / (time.perf_counter() - began), firsts


_ENGINE: Final = ("EngineCore", "VLLM::")
"""What is in the title of an engine's process: one whose only worker is itself calls itself a worker."""


def cpu_seconds(server: Server) -> Cpu:
    """CPU time of the processes of a server that are not its engine, in seconds."""
    parts = {"server": 0.0, "proxy": 0.0, "others": 0.0}
    for process in server.processes():
        with contextlib.suppress(psutil.Error):
            title = " ".join(process.cmdline())
            if not any(part in title for part in _ENGINE):
                times = process.cpu_times()
                parts[_part(process.name(), title)] += times.user + times.system
    return Cpu(**parts)


def _part(name: str, title: str) -> str:
    if "haproxy" in name.lower() and not title.startswith("ray::"):
        return "proxy"
    return "server" if "LlamaServer" in title or "OpenAiIngress" in title or "api_server" in title else "others"


@contextlib.contextmanager
def plain_vllm() -> Iterator[Server]:
    """VLLM's own server, with the arguments that our engine gets."""
    (port,) = free_ports(1)
    config = tiny_config(max_num_seqs=SLOTS)
    with tempfile.TemporaryDirectory() as folder:
        model = checkpoint.ensure(Path(folder) / "model")
        log = Path(folder) / "log"
        command = [
            *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)),
            *("--served-model-name", config.model_id, "--host", LOOPBACK, "--port", str(port)),
            *("--max-model-len", str(config.engine.max_model_len), "--max-num-seqs", str(SLOTS)),
            *("--dtype", config.engine.dtype, "--enforce-eager", "--disable-uvicorn-access-log"),
            *("--kv-cache-memory-bytes", str(config.engine.cpu_kv_cache_bytes), "--seed", "0"),
            *("--distributed-executor-backend", "uni"),
        ]
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command, env={**os.environ, **pod_environment(config)}, stdout=stream, stderr=stream
            )
        try:
            url = f"http://{LOOPBACK}:{port}"
            wait_for(lambda: process.poll() is not None or _answers(url), seconds=300, what="plain vLLM")
            if process.poll() is not None:
                raise RuntimeError(log.read_text()[-3000:])
            root = psutil.Process(process.pid)
            yield Server("plain vLLM", url, config.model_id, lambda: [root, *root.children(recursive=True)])
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def ours(path: RequestPath) -> Iterator[Server]:
    """Our endpoint, with the environment and the Serve config that the operator renders.

    Keys, limits, usage and traces are on, those with the usual share of requests.
    """
    with tempfile.TemporaryDirectory() as folder, collecting() as collector:
        keys = KeysOfTeam(Path(folder))
        config = tiny_config(path=path, max_num_seqs=SLOTS, keys_folder=folder)
        key = keys.add("bench").text
        cluster = RayCluster(pod_environment(config) | variables_of(collector.endpoint), api_key=key)
        try:
            cluster.start_node(cpus=4)
            direct = path is RequestPath.DIRECT
            live = live_settings(path, **({"desk": DeskSettings(tenants=(LIMITS,))} if direct else {}))
            cluster.deploy(serve_config(config, live, http_port=cluster.http_port))
            cluster.wait_until_running()
            yield Server(
                str(path),
                f"http://{LOOPBACK}:{cluster.http_port}",
                config.model_id,
                cluster.processes,
                {"Authorization": f"Bearer {key}"},
            )
            if not collector.raw:
                raise RuntimeError("no trace has come, so the figures are of an endpoint without traces")
        finally:
            cluster.stop()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def measure(
    servers: tuple[Server, ...], *, rounds: int, requests: int, progress: Console
) -> dict[tuple[str, str], Measured]:
    """Let the servers take turns; the first turn of each does not count."""
    found: dict[tuple[str, str], Measured] = {}
    for shape in SHAPES:
        for turn in range(rounds + 1):
            # Who goes first in one round goes last in the next.
            for server in servers if turn % 2 else reversed(servers):
                before = cpu_seconds(server)
                rate, firsts = asyncio.run(one_round(server, shape, requests))
                if turn:
                    measured = found.setdefault((server.name, shape.name), Measured())
                    measured.rates.append(rate)
                    measured.first_tokens += firsts
                    measured.cpu.append(cpu_seconds(server).since(before, requests))
            progress.print(f"==> {shape.name}: round {turn} of {rounds}", highlight=False)
    return found


def report(found: dict[tuple[str, str], Measured], servers: tuple[Server, ...]) -> list[dict[str, object]]:
    """Return a row for each server and shape: ratios to plain vLLM are of the same round."""
    rows: list[dict[str, object]] = []
    plain = servers[0].name
    for shape in SHAPES:
        yardstick = found[plain, shape.name]
        for server in servers:
            measured = found[server.name, shape.name]
            ratios = [ours / theirs for ours, theirs in zip(measured.rates, yardstick.rates, strict=True)]
            first = statistics.median(measured.first_tokens)
            rows.append(
                {
                    "requests": shape.name,
                    "server": server.name,
                    "requestsPerSecond": round(statistics.median(measured.rates), 1),
                    "ratio": round(statistics.geometric_mean(ratios), 3),
                    "ratioRange": [round(min(ratios), 3), round(max(ratios), 3)],
                    "firstTokenMilliseconds": round(first * 1000, 1),
                    "firstTokenRatio": round(first / statistics.median(yardstick.first_tokens), 2),
                    "cpuMillisecondsOutsideEngine": round(statistics.mean(one.all for one in measured.cpu), 2),
                    "cpuMillisecondsOnTheWay": round(
                        statistics.mean(one.server + one.proxy for one in measured.cpu), 2
                    ),
                    "cpuMillisecondsProxy": round(statistics.mean(one.proxy for one in measured.cpu), 2),
                }
            )
    return rows


def main() -> None:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=6, help="rounds that count, for each kind of request (6)")
    parser.add_argument("--requests", type=int, default=400, help="requests of a round (400)")
    parser.add_argument("--ingress", action="store_true", help="measure the path of before as well")
    parser.add_argument("-o", choices=("table", "json"), default="table", help="form of the result")
    options = parser.parse_args()
    # Else a run that is ended from outside leaves its servers.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    progress = Console(stderr=True)
    with contextlib.ExitStack() as stack:
        paths = (RequestPath.DIRECT, RequestPath.INGRESS) if options.ingress else (RequestPath.DIRECT,)
        servers = (stack.enter_context(plain_vllm()), *(stack.enter_context(ours(path)) for path in paths))
        rows = report(measure(servers, rounds=options.rounds, requests=options.requests, progress=progress), servers)
    if options.o == "json":
        print(json.dumps(rows, indent=2))
        return
    table = Table(box=box.SIMPLE_HEAD)
    for name in (
        "requests",
        "server",
        "req/s",
        "of plain",
        "first token",
        "of plain",
        "CPU ms*",
        "on the way**",
        "HAProxy",
    ):
        table.add_column(name, justify="left" if name in {"requests", "server"} else "right", no_wrap=True)
    for row in rows:
        low, high = row["ratioRange"]  # type: ignore[misc]
        table.add_row(
            *(str(row["requests"]), str(row["server"]), str(row["requestsPerSecond"])),
            f"{row['ratio']:.2f} ({low:.2f}-{high:.2f})",
            f"{row['firstTokenMilliseconds']} ms",
            f"{row['firstTokenRatio']}",
            str(row["cpuMillisecondsOutsideEngine"]),
            str(row["cpuMillisecondsOnTheWay"]),
            str(row["cpuMillisecondsProxy"]),
        )
    # Into a file as wide as it needs.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(
        table,
        "* a request, outside the engine's process\n",
        "** of it in the processes that a request passes; the others are Ray's controllers and agents and our ledger",
        sep="",
    )


if __name__ == "__main__":
    main()

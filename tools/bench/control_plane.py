"""Measures the operator on a real API server beside the raw write ceiling of that server, in one run (`make bench-control-plane`).

A rate alone says as much about the machine as about us; a share of what the same API server takes in the same minute holds
on another machine too. Nothing here passes or fails. KubeRay is not started: its work would be measured with ours.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import re
import statistics
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import yaml
from rich.console import Console
from rich.table import Table

from bench import judged
from control_plane import saved_planes
from control_plane.plane import ControlPlane, free_port
from llama_operator import catalog
from llama_operator.api.manifest import parse
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.desired import objects
from llama_operator.kube import kinds
from llama_operator.kube.port import Kind, Object, Ref
from llama_operator.kube.server.client import KubernetesCluster, connect
from llama_operator.status import summary

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "manifests" / "samples" / "llama-3.3-70b-fp8-h100.yaml"
ACCEPTANCES = ROOT / "manifests" / "samples" / "license-acceptance.yaml"
IN_FLIGHT = 32
NAMESPACES = 10
CHILDREN = (kinds.CONTROLLER_REVISION, kinds.NETWORK_POLICY, kinds.RAY_SERVICE, kinds.SERVICE)


@dataclass
class Report:
    """What was measured."""

    rows: list[tuple[str, str]] = field(default_factory=list)

    def add(self, what: str, figure: str) -> None:
        """Keep a figure, and say it at once: the whole takes minutes."""
        self.rows.append((what, figure))
        print(f"{what}: {figure}", flush=True)

    def show(self) -> None:
        """Print the table."""
        table = Table("what", "figure", box=None, header_style="bold")
        for row in self.rows:
            table.add_row(*row)
        Console().print(table)


async def spread(work: Iterable[Callable[[], Awaitable[Any]]], *, in_flight: int = IN_FLIGHT) -> float:
    """Do all of `work`, at most `in_flight` at a time; returns the seconds that it took."""
    left = iter(work)

    async def take() -> None:
        for each in left:
            await each()

    began = time.perf_counter()
    await asyncio.gather(*(take() for _ in range(in_flight)))
    return time.perf_counter() - began


def sample(namespace: str, name: str) -> Object:
    """A LlamaDeployment of 70B."""
    obj: Object = json.loads(json.dumps(yaml.safe_load(SAMPLE.read_text(encoding="utf-8"))))
    obj["metadata"] = {"name": name, "namespace": namespace}
    return obj


def namespaces() -> list[str]:
    """Namespaces over which the deployments are spread."""
    return [f"team-{number}" for number in range(NAMESPACES)]


async def prepare(cluster: KubernetesCluster) -> None:
    """An acceptance that covers the namespaces."""
    for obj in yaml.safe_load_all(ACCEPTANCES.read_text(encoding="utf-8")):
        obj["spec"]["namespaces"] = namespaces()
        await cluster.apply(json.loads(json.dumps(obj, default=str)))


def raw_objects(count: int) -> list[list[Object]]:
    """What the operator writes for each of `count` deployments: its children, and a status as large as its own."""
    sets = []
    for number in range(count):
        place = namespaces()[number % NAMESPACES]
        observed = Observed(parse(sample(place, f"raw-{number}")), acceptances=None)
        decision = decide(observed, catalog.load())
        children = objects.build(observed, decision, Settings()).apply
        status = summary.build(observed, decision, failure=None, now=datetime.now(UTC))
        sets.append(
            [sample(place, f"raw-{number}"), *children, sample(place, f"raw-{number}") | {"status": status.to_api()}]
        )
    return sets


async def ceiling(cluster: KubernetesCluster, report: Report, count: int) -> float:
    """Deployments per second of a client that only writes what the operator would: the most that the server takes."""
    sets = raw_objects(count)
    seconds: dict[str, float] = {}
    for position in range(len(sets[0])):
        column = [each[position] for each in sets]
        status = "status" in column[0]
        write = cluster.apply_status if status else cluster.apply
        took = await spread(lambda each=each, write=write: write(each) for each in column)
        name = column[0]["kind"] + (" status" if status else "")
        seconds[name] = took
        report.add(f"raw applies of {name}, {IN_FLIGHT} in flight", f"{count / took:,.0f} /s")
    # The client creates the deployments in the other measurement too.
    whole = sum(took for name, took in seconds.items() if name != "LlamaDeployment")
    report.add("raw: all children and a status", f"{count / whole:,.1f} deployments/s")
    await spread(
        lambda each=each: cluster.delete(
            Ref(kinds.LLAMA_DEPLOYMENT, each["metadata"]["namespace"], each["metadata"]["name"])
        )
        for each in (column[0] for column in sets)
    )
    for kind in CHILDREN:
        items = (await cluster.list(kind, labels={"app.kubernetes.io/managed-by": "llama-operator"})).items
        await spread(
            lambda each=each, kind=kind: cluster.delete(
                Ref(kind, each["metadata"]["namespace"], each["metadata"]["name"])
            )
            for each in items
        )
    return count / whole


@contextlib.asynccontextmanager
async def operator(kubeconfig: Path, folder: Path) -> AsyncIterator[tuple[psutil.Process, int]]:
    """The operator as users run it; yields its process and probe port once it leads."""
    port = free_port()
    log = (folder / "operator.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "llama_operator.main",
        "--kubeconfig", str(kubeconfig), "--serving-status", "Off", "--probe-host", "127.0.0.1", "--weights-preflight", "Disabled",
        "--probe-port", str(port), "--lease-namespace", "default", "--log-format", "Json",
        stdout=log, stderr=log,
    )  # fmt: skip
    try:
        while "leader" not in _read(port, "/readyz"):
            if process.returncode is not None:
                raise SystemExit((folder / "operator.log").read_text(encoding="utf-8"))
            await asyncio.sleep(0.1)
        yield psutil.Process(process.pid), port
    finally:
        process.terminate()
        await process.wait()
        log.close()


def _read(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return ""


def writes(port: int) -> float:
    """Writes that the operator has sent, from its own metrics, the Lease apart."""
    total = 0.0
    for line in _read(port, "/metrics").splitlines():
        found = re.match(r"llama_operator_writes_total\{(?P<labels>.*)\} (?P<value>\S+)", line)
        if found and "Lease" not in found["labels"]:
            total += float(found["value"])
    return total


async def fleet(cluster: KubernetesCluster, report: Report, count: int, port: int, process: psutil.Process) -> float:
    """Create `count` deployments at once and wait for all children and a first status; returns deployments per second."""
    places = list(itertools.islice(itertools.cycle(namespaces()), count))
    watched = [asyncio.create_task(_seen(cluster, kind, count)) for kind in CHILDREN]
    watched.append(asyncio.create_task(_seen(cluster, kinds.LLAMA_DEPLOYMENT, count, told=True)))
    await asyncio.sleep(1)
    before, cpu = writes(port), sum(process.cpu_times()[:2])
    began = time.perf_counter()
    await spread(
        lambda place=place, number=number: cluster.apply(sample(place, f"chat-{number}"))
        for number, place in enumerate(places)
    )
    created = time.perf_counter() - began
    await asyncio.gather(*watched)
    seconds = time.perf_counter() - began
    spent = sum(process.cpu_times()[:2]) - cpu
    await asyncio.sleep(10)
    sent = writes(port) - before
    report.add(f"{count:,} LlamaDeployments created by the client", f"{created:.1f} s")
    report.add(f"{count:,} LlamaDeployments with all children and a first status", f"{seconds:.1f} s")
    report.add("writes of the operator for each deployment", f"{sent / count:.2f}")
    report.add("operator memory after that (PSS)", f"{process.memory_full_info().pss / 1e6:,.0f} MB")
    idle_before = writes(port)
    await asyncio.sleep(60)
    report.add("writes in a minute without changes", f"{writes(port) - idle_before:.0f}")
    report.add("CPU of the operator for each deployment", f"{spent / count * 1e3:.0f} ms")
    return count / seconds


async def _seen(cluster: KubernetesCluster, kind: Kind, count: int, *, told: bool = False) -> None:
    """Wait for `count` objects, with a status if `told`. By watching: lists of them all would cost more than they do."""
    found: set[str] = set()
    since = (await cluster.list(kind)).resource_version
    async for event in cluster.watch(kind, since=since):
        if not told or (event.object.get("status") or {}).get("observedGeneration") == 1:
            found.add(event.object["metadata"]["uid"])
        if len(found) >= count:
            return


async def latency(cluster: KubernetesCluster, report: Report, *, fleet: int, changes: int, seconds: int) -> None:
    """Time from a new deployment to its RayService while others of `fleet` change, as a client sees it."""
    waiting: dict[str, float] = {}
    took: list[float] = []
    since = (await cluster.list(kinds.RAY_SERVICE)).resource_version

    async def watch() -> None:
        async for event in cluster.watch(kinds.RAY_SERVICE, since=since):
            name = event.object["metadata"]["labels"].get("llama-operator.io/deployment", "")
            if name in waiting:
                took.append(time.perf_counter() - waiting.pop(name))

    watcher = asyncio.create_task(watch())
    pending: set[asyncio.Task[Any]] = set()
    began = time.perf_counter()
    for number in range(changes * seconds):
        await asyncio.sleep(max(0.0, began + number / changes - time.perf_counter()))
        if number % changes == 0:
            name = f"new-{number}"
            waiting[name] = time.perf_counter()
            work = cluster.apply(sample(namespaces()[number % NAMESPACES], name))
        else:
            which = number % fleet
            changed = sample(namespaces()[which % NAMESPACES], f"chat-{which}")
            changed["spec"]["scaling"]["targetQueueDepth"] = 1 + number % 97
            work = cluster.apply(changed)
        task = asyncio.ensure_future(work)
        pending.add(task)
        task.add_done_callback(pending.discard)
    await asyncio.gather(*pending)
    for _ in range(300):
        if not waiting:
            break
        await asyncio.sleep(0.1)
    watcher.cancel()
    ordered = sorted(took)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    report.add(f"changes per second meanwhile, {seconds} s long", f"{changes}")
    report.add(
        f"new deployment to its RayService, {len(took)} of them, p50 / p99",
        f"{statistics.median(took) * 1e3:,.0f} / {p99 * 1e3:,.0f} ms",
    )


async def judging(plane: ControlPlane, report: Report) -> None:
    """A pass that judges five revisions beside one that judges one, on the real API server, through the operator's cache."""
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": judged.NAMESPACE}})
    managers = ("kubectl", "kuberay-operator", "llama-operator")
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connect(plane.kubeconfig, field_manager=manager)) for manager in managers
        ]
        one, five = await judged.one_and_five(lambda: judged.Cast(*clients))
    report.add("idle pass that judges one revision, and five", f"{one * 1e3:.2f} and {five * 1e3:.2f} ms")
    report.add("five revisions judged, to one", f"{five / one:.2f} times")


async def measure(plane: ControlPlane, report: Report, count: int) -> None:
    """Measure a fleet of `count` deployments."""
    plane.apply(*({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in namespaces()))
    async with connect(plane.kubeconfig, field_manager="bench") as cluster:
        await prepare(cluster)
        most = await ceiling(cluster, report, min(count, 300))
        async with operator(plane.kubeconfig, plane.directory) as (process, port):
            rate = await fleet(cluster, report, count, port, process)
            report.add(
                "deployments per second of the operator, and share of the raw writes",
                f"{rate:,.1f} /s, {rate / most:.0%}",
            )
            await latency(cluster, report, fleet=count, changes=50, seconds=60)
            report.add("operator memory at the end (PSS)", f"{process.memory_full_info().pss / 1e6:,.0f} MB")


def main() -> int:
    """Parse arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deployments", type=int, default=1000, help="default: 1000")
    arguments = parser.parse_args()
    report = Report()
    # Its objects would count in the other measurement.
    with saved_planes.control_plane() as plane:
        asyncio.run(judging(plane, report))
    with saved_planes.control_plane() as plane:
        asyncio.run(measure(plane, report, arguments.deployments))
    print()
    report.show()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The local runtime: realizes every RayService of the in-memory twin as a Ray cluster on this machine.

Used by the command line (`kubectl-llama run`), beside the same reconcile that runs in a real cluster:

    async with LocalRuntime(twin.client("kuberay-operator"), on_progress=show) as runtime:
        running = asyncio.create_task(runtime.run())
        ...                                   # the reconcile applies RayServices and a Service to the twin
        url = await runtime.serving("default", "chat-3f2a")
        ...
    # Here no process, port or temporary folder is left.
"""

import asyncio
import contextlib
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from llama_operator.api.meta import LABEL_REVISION
from llama_operator.kube.kinds import RAY_SERVICE, SERVICE
from llama_operator.kube.port import Cluster, EventType, ExpiredError, Kind, Object, WatchEvent
from llama_operator.local import processes, rundir, service_address
from llama_operator.local.cluster import LocalCluster
from llama_operator.local.errors import ServiceFailedError
from llama_operator.local.node_process import Machine
from llama_operator.local.progress import Progress, ProgressCallback, Reporter, Stage

_Key = tuple[str, str]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class LocalRuntime:
    """Plays KubeRay and the kubelet for one in-memory cluster. An async context manager; `run` does the work.

    Args:
        cluster: Where RayServices and Services are; its field manager should be `kuberay-operator`.
        python: Interpreter of the environment that has Ray; default is the one that runs us.
        http_port: Where requests are answered. If another RayService holds it, or by default, a free port is chosen.
        environment: Variables that Ray inherits (PYTHONPATH, for example); default is our own environment.
        root: Folder for the folders of runs; default is below the user's cache folder.
        on_progress: Called with every step, in the event loop.
        clock: The time now, in UTC.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        python: Path | None = None,
        http_port: int | None = None,
        environment: Mapping[str, str] | None = None,
        root: Path | None = None,
        on_progress: ProgressCallback | None = None,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._kube = cluster
        self._python = python or Path(sys.executable)
        self._http_port = http_port
        self._environment = dict(os.environ if environment is None else environment)
        self._root = root or rundir.default_root()
        self._listener = on_progress
        self._clock = clock
        self._run: rundir.RunDirectory | None = None
        self._clusters: dict[_Key, tuple[LocalCluster, asyncio.Task[None]]] = {}
        self._count = 0
        self._latest: dict[str, Progress] = {}
        self._news = asyncio.Event()
        self._endpoints_changed = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None

    @property
    def run_id(self) -> str:
        """Id of this run, in the environment of all its processes as LLAMA_OPERATOR_LOCAL_RUN."""
        return self._open.run_id

    @property
    def token(self) -> str:
        """Bearer token of the run's Ray dashboards; not needed for requests to the model."""
        return self._open.token

    @property
    def _open(self) -> rundir.RunDirectory:
        if self._run is None:
            raise RuntimeError("use LocalRuntime as an async context manager")
        return self._run

    async def __aenter__(self) -> Self:
        """Clean up after runs that were killed, then make this run's folders."""
        reporter = Reporter("", self._on_progress, self._clock)
        reporter.report(Stage.CLEANING_UP, "looking for leftovers of earlier runs")
        swept = await asyncio.to_thread(rundir.sweep, self._root)
        if swept:
            reporter.report(Stage.CLEANING_UP, f"ended what {len(swept)} killed run(s) had left: {', '.join(swept)}")
        self._run = await asyncio.to_thread(rundir.RunDirectory.create, self._root)
        return self

    async def __aexit__(self, *_: object) -> None:
        """End everything; it takes about a second, and at most ten."""
        try:
            if self._runner is not None:
                self._runner.cancel()
                await asyncio.gather(self._runner, return_exceptions=True)
        finally:
            # Only a second Ctrl-C, which cuts the line above short, leaves something to kill here.
            processes.kill(processes.marker(self.run_id))
            self._open.close()

    async def run(self) -> None:
        """Realize RayServices until cancelled. Call it once, in a task of its own."""
        self._runner = asyncio.current_task()
        machine = Machine(
            run=self._open,
            kube=self._kube,
            python=self._python,
            environment=self._environment,
            clock=self._clock,
            pick=secrets.randbelow,
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._realize(machine, tasks))
                tasks.create_task(self._watch_services())
                tasks.create_task(self._publish_endpoints())
        finally:
            self._runner = None

    def url(self, namespace: str, name: str) -> str | None:
        """Address of a RayService's application; None while it does not serve."""
        progress = self._latest.get(f"{namespace}/{name}")
        return None if progress is None else progress.url

    async def serving(self, namespace: str, name: str) -> str:
        """Wait until a RayService serves, and return its URL.

        Raises:
            ServiceFailedError: It failed first. It may recover later; wait again if that is acceptable.
        """
        while True:
            news, progress = self._news, self._latest.get(f"{namespace}/{name}")
            if progress is not None and progress.url is not None:
                return progress.url
            if progress is not None and progress.stage is Stage.FAILED:
                raise ServiceFailedError(f"RayService {namespace}/{name} failed: {progress.text}")
            await news.wait()

    async def stopped(self, namespace: str, name: str) -> None:
        """Wait until nothing of a deleted RayService is left; return at once if it never ran."""
        entry = f"{namespace}/{name}"
        while entry in self._latest and self._latest[entry].stage is not Stage.STOPPED:
            await self._news.wait()

    def _on_progress(self, progress: Progress) -> None:
        self._latest[progress.service] = progress
        news, self._news = self._news, asyncio.Event()
        news.set()
        if self._listener is not None:
            self._listener(progress)

    async def _realize(self, machine: Machine, tasks: asyncio.TaskGroup) -> None:
        async for objects, event in _follow(self._kube, RAY_SERVICE):
            if objects is not None:
                present = {_key(item) for item in objects}
                for key in [key for key in self._clusters if key not in present]:
                    await self._remove(key)
                for item in objects:
                    await self._ensure(item, machine, tasks)
            elif event is not None and event.type is EventType.DELETED:
                await self._remove(_key(event.object))
            elif event is not None:
                await self._ensure(event.object, machine, tasks)

    async def _ensure(self, ray_service: Object, machine: Machine, tasks: asyncio.TaskGroup) -> None:
        key = _key(ray_service)
        metadata = ray_service["metadata"]
        known = self._clusters.get(key)
        if metadata.get("deletionTimestamp") or (known and known[0].uid != str(metadata.get("uid", ""))):
            await self._remove(key)
            known = None
        if metadata.get("deletionTimestamp"):
            return
        if known is not None:
            known[0].update(ray_service)
            return
        self._count += 1
        taken = any(cluster.wanted_http_port is not None for cluster, _ in self._clusters.values())
        cluster = LocalCluster(
            ray_service,
            machine,
            Reporter("/".join(key), self._on_progress, self._clock),
            cluster_name=f"{key[1]}-{self._open.run_id[:3]}{self._count:02d}",
            http_port=None if taken else self._http_port,
            on_endpoint=self._endpoints_changed.set,
        )
        self._clusters[key] = (cluster, tasks.create_task(cluster.run()))

    async def _remove(self, key: _Key) -> None:
        known = self._clusters.pop(key, None)
        if known is None:
            return
        self._endpoints_changed.set()
        known[1].cancel()
        await asyncio.gather(known[1], return_exceptions=True)

    async def _watch_services(self) -> None:
        async for objects, event in _follow(self._kube, SERVICE):
            changed = [*(objects or ()), *(() if event is None else (event.object,))]
            if any(service_address.selected_revision(service) for service in changed):
                self._endpoints_changed.set()

    async def _publish_endpoints(self) -> None:
        while True:
            await self._endpoints_changed.wait()
            self._endpoints_changed.clear()
            endpoints = {
                (namespace, revision): port
                for (namespace, _), (cluster, _) in self._clusters.items()
                if (port := cluster.endpoint) is not None and (revision := cluster.labels.get(LABEL_REVISION))
            }
            await service_address.publish(self._kube, endpoints)


async def _follow(kube: Cluster, kind: Kind) -> AsyncIterator[tuple[tuple[Object, ...] | None, WatchEvent | None]]:
    """List, then watch; list again when the watch is too old. Yields either a whole list or one change."""
    while True:
        listing = await kube.list(kind)
        yield listing.items, None
        with contextlib.suppress(ExpiredError):
            async for event in kube.watch(kind, since=listing.resource_version):
                yield None, event


def _key(ray_service: Object) -> _Key:
    metadata = ray_service["metadata"]
    return str(metadata.get("namespace", "")), str(metadata["name"])

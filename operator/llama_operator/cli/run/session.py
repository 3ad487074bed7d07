"""Serves one LlamaDeployment on this machine: the reconcile on the in-memory twin, beside the local runtime.

Used by `cli.run.command`. The runtime realizes what the reconcile creates, and feeds back what KubeRay would.
"""

import asyncio
import contextlib
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import aiohttp
import psutil

from llama_operator import catalog
from llama_operator.api import paths
from llama_operator.api.meta import ConditionStatus
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.cli.shared.files import Manifests
from llama_operator.decide.observed import Settings
from llama_operator.decide.platform import Platform
from llama_operator.desired.naming import MANAGER
from llama_operator.errors import LlamaOperatorError
from llama_operator.kube import kinds
from llama_operator.kube.port import Object, Ref
from llama_operator.kube.twin.cluster import MemoryCluster
from llama_operator.local.progress import Progress, Stage
from llama_operator.local.runtime import LocalRuntime
from llama_operator.observe.ages import Ages
from llama_operator.observe.serving_http import HttpServingReader
from llama_operator.reconcile.deployment import reconcile
from llama_operator.reconcile.ports import Ports

_RESYNC_SECONDS = 1.0
"""How often the reconcile looks without an event: the status endpoint sends none."""

_USER = "kubectl"
_KUBERAY = "kuberay-operator"
_NODE = "this-machine"
_ALL_CORES = "1024"
_PLATFORM = Platform(kinds={"rayservices.ray.io": ("v1",)})
"""What the twin has of KubeRay's kinds: nothing makes RayClusters here, and nobody waits for one."""

_REFUSED = frozenset({Reason.ENGINE_FAILED, Reason.LICENSE_FILES_MISSING, Reason.CHECKPOINT_REFUSED})
"""Reasons that trying again does not change."""


class RunFailedError(LlamaOperatorError):
    """The deployment cannot serve on this machine; the message says why, and where the details are."""


class LocalSession:
    """Serves a manifest while it is entered; leaves nothing behind.

    Args:
        manifests: The deployment, and the LicenseAcceptances that the cluster would have.
        port: Port of the URL; None for a free one.
        weights: Folder with the weights, or empty for the model's own source.
        on_progress: Called with every step of the local runtime.
        keys_folder: Folder with API keys, as pods have it mounted; empty for an endpoint that asks for none.
    """

    def __init__(
        self,
        manifests: Manifests,
        *,
        port: int | None,
        weights: str,
        on_progress: Callable[[Progress], None],
        keys_folder: str = "",
    ) -> None:
        self._manifests = manifests
        # Nobody runs Jobs here; a token is the one that this machine has.
        self._settings = Settings(weights_path=weights, keys_path=keys_folder, checks_access=False, local=True)
        self._twin = MemoryCluster(now=_now)
        self._show = on_progress
        self._failure: Progress | None = None
        self._runtime = LocalRuntime(self._twin.client(_KUBERAY), http_port=port, on_progress=self._on_progress)
        metadata = manifests.deployment.metadata
        self.ref = Ref(kinds.LLAMA_DEPLOYMENT, metadata.namespace, metadata.name)
        self.status = LlamaDeploymentStatus()
        self._changed = asyncio.Event()
        self._stack = contextlib.AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Create the objects and begin to realize them."""
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._runtime)
            http = await stack.enter_async_context(aiohttp.ClientSession())
            user = self._twin.client(_USER)
            await user.apply(_node())
            await user.apply_status(_node())
            for obj in self._manifests.objects:
                await user.apply(without_copy(_with_namespace(obj, self.ref.namespace)))
            ports = Ports(
                cluster=self._twin.client(MANAGER),
                serving=HttpServingReader(http),
                catalog=catalog.load(),
                settings=self._settings,
                now=_now,
                platform=lambda: _PLATFORM,
                ages=Ages(time.monotonic),
            )
            self._tasks = [asyncio.create_task(self._runtime.run()), asyncio.create_task(self._keep_reconciling(ports))]
            stack.push_async_callback(self._cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_error: object) -> None:
        """End everything that was started."""
        await self._stack.aclose()

    async def ready(self) -> str:
        """Wait until the deployment is Ready with what its manifest asks for; returns the base URL of its API.

        Raises:
            RunFailedError: A port is taken, Ray does not start, or the engine reports that it cannot.
        """
        while True:
            if self._failure is not None:
                # The runtime would try again without end, as KubeRay does; a person who waits wants to know.
                log = f"\nlog: {self._failure.log}" if self._failure.log else ""
                raise RunFailedError(f"{self._failure.text}{log}")
            conditions = {condition.type: condition for condition in self.status.conditions}
            loaded = conditions.get(ConditionType.MODEL_LOADED)
            waited_for = [conditions.get(kind) for kind in (ConditionType.READY, ConditionType.UP_TO_DATE)]
            if all(each is not None and each.status is ConditionStatus.TRUE for each in waited_for):
                return self.status.url
            if loaded is not None and loaded.reason in _REFUSED:
                raise RunFailedError(loaded.message)
            await self.next_status()

    async def next_status(self) -> LlamaDeploymentStatus:
        """Wait for the next pass of the reconcile; raises what ended it, if something did."""
        waiting = asyncio.create_task(self._changed.wait())
        done, _ = await asyncio.wait({waiting, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        for task in self._tasks:
            if task in done:
                await task
        return self.status

    def _on_progress(self, progress: Progress) -> None:
        if progress.stage is Stage.FAILED:
            self._failure = progress
        self._show(progress)

    async def _keep_reconciling(self, ports: Ports) -> None:
        while True:
            status = (await reconcile(ports, self.ref)).status
            if status is not None:
                self.status = status
                changed, self._changed = self._changed, asyncio.Event()
                changed.set()
            await asyncio.sleep(_RESYNC_SECONDS)

    async def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _now() -> datetime:
    return datetime.now(UTC)


def _node() -> Object:
    # Pods of a local run are processes that reserve no cores: however many there are, they share those of the machine.
    amounts = {"cpu": _ALL_CORES, "memory": f"{psutil.virtual_memory().total // 1024}Ki", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        # As a kubelet labels it: pods ask for a node of this kind.
        "metadata": {"name": _NODE, "labels": {"kubernetes.io/arch": _architecture(), "kubernetes.io/os": "linux"}},
        "status": {"allocatable": amounts, "capacity": amounts},
    }


def _architecture() -> str:
    machine = platform.machine().lower()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def without_copy(obj: Object) -> Object:
    """The object without a claim for its weights: this machine has no volumes, and pods of it read what is on its disk."""
    return paths.without(obj, "spec.weights.cache")


def _with_namespace(obj: dict[str, Any], namespace: str) -> Object:
    if obj.get("kind") != kinds.LLAMA_DEPLOYMENT.kind:
        return obj
    return obj | {"metadata": obj["metadata"] | {"namespace": namespace}}


def weights_folder(path: str | None) -> str:
    """Check a folder with weights; returns its absolute path, or nothing for None.

    Raises:
        LlamaOperatorError: If it is no folder with a config and safetensors.
    """
    if path is None:
        return ""
    folder = Path(path).expanduser().resolve()
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise LlamaOperatorError(f"--weights {path}: must be a folder with config.json, a tokenizer and *.safetensors")
    return str(folder)

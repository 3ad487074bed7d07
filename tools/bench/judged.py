"""Measures an idle pass over a deployment by how many revisions it judges (`bench.waits`, in memory; `bench.control_plane`).

Every revision that could get the traffic is judged by the model that it pins. What that costs is a ratio: a pass over a
deployment that remembers five revisions beside a pass over one that remembers one.
"""

import contextlib
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from llama_operator import catalog
from llama_operator.cli.shared.documents import documents
from llama_operator.decide.observed import Settings
from llama_operator.handlers.watched import WATCHED
from llama_operator.kube import kinds
from llama_operator.kube.cache.cluster import CachedCluster
from llama_operator.kube.cache.objects import ObjectCache
from llama_operator.kube.port import Cluster, NotFoundError, Ref
from llama_operator.kube.twin.cluster import MemoryCluster
from llama_operator.observe.serving import NoServingReader
from llama_operator.reconcile.deployment import reconcile
from llama_operator.reconcile.ports import Ports

SAMPLES = Path(__file__).resolve().parents[2] / "manifests" / "samples"
MODELS = (
    {"name": "llama-3.1-8b"},
    {"name": "llama-3.1-8b", "precision": "FP8"},
    {"name": "llama-3.1-70b"},
    {"name": "llama-3.1-70b", "precision": "FP8"},
    {"name": "llama-3.3-70b-instruct"},
)
"""Under the licenses that the sample of acceptances covers; each is a revision of its own."""
NAMESPACE = "team-a"
SERVING = {
    "numServeEndpoints": 1,
    "activeServiceStatus": {"applicationStatuses": {"llama": {"status": "RUNNING", "message": ""}}},
}
PASSES = 100


@dataclass(frozen=True, slots=True)
class Cast:
    """Who writes: each under a field manager of its own."""

    user: Cluster
    kuberay: Cluster
    operator: Cluster


def in_memory() -> Cast:
    """On an in-memory cluster of its own."""
    memory = MemoryCluster(now=lambda: datetime.now(UTC))
    return Cast(*(memory.client(manager) for manager in ("kubectl", "kuberay-operator", "llama-operator")))


async def one_and_five(cast: Callable[[], Cast]) -> tuple[float, float]:
    """Median seconds of an idle pass that judges one revision, and of one that judges five.

    Args:
        cast: Returns the clients of each measurement; the samples of acceptances are applied with them.
    """
    passes = [await _idle_pass(cast(), models) for models in (MODELS[-1:], MODELS)]
    times: tuple[list[float], list[float]] = ([], [])
    # By turns: what else the machine does then meets both.
    for _ in range(PASSES):
        for run, taken in zip(passes, times, strict=True):
            began = time.perf_counter()
            await run()
            taken.append(time.perf_counter() - began)
    return statistics.median(times[0]), statistics.median(times[1])


async def _idle_pass(cast: Cast, models: Sequence[dict[str, str]]) -> Callable[[], Awaitable[object]]:
    """An idle pass over a deployment that has served each of `models`, the last one now."""
    for acceptance in documents(SAMPLES / "license-acceptance.yaml"):
        await cast.user.apply(acceptance)
    (sample,) = documents(SAMPLES / "llama-3.3-70b-fp8-h100.yaml")
    name = f"judges-{len(models)}"
    sample = sample | {"metadata": {"name": name, "namespace": NAMESPACE}}
    ref = Ref(kinds.LLAMA_DEPLOYMENT, NAMESPACE, name)
    cache = ObjectCache()
    ports = Ports(
        cluster=CachedCluster(cache, cast.operator, kinds=tuple(watched.kind for watched in WATCHED)),
        serving=NoServingReader(),
        catalog=catalog.load(),
        settings=Settings(checks_access=False),
        now=lambda: datetime.now(UTC),
    )

    async def look() -> None:
        """As the operator looks: at what its watches have told."""
        for watched in WATCHED:
            cache.replace(watched.kind, await cast.operator.list(watched.kind))
        await reconcile(ports, ref)

    for model in models:
        family = f"acme-llama-{model['name'][len('llama-') :][:3].replace('.', '-')}"
        spec = sample["spec"] | {"model": model, "license": sample["spec"]["license"] | {"acceptance": family}}
        await cast.user.apply(sample | {"spec": spec})
        await look()
        for service in (await cast.user.list(kinds.RAY_SERVICE, namespace=NAMESPACE)).items:
            # A real server may have taken away an old one meanwhile.
            with contextlib.suppress(NotFoundError):
                await cast.kuberay.apply_status(kinds.identity(service) | {"status": SERVING})
        await look()
    await look()
    mine = {"llama-operator.io/deployment": name}
    if len((await cast.user.list(kinds.CONTROLLER_REVISION, namespace=NAMESPACE, labels=mine)).items) != len(models):
        raise RuntimeError("every revision has to be remembered: it may be gone back to, so it is judged")
    return lambda: reconcile(ports, ref)

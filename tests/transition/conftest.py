"""A world for the reconcile: the in-memory cluster, a clock that stands still, and KubeRay's word given by the test."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from llama_operator import catalog
from llama_operator.cli import files
from llama_operator.decide.observed import Settings
from llama_operator.kube import kinds
from llama_operator.kube.memory import MemoryCluster
from llama_operator.kube.port import Ref
from llama_operator.reconcile import Ports, reconcile

SAMPLES = Path(__file__).resolve().parents[2] / "manifests" / "samples"


class Clock:
    def __init__(self, start):
        self.now = start

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)


class Reader:
    """What the status endpoint would answer; the test sets it."""

    def __init__(self):
        self.answer = None

    async def read(self, *, namespace, service, address):
        return self.answer


class World:
    def __init__(self, now):
        self.clock = Clock(now)
        self.memory = MemoryCluster(now=self.clock)
        self.user = self.memory.client("kubectl")
        self.kuberay = self.memory.client("kuberay-operator")
        self.reader = Reader()
        self.ports = self.ports_with(self.memory.client("llama-operator"))

    def ports_with(self, cluster):
        return Ports(cluster=cluster, serving=self.reader, catalog=catalog.load(), settings=Settings(), now=self.clock)

    async def apply_sample(self, name, **spec):
        obj = yaml.safe_load((SAMPLES / f"{name}.yaml").read_text(encoding="utf-8"))
        obj["spec"] |= spec
        await self.user.apply(json.loads(json.dumps(obj)))
        return Ref(kinds.LLAMA_DEPLOYMENT, obj["metadata"]["namespace"], obj["metadata"]["name"])

    async def apply_acceptance(self):
        for obj in files.documents(SAMPLES / "license-acceptance.yaml"):
            await self.user.apply(obj)

    async def reconcile(self, ref):
        return await reconcile(self.ports, ref)

    async def names(self, kind):
        return sorted(item["metadata"]["name"] for item in (await self.user.list(kind)).items)

    async def snapshot(self):
        """Everything but the deployment's own object, as far as it is observable."""
        found = {}
        for kind in (kinds.RAY_SERVICE, kinds.SERVICE, kinds.NETWORK_POLICY, kinds.LLAMA_DEPLOYMENT):
            for item in (await self.user.list(kind)).items:
                found[kind.kind, item["metadata"]["name"]] = item["metadata"]["resourceVersion"]
        return found

    async def serve(self, name, namespace="default", *, status="RUNNING", endpoints=1, message=""):
        """Say about a RayService what KubeRay would."""
        live = await self.user.get(Ref(kinds.RAY_SERVICE, namespace, name))
        await self.kuberay.apply_status(
            {
                "apiVersion": live["apiVersion"],
                "kind": live["kind"],
                "metadata": {"name": name, "namespace": namespace},
                "status": {
                    "numServeEndpoints": endpoints,
                    "activeServiceStatus": {
                        "applicationStatuses": {"llama": {"status": status, "message": message}},
                    },
                },
            }
        )


@pytest.fixture
def make_world(now):
    return lambda: World(now)


@pytest.fixture
def world(make_world):
    return make_world()

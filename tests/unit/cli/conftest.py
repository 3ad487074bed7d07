"""A cluster for the commands: the in-memory twin, with what users, the operator and KubeRay would have written."""

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from llama_operator.cli.main import main
from llama_operator.cli.shared.connection import Access, Connection
from llama_operator.decide.platform import Platform
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from llama_operator.kube.twin.cluster import MemoryCluster
from llama_operator.kube.twin.store import Stored

CHOSEN = {
    "model": "llama-3.3-70b-instruct",
    "precision": "FP8",
    "repository": "RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic",
    "accelerator": "H100-80GB",
    "tensorParallelSize": 2,
    "pipelineParallelSize": 1,
    "gpusPerReplica": 2,
    "nodesPerReplica": 1,
    "maxModelLength": 8192,
    "maxNumSeqs": 64,
    "memoryBytesPerGPU": 78_000_000_000,
    "weightBytesPerGPU": 36_000_000_000,
    "reserveBytesPerGPU": 5_000_000_000,
    "kvCacheBytesPerGPU": 37_000_000_000,
    "kvCacheTokens": 240_000,
}
SPEC = {
    "model": {"name": "llama-3.3-70b-instruct", "precision": "FP8"},
    "context": {"maxModelLength": 8192},
    "hardware": {"accelerator": "H100-80GB"},
    "license": {"acceptance": "acme", "attributionURL": "https://acme.example/about"},
}
HAPPY = {
    "LicenseAccepted": ("True", "LicenseAllowed", "Llama 3.3 is accepted by Acme GmbH"),
    "ModelResolved": ("True", "ModelFound", "llama-3.3-70b-instruct is in the catalog"),
    "Planned": ("True", "PlanFound", "FP8 on H100-80GB: 2 per replica, 1 node(s)"),
    "WeightsAccessible": ("True", "Accessible", "meta-llama/Llama-3.3-70B-Instruct may be downloaded"),
    "CapacityFound": ("True", "NodesFound", "8 H100-80GB exist, 2 are needed"),
    "ModelLoaded": ("True", "EngineRunning", "Serve reports the application as running"),
    "EndpointReady": ("True", "EndpointServing", "requests are answered"),
    "UpToDate": ("True", "RolledOut", "revision chat-aaaaaaaa serves"),
    "Ready": ("True", "Serving", "the endpoint answers with the model asked for"),
}


def conditions(**changed):
    return [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "observedGeneration": 1,
            "lastTransitionTime": "2026-03-02T09:00:00Z",
        }
        for kind, (status, reason, message) in (HAPPY | changed).items()
    ]


class World:
    """The twin, a clock that stands still, and the command line on both."""

    def __init__(self, now, capsys):
        self.now = now
        self.memory = MemoryCluster(now=lambda: self.now)
        self.user = self.memory.client("kubectl")
        self.operator = self.memory.client("llama-operator")
        self.kuberay = self.memory.client("kuberay-operator")
        self.platform = Platform(
            kubernetes="v1.37.0",
            kinds={f"{kind.plural}.{kind.api_version.rpartition('/')[0]}": ("v1",) for kind in kinds.ALL},
        )
        self._capsys = capsys
        self.client = self.memory.client("kubectl-llama")

    @asynccontextmanager
    async def connect(self, access):
        async def platform():
            return self.platform

        yield Connection(
            cluster=self.client,
            logs=self.client,
            services=self.client,
            namespace=access.namespace or "team-a",
            now=lambda: self.now,
            platform=platform,
        )

    def connect_as(self, namespace):
        return self.connect(Access(namespace=namespace))

    def run(self, *arguments):
        """Run a command; returns exit code, standard output and standard error."""
        code = main(list(arguments), connector=self.connect)
        return code, *self._capsys.readouterr()

    def json(self, *arguments):
        """Run a command with -o json; returns exit code and document."""
        code, out, err = self.run(*arguments, "-o", "json")
        assert out, err
        return code, json.loads(out)

    def seed(self, kind, name, namespace="", **content):
        """Put an object there whose kind the product never writes, as others would have."""
        store = self.memory._store
        metadata = content.pop("metadata", {})
        ref = Ref(kind, namespace, name)
        content = {"metadata": metadata, **content}
        stored = Stored(ref, self.memory.new_uid(), self.now, store.next_version(), None, None, content, {})
        store.put(stored)

    async def deployment(self, name="chat", namespace="team-a", *, spec=None, status=None, **metadata):
        obj = {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LlamaDeployment",
            "metadata": {"name": name, "namespace": namespace, **metadata},
            "spec": SPEC if spec is None else spec,
        }
        live = await self.user.apply(obj)
        if status is not None:
            await self.operator.apply_status({**obj, "status": status})
        return live

    async def serving(self, name="chat", namespace="team-a", **kwargs):
        """A deployment that serves, as the operator reports it."""
        status = {
            "observedGeneration": 1,
            "conditions": conditions(),
            "plan": {"chosen": CHOSEN},
            "revisions": {"active": f"{name}-aaaaaaaa", "pending": ""},
            "replicas": 2,
            "readyReplicas": 2,
            "queueDepth": 3,
            "url": f"http://{name}.{namespace}.svc:8000/v1",
        }
        return await self.deployment(name, namespace, status=status | kwargs.pop("status", {}), **kwargs)


@pytest.fixture
def world(now, capsys):
    return World(datetime(2026, 3, 2, 9, 30, tzinfo=UTC), capsys)


@pytest.fixture
def serving_facts():
    """Plan, conditions and spec of a deployment that serves."""
    return CHOSEN, conditions, SPEC

"""What every implementation of the port must do, asked of one backend after another.

A backend is anything that gives a client for a field manager: the port `Cluster`, and `merge_patch(ref, patch)` for what
rivals do. The in-memory twin is one, a real API server with our CRDs and KubeRay's the other; tests that ask what only a
real server has take `api_server` instead. The objects here are such that a real server admits them, and nothing is
asserted about fields that a real server fills in.
"""

import asyncio
import itertools
import os
import uuid
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import NotFoundError, Ref
from llama_operator.kube.server.client import connect
from llama_operator.kube.server.transport import Request
from llama_operator.kube.twin.cluster import MemoryCluster

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 120
KUBECONFIG = "LLAMA_OPERATOR_TEST_KUBECONFIG"
"""Names a kubeconfig of a running API server with all CRDs, instead of one that the tests start."""


class MemoryBackend:
    """The twin, with a fresh namespace for each test as a real server would need it."""

    _numbers = itertools.count(1)

    def __init__(self):
        self._cluster = MemoryCluster()

    async def start(self):
        return f"contract-{next(self._numbers)}"

    async def stop(self):
        """Nothing is left of it."""

    def client(self, manager):
        return self._cluster.client(manager)


class ApiServerBackend:
    """A real API server; one for all tests, a namespace for each."""

    def __init__(self, kubeconfig):
        self._kubeconfig = kubeconfig
        self._stack = AsyncExitStack()

    async def start(self):
        self._cluster = await self._stack.enter_async_context(connect(self._kubeconfig, page=2))
        self.namespace = f"contract-{uuid.uuid4().hex[:10]}"
        await self.ask("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        return self.namespace

    async def stop(self):
        await self.ask("DELETE", f"/api/v1/namespaces/{self.namespace}")
        await self._stack.aclose()

    def client(self, manager):
        return self._cluster.client(manager)

    async def ask(self, method, path, body=None, **query):
        """Sends what the port has no verb for."""
        return await self._cluster._transport.send(Request(method, path, f"{method} {path}", query, body))


@pytest.fixture(scope="session")
def api_server_kubeconfig(request):
    """Kubeconfig of an API server with our CRDs and KubeRay's; without nodes, and with no KubeRay running."""
    if found := os.environ.get(KUBECONFIG):
        return Path(found)
    return request.getfixturevalue("bare_server").kubeconfig


class Objects:
    """Builders of objects that a real server admits, all in the namespace of the test."""

    def __init__(self, namespace):
        self.namespace = namespace

    def llama(self, name="chat", *, status=None, metadata=None, **spec):
        obj = {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LlamaDeployment",
            "metadata": {"name": name, "namespace": self.namespace} | (metadata or {}),
            "spec": {"model": {"name": "llama-3.1-8b"}} | spec,
        }
        return obj if status is None else obj | {"status": status}

    def part(self, name="chat", *, metadata=None, **spec):
        """A LlamaDeployment as somebody sends it who cares for a part of it only."""
        obj = self.llama(name, metadata=metadata)
        return {**obj, "spec": spec} if spec else {key: value for key, value in obj.items() if key != "spec"}

    def acceptance(self, name="acme", **spec):
        # Cluster-scoped, so that the name must differ between tests.
        return {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LicenseAcceptance",
            "metadata": {"name": f"{self.namespace}-{name}"},
            "spec": {
                "families": ["llama-3.1"],
                "legalEntity": "Acme GmbH",
                "acceptedBy": "Jo Doe",
                "acceptedOn": "2026-03-02",
                "namespaces": [self.namespace],
            }
            | spec,
        }

    def llama_model(self, name="tuned", **spec):
        return {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LlamaModel",
            "metadata": {"name": f"{self.namespace}-{name}"},
            "spec": {
                "source": {"volumeClaim": {"name": "models"}},
                "digest": "0" * 64,
                "lineage": {"derivedFrom": [{"model": "llama-3.1-8b", "kind": "Finetune"}]},
            }
            | spec,
        }

    def accelerator(self, name="card", **spec):
        return {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "Accelerator",
            "metadata": {"name": name},
            "spec": {
                "memoryMebibytes": 15360,
                "computeCapability": "7.5",
                "nodes": [{"labels": [{"key": "acme.example/card", "values": ["old"]}]}],
            }
            | spec,
        }

    def license_policy(self, name="house", **spec):
        return {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LicensePolicy",
            "metadata": {"name": f"{self.namespace}-{name}"},
            "spec": spec,
        }

    def service(self, name="web", *, ports=(8000,), metadata=None, **spec):
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": self.namespace} | (metadata or {}),
            "spec": {
                "selector": {"app": name},
                "ports": [{"name": f"p{port}", "port": port, "protocol": "TCP", "targetPort": port} for port in ports],
            }
            | spec,
        }

    def policy(self, name="guard", *, metadata=None, ports=(8000,)):
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": self.namespace} | (metadata or {}),
            "spec": {
                "podSelector": {"matchLabels": {"app": name}},
                "policyTypes": ["Ingress"],
                "ingress": [{"ports": [{"protocol": "TCP", "port": port} for port in ports]}],
            },
        }

    def revision(self, name="chat-1", **data):
        return {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {"name": name, "namespace": self.namespace},
            "revision": 1,
            "data": data or {"tensor": 8},
        }

    def ray_service(self, name="chat-1", *, environment=(), workers=("h100",)):
        container = {"name": "ray", "image": "rayproject/ray:2.60.0"}
        head = container | ({"env": [{"name": key, "value": "1"} for key in environment]} if environment else {})
        cluster = {"headGroupSpec": {"rayStartParams": {}, "template": {"spec": {"containers": [head]}}}}
        if workers:
            cluster["workerGroupSpecs"] = [
                {
                    "groupName": group,
                    "replicas": 1,
                    "minReplicas": 1,
                    "maxReplicas": 1,
                    "rayStartParams": {},
                    "template": {"spec": {"containers": [container]}},
                }
                for group in workers
            ]
        return {
            "apiVersion": "ray.io/v1",
            "kind": "RayService",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"rayClusterConfig": cluster},
        }

    def owned_by(self, *owners):
        return {
            "ownerReferences": [
                {
                    "apiVersion": owner["apiVersion"],
                    "kind": owner["kind"],
                    "name": owner["metadata"]["name"],
                    "uid": owner["metadata"]["uid"],
                }
                for owner in owners
            ]
        }

    def ref(self, kind, name):
        return Ref(kind, self.namespace if kind.namespaced else "", name)

    @property
    def chat(self):
        """Address of the LlamaDeployment that the builders make by default."""
        return self.ref(kinds.LLAMA_DEPLOYMENT, "chat")


@pytest.fixture(params=["twin", pytest.param("api server", marks=pytest.mark.control_plane)])
async def backend(request):
    if request.param == "twin":
        found = MemoryBackend()
    else:
        found = ApiServerBackend(request.getfixturevalue("api_server_kubeconfig"))
    found.namespace = await found.start()
    yield found
    await found.stop()


@pytest.fixture
async def api_server(request):
    """A real API server, for tests of what the twin does not have; such tests are marked `control_plane`."""
    found = ApiServerBackend(request.getfixturevalue("api_server_kubeconfig"))
    await found.start()
    yield found
    await found.stop()


@pytest.fixture
def make_client(backend):
    """Gives a client for a field manager; all see one cluster."""
    return backend.client


@pytest.fixture(scope="session")
def builders():
    """Builders of objects for a namespace."""
    return Objects


@pytest.fixture
def objects(backend):
    return Objects(backend.namespace)


@pytest.fixture
def ours(make_client):
    return make_client("llama-operator")


@pytest.fixture
def user(make_client):
    return make_client("kubectl")


@pytest.fixture
def gone():
    """Waits until an object is gone: a real server collects garbage a moment later."""

    async def wait(client, ref):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    await client.get(ref)
                except NotFoundError:
                    return
                await asyncio.sleep(0.05)

    return wait


@pytest.fixture
def becomes():
    """Waits until an object fulfills a condition; returns it."""

    async def wait(client, ref, condition):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found = await client.get(ref)
                if condition(found):
                    return found
                await asyncio.sleep(0.05)

    return wait


@pytest.fixture
def take():
    """Takes the next events of a watch and leaves it open."""

    async def wait(stream, count):
        async with asyncio.timeout(PATIENCE_SECONDS):
            return [await anext(stream) for _ in range(count)]

    return wait

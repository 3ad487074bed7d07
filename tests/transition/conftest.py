"""A world for the reconcile: the in-memory cluster, a clock that stands still, and KubeRay's word given by the test."""

import copy
import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from llama_operator import catalog
from llama_operator.cli.shared.documents import documents
from llama_operator.decide.observed import Settings
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from llama_operator.kube.twin.cluster import MemoryCluster
from llama_operator.observe.ages import Ages
from llama_operator.reconcile.deployment import reconcile
from llama_operator.reconcile.failing import Failing
from llama_operator.reconcile.ports import Ports
from llama_operator.reconcile.repairs import Repairs
from support import one_world, recordings
from support.crashing.flows import copied

SAMPLES = Path(__file__).resolve().parents[2] / "manifests" / "samples"

CHILDREN = (
    kinds.CONTROLLER_REVISION,
    kinds.RAY_SERVICE,
    kinds.SERVICE,
    kinds.NETWORK_POLICY,
    kinds.POD_DISRUPTION_BUDGET,
    kinds.HTTP_ROUTE,
    kinds.INGRESS,
)


class Clock:
    """A clock of a wall that can be set, and beside it the seconds that really pass."""

    def __init__(self, start):
        self.now = start
        self.passed = 0.0

    def __call__(self):
        return self.now

    def elapsed(self):
        return self.passed

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)
        self.passed += seconds

    def jump(self, seconds):
        """Somebody sets the clock."""
        self.now += timedelta(seconds=seconds)


class Reader:
    """What the status endpoint would answer; the test sets it."""

    def __init__(self):
        self.answer = None

    async def read(self, *, namespace, service, address):
        return self.answer


class Events:
    """Keeps what was told."""

    def __init__(self):
        self.told = []

    async def record(self, regarding, facts):
        self.told.append((facts.type, facts.reason))


class World:
    def __init__(self, now):
        self.clock = Clock(now)
        self.memory = MemoryCluster(now=self.clock)
        self.user = self.memory.client("kubectl")
        self.kuberay = self.memory.client("kuberay-operator")
        self.reader = Reader()
        self.events = Events()
        self.compares = True
        self.agreed = 0
        self.ports = self.ports_with(self.memory.client("llama-operator"))

    def copy(self):
        """Another one in the same state, in which a new operator begins."""
        other = copy.copy(self)
        other.clock = copy.copy(self.clock)
        other.memory = copied(self.memory, other.clock)
        other.user, other.kuberay = (other.memory.client(name) for name in ("kubectl", "kuberay-operator"))
        other.reader, other.events = copy.copy(self.reader), Events()
        other.ports = other.ports_with(other.memory.client("llama-operator"))
        return other

    def ports_with(self, cluster, **settings):
        return Ports(
            cluster=cluster,
            serving=self.reader,
            catalog=catalog.load(),
            # Without Jobs, which nothing runs here; test_access_check.py has them.
            settings=Settings(**({"checks_access": False} | settings)),
            now=self.clock,
            events=self.events,
            ages=Ages(self.clock.elapsed),
            repairs=Repairs(self.clock.elapsed),
            failing=Failing(self.clock.elapsed),
        )

    async def apply_sample(self, sample, /, *, name=None, **spec):
        obj = yaml.safe_load((SAMPLES / f"{sample}.yaml").read_text(encoding="utf-8"))
        obj["metadata"]["name"] = name or obj["metadata"]["name"]
        obj["spec"] |= spec
        await self.user.apply(json.loads(json.dumps(obj)))
        return Ref(kinds.LLAMA_DEPLOYMENT, obj["metadata"]["namespace"], obj["metadata"]["name"])

    async def add_node(self, name, *, product="NVIDIA-H100-80GB-HBM3", gpus=8):
        """A node with GPUs, labeled as NVIDIA's feature discovery does."""
        address = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
        amounts = {
            "cpu": "192",
            "memory": "2Ti",
            "ephemeral-storage": "8Ti",
            "pods": "110",
            "nvidia.com/gpu": str(gpus),
        }
        labels = {"kubernetes.io/arch": "amd64", "nvidia.com/gpu.product": product}
        await self.user.apply({**address, "metadata": {"name": name, "labels": labels}})
        await self.user.apply_status({**address, "status": {"allocatable": amounts, "capacity": amounts}})

    async def add_cpu_node(self, name, **spec):
        """A node without GPUs, and with room; `spec` is what else its spec says."""
        address = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/arch": "amd64"}},
        }
        amounts = {"cpu": "64", "memory": "512Gi", "ephemeral-storage": "1Ti", "pods": "110"}
        ready = [{"type": "Ready", "status": "True"}]
        await self.user.apply(address | {"spec": spec})
        status = {"allocatable": amounts, "capacity": amounts, "conditions": ready}
        await self.user.apply_status(address | {"status": status})

    async def hold_gpus(self, name, node, gpus, **more):
        """A pod of somebody that holds GPUs of a node; `more` is what else its spec says."""
        resources = {"requests": {"nvidia.com/gpu": str(gpus)}}
        spec = {"nodeName": node, "containers": [{"name": "train", "image": "acme/train:1", "resources": resources}]}
        spec |= more
        await self.user.apply(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}
        )

    async def apply_acceptance(self):
        for obj in documents(SAMPLES / "license-acceptance.yaml"):
            await self.user.apply(obj)

    async def ray_cluster(self, service, namespace="default"):
        """Make the RayCluster that KubeRay makes for a RayService: it keeps the service until its pods are gone."""
        live = await self.user.get(Ref(kinds.RAY_SERVICE, namespace, service))
        owner = {key: live[key] for key in ("apiVersion", "kind")}
        owner |= {"name": service, "uid": live["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}
        await self.kuberay.apply(
            {
                "apiVersion": "ray.io/v1",
                "kind": "RayCluster",
                "metadata": {
                    "name": f"{service}-abcde",
                    "namespace": namespace,
                    "labels": live["metadata"]["labels"],
                    "ownerReferences": [owner],
                    "finalizers": ["test/pods"],
                },
                "spec": live["spec"]["rayClusterConfig"],
            }
        )

    async def pods_are_gone(self, service, namespace="default"):
        """Let the RayCluster of a RayService go: its pods have ended."""
        live = await self.user.get(Ref(kinds.RAY_CLUSTER, namespace, f"{service}-abcde"))
        metadata = {"name": live["metadata"]["name"], "namespace": namespace}
        await self.kuberay.apply({"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": metadata})

    async def reconcile(self, ref):
        self.outcome = await reconcile(self.ports, ref)
        if self.compares:
            # Every flow of every test here: what a person is told is what the operator does.
            self.agreed += await one_world.agree(self, ref)
        return self.outcome.status

    async def names(self, kind):
        return sorted(item["metadata"]["name"] for item in (await self.user.list(kind)).items)

    async def snapshot(self):
        """Everything but the deployment's own object, as far as it is observable."""
        found = {}
        for kind in (*CHILDREN, kinds.LLAMA_DEPLOYMENT):
            for item in (await self.user.list(kind)).items:
                found[kind.kind, item["metadata"]["name"]] = item["metadata"]["resourceVersion"]
        return found

    async def pod(self, recorded, name, *, role, revision, namespace="default"):
        """A pod of a revision that fares as a recorded one did; returns the recorded one."""
        (item,) = [each for each in recordings.objects(recorded, slim=False) if each["kind"] == "Pod"]
        labels = {
            "llama-operator.io/deployment": "tiny",
            "llama-operator.io/revision": revision,
            "ray.io/node-type": role,
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": labels}}
        await self.user.apply(pod | {"spec": item["spec"]})
        # An apply has no null in it.
        conditions = [
            {key: told for key, told in each.items() if told} for each in item["status"].get("conditions", ())
        ]
        await self.user.apply_status(pod | {"status": item["status"] | {"conditions": conditions}})
        return item

    async def serve(
        self, name, namespace="default", *, status="RUNNING", endpoints=1, message="", deployments=None, board=None
    ):
        """Say about a RayService what KubeRay would.

        `deployments` is what Serve says of each of its deployments, `board` of the second application.
        """
        live = await self.user.get(Ref(kinds.RAY_SERVICE, namespace, name))
        await self.kuberay.apply_status(
            {
                "apiVersion": live["apiVersion"],
                "kind": live["kind"],
                "metadata": {"name": name, "namespace": namespace},
                "status": {
                    "numServeEndpoints": endpoints,
                    "activeServiceStatus": {
                        "applicationStatuses": {
                            "llama": {
                                "status": status,
                                "message": message,
                                **({"serveDeploymentStatuses": deployments} if deployments else {}),
                            },
                            **({"llama-board": board} if board else {}),
                        },
                    },
                },
            }
        )


@pytest.fixture(scope="session")
def make_world(now):
    return lambda: World(now)


@pytest.fixture
def world(make_world):
    return make_world()

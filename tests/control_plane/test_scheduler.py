"""What we call fitting, kube-scheduler binds, and what we refuse it does not bind: on drawn nodes, with pods as KubeRay makes them.

Each set of nodes has a label of its own, which its pods select, so many sets are asked at once. LLAMA_OPERATOR_TEST_SEED repeats
a run; `make test-scheduler` asks many more.
"""

import asyncio
import copy
import os
import random

import pytest

from llama_operator import catalog
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Settings
from llama_operator.decide.placement.count import Demand
from llama_operator.decide.placement.pod_spec import shapes_of
from llama_operator.desired import revision
from llama_operator.kube.server.client import connect
from llama_operator.observe.nodes.facts import node_facts
from llama_operator.observe.nodes.free import free_rooms
from llama_operator.observe.unreadable import Unreadable
from support.deployments import observed_of

pytestmark = pytest.mark.control_plane

SETS = int(os.environ.get("LLAMA_OPERATOR_TEST_NODE_SETS", "20"))
AT_ONCE = 20
SET = "test.example/set"
GPU = "nvidia.com/gpu"
CARDS = {
    "L4-24GB": "NVIDIA-L4",
    "A10G-24GB": "NVIDIA-A10G",
    "H100-80GB": "NVIDIA-H100-80GB-HBM3",
}
SPECS = (
    {"model": {"name": "llama-3.2-1b"}, "hardware": {"accelerator": "L4-24GB"}},
    {
        "model": {"name": "llama-3.1-8b", "precision": "BF16"},
        "context": {"maxModelLength": 8192},
        "hardware": {"accelerator": "A10G-24GB"},
    },
    {
        "model": {"name": "llama-3.1-8b", "precision": "BF16"},
        "hardware": {"accelerator": "H100-80GB"},
        "parallelism": {"mode": "Manual", "tensor": 2},
    },
    {
        "model": {"name": "llama-3.3-70b-instruct", "precision": "FP8"},
        "context": {"maxModelLength": 8192},
        "hardware": {"accelerator": "H100-80GB", "gpusPerNode": 1},
        "parallelism": {"mode": "Manual", "tensor": 1, "pipeline": 2},
    },
    {"model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}, "license": {}},
)
TAINTS = (
    {"key": GPU, "value": "present", "effect": "NoSchedule"},
    {"key": GPU, "effect": "NoExecute"},
    {"key": "sku", "value": "gpu", "effect": "NoSchedule"},
    {"key": "sku", "value": "gpu", "effect": "PreferNoSchedule"},
    {"key": "spot", "value": "true", "effect": "NoExecute"},
)
TOLERATIONS = (
    (),
    (),
    ({"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},),
    ({"key": "sku", "operator": "Exists"}, {"key": "spot", "operator": "Exists", "effect": "NoExecute"}),
    # One for every taint would bring pods to nodes that are cordoned or silent: these never count.
    ({"operator": "Exists", "effect": "NoExecute"},),
)
REQUIREMENTS = (
    (),
    (),
    (),
    (),
    (),
    ({"key": "zone", "operator": "In", "values": ["a"]},),
    ({"key": "zone", "operator": "NotIn", "values": ["a"]},),
    ({"key": "cores", "operator": "Gt", "values": ["4"]},),
)


class NodeSet:
    """Nodes, what runs on them, and a deployment that looks for a place there."""

    def __init__(self, draw, name):
        self.name = name
        self.spec = draw.choice(SPECS)
        self.pods = {"nodeSelector": {SET: name}, "tolerations": list(draw.choice(TOLERATIONS))}
        if required := draw.choice(REQUIREMENTS):
            terms = {"nodeSelectorTerms": [{"matchExpressions": list(required)}]}
            node_affinity = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
            self.pods["workers"] = {"affinity": {"nodeAffinity": node_affinity}}
        self.replicas = draw.choice((1, 1, 2, 3))
        wanted = self.spec["hardware"]["accelerator"]
        self.nodes = [self._node(draw, number, wanted) for number in range(draw.randint(1, 6))]
        self.running = [pod for node in self.nodes for pod in self._running(draw, node)]

    def _node(self, draw, number, wanted):
        card = draw.choice((*[wanted] * 5, *CARDS, "CPU", "CPU"))
        cores = draw.choice((2, 4, 8, 16, 32))
        name = f"{self.name}-{number}"
        amounts = {
            "cpu": f"{cores * 980}m",
            "memory": f"{draw.choice((14, 28, 60, 120))}Gi",
            "ephemeral-storage": f"{draw.choice((15, 90, 90, 400, 400))}Gi",
            "pods": str(draw.choice((2, 30, 30, 110))),
        }
        labels = {SET: self.name, "zone": draw.choice("ab"), "cores": str(cores), "kubernetes.io/arch": "amd64"}
        if card in CARDS:
            amounts[GPU] = str(draw.choice((1, 2, 4, 8)))
            labels["nvidia.com/gpu.product"] = CARDS[card]
        taints = draw.sample(TAINTS, draw.choice((0, 0, 0, 0, 0, 1, 2)))
        spec = ({"taints": taints} if taints else {}) | ({"unschedulable": True} if draw.random() < 0.07 else {})
        ready = {"type": "Ready", "status": "True"}
        # One that KWOK does not keep is not ready, and no kubelet will ever say so.
        kept = {} if draw.random() < 0.07 else {"kwok.x-k8s.io/node": "fake"}
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels, "annotations": kept},
            "spec": spec,
            "status": {
                "capacity": amounts,
                "allocatable": amounts,
                "conditions": [ready if kept else ready | {"status": "Unknown"}],
            },
        }

    def _running(self, draw, node):
        """Pods of others; none on a node that would end them at once, or that nobody keeps."""
        evicts = any(taint["effect"] == "NoExecute" for taint in node["spec"].get("taints", ()))
        if evicts or not node["metadata"]["annotations"]:
            return
        most = int(node["status"]["allocatable"]["pods"])
        for number in range(min(most, draw.choice((0, 0, 1, 2)))):
            requests = {"cpu": draw.choice(("100m", "1", "2500m")), "memory": draw.choice(("64Mi", "1Gi", "9Gi"))}
            before = [{"name": "before", "image": "x", "resources": {"requests": {"cpu": draw.choice(("50m", "3"))}}}]
            if GPU in node["status"]["allocatable"] and draw.random() < 0.3:
                requests[GPU] = "1"
            yield {
                "metadata": {"name": f"{node['metadata']['name']}-{number}"},
                "spec": {
                    "nodeName": node["metadata"]["name"],
                    "initContainers": before if draw.random() < 0.3 else [],
                    "containers": [
                        {
                            "name": "c",
                            "image": "x",
                            "resources": {
                                "requests": requests,
                                "limits": {k: v for k, v in requests.items() if k == GPU},
                            },
                        }
                    ],
                },
            }

    def plan(self):
        """The pods that look for a node, in the order in which KubeRay makes them, and what they ask for."""
        world = observed_of(pods=self.pods, **self.spec)
        decision = decide(world, catalog.load())
        made = revision.new(world, decision, Settings())
        shapes = shapes_of(made.cluster, decision.shapes.per_replica)
        demand = Demand(shapes, shapes.per_replica * self.replicas)
        head = as_kuberay_makes(made.cluster["headGroupSpec"]["template"], autoscaler=True)
        worker = as_kuberay_makes(made.cluster["workerGroupSpecs"][0]["template"])
        pods = [head, *(copy.deepcopy(worker) for _ in range(demand.workers))]
        for number, pod in enumerate(pods):
            pod["metadata"] = {"name": f"{self.name}-pod-{number}"}
        return demand, pods


def as_kuberay_makes(template, *, autoscaler=False):
    """A pod of a template, with the containers that KubeRay adds."""
    spec = copy.deepcopy(template["spec"])
    spec["volumes"] = [{"name": each["name"], "emptyDir": {}} for each in spec.get("volumes", ())]
    if autoscaler:
        amounts = {"cpu": "500m", "memory": "512Mi"}
        spec["containers"].append(
            {"name": "autoscaler", "image": "x", "resources": {"requests": amounts, "limits": amounts}}
        )
    else:
        amounts = {"cpu": "200m", "memory": "256Mi"}
        spec["initContainers"] = [{"name": "wait", "image": "x", "resources": {"requests": amounts, "limits": amounts}}]
    return {"apiVersion": "v1", "kind": "Pod", "spec": spec}


def create(plane, namespace, pod):
    plane.api._ask("POST", f"/api/v1/namespaces/{namespace}/pods", json={"apiVersion": "v1", "kind": "Pod"} | pod)


async def free(plane, demands):
    """What is left of the nodes of each set, as the operator reads it."""
    unreadable = Unreadable()
    facts = {name: [] for name in demands}
    for node in plane.api.list("nodes", labels=SET):
        found, name = node_facts(node, catalog.load()), node["metadata"]["labels"][SET]
        if found is not None and name in facts:
            facts[name].append(found)
    async with connect(plane.kubeconfig) as server:
        client = server.client("test")
        reads = (
            free_rooms(client, facts[name], demand.shapes.head, unreadable, on_cpu=True)
            for name, demand in demands.items()
        )
        rooms = dict(zip(demands, await asyncio.gather(*reads), strict=True))
    assert unreadable.found == ()
    return rooms


def decided(pod):
    """Where a pod went: a node, `nowhere`, or not decided yet."""
    if node := pod["spec"].get("nodeName"):
        return node
    conditions = pod.get("status", {}).get("conditions", ())
    return "nowhere" if any(each.get("reason") == "Unschedulable" for each in conditions) else ""


@pytest.fixture
def seed():
    chosen = int(os.environ.get("LLAMA_OPERATOR_TEST_SEED") or random.randrange(10_000))  # noqa: S311 - no secret
    print(f"LLAMA_OPERATOR_TEST_SEED={chosen}")
    return chosen


def ask(plane, namespace, sets, eventually):
    """Let the scheduler place the pods of all sets; yields each with its demand, what was free, and whether all were bound."""
    made = [node for each in sets for node in each.nodes]
    plane.apply(*made)

    def quiet():
        live = {node["metadata"]["name"]: node for node in plane.api.list("nodes", labels=SET)}
        kept = [node["metadata"]["name"] for node in made if node["metadata"]["annotations"]]
        return all(
            not any(taint["key"] == "node.kubernetes.io/not-ready" for taint in live[name]["spec"].get("taints", ()))
            for name in kept
        )

    eventually(quiet, "the nodes are ready")
    for each in sets:
        for pod in each.running:
            create(plane, namespace, pod)
    plans = {each.name: each.plan() for each in sets}
    rooms = asyncio.run(free(plane, {name: demand for name, (demand, _) in plans.items()}))
    for _, pods in plans.values():
        for pod in pods:
            create(plane, namespace, pod)
    ours = {pod["metadata"]["name"] for _, pods in plans.values() for pod in pods}

    def all_decided():
        live = {pod["metadata"]["name"]: decided(pod) for pod in plane.api.list("pods", namespace=namespace)}
        return live if all(live.get(name) for name in ours) else None

    where = eventually(all_decided, "the scheduler has looked at all pods")
    for name, (demand, pods) in plans.items():
        yield name, demand, rooms[name], [where[pod["metadata"]["name"]] for pod in pods]


def test_the_scheduler_binds_what_we_call_fitting_and_nothing_that_we_refuse(plane, namespace, seed, eventually):
    draw = random.Random(seed)  # noqa: S311 - no secret
    sets = [NodeSet(draw, f"{namespace}-{number}") for number in range(SETS)]
    verdicts, wrong = [], []
    for start in range(0, SETS, AT_ONCE):
        some = sets[start : start + AT_ONCE]
        try:
            for name, demand, rooms, where in ask(plane, namespace, some, eventually):
                fit = demand.fit(rooms)
                bound = "nowhere" not in where
                sure, never = fit.holds(demand.workers), not fit.may_hold(demand.workers)
                verdicts.append("fits" if sure else "never" if never else "by chance")
                assert sure is (demand.short(rooms) == "")
                if (sure and not bound) or (never and bound):
                    wrong.append((name, verdicts[-1], where, demand.short(rooms), rooms))
        finally:
            plane.kubectl("delete", "nodes", "-l", SET, "--wait=false")
    print({verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))})
    assert wrong == []
    # A set where everything or nothing fits would ask nothing.
    assert {"fits", "never"} <= set(verdicts)

"""A control plane of its own: Kueue's webhooks look at every RayService, and other tests want none of it."""

import pytest

from control_plane import kuberay, kueue, nodes, saved_planes
from control_plane.nodes import add_nodes, remove_nodes


def pytest_collection_modifyitems(items):
    if why := kueue.missing():
        for item in items:
            if item.get_closest_marker("kueue"):
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def plane(tmp_path_factory):
    crds = (*saved_planes.all_crds(), kueue.crds())
    with saved_planes.control_plane(tmp_path_factory.mktemp("plane-kueue"), crds=crds) as running:
        nodes.start_kwok(running)
        kuberay.start(running)
        kueue.start(running)
        yield running


@pytest.fixture(scope="session", autouse=True)
def node(plane):
    """Eight H100 in one node: more than any queue lends."""
    names = add_nodes(plane, "h100-8", 1)
    yield names[0]
    remove_nodes(plane, names)


@pytest.fixture
def quota(plane, namespace):
    """Makes queues: a ClusterQueue with cards of one flavor, and a LocalQueue of the namespace that leads to it."""
    made = Quota(plane, namespace)
    yield made
    made.remove()


class Quota:
    """What the platform owner writes for Kueue."""

    VERSION = "kueue.x-k8s.io/v1beta2"

    def __init__(self, plane, namespace):
        self.plane, self.namespace = plane, namespace

    def local_queue(self, name, cards):
        """A LocalQueue by which so many cards may be had."""
        flavor = {"nodeLabels": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}}
        self.plane.apply(self._object("ResourceFlavor", self.namespace, flavor))
        self.lend(cards)
        self.plane.apply(self._object("LocalQueue", name, {"clusterQueue": self.namespace}, self.namespace))

    def lend(self, cards, stop="None"):
        """Change what may be had; `stop` is Kueue's own word for what happens to those who have it."""
        amounts = {"cpu": "1k", "memory": "10Ti", "ephemeral-storage": "10Ti", "nvidia.com/gpu": str(cards)}
        resources = [{"name": name, "nominalQuota": amount} for name, amount in amounts.items()]
        groups = [{"coveredResources": list(amounts), "flavors": [{"name": self.namespace, "resources": resources}]}]
        spec = {"namespaceSelector": {}, "resourceGroups": groups, "stopPolicy": stop}
        self.plane.apply(self._object("ClusterQueue", self.namespace, spec))

    def workloads(self):
        """Whether each Workload of the namespace has its quota, by name; those that are over are left out."""
        found = {}
        for one in self.plane.api.list("workloads.kueue.x-k8s.io", namespace=self.namespace):
            told = {each["type"]: each["status"] for each in one.get("status", {}).get("conditions", ())}
            if told.get("Finished") != "True":
                found[one["metadata"]["name"]] = told.get("Admitted") == "True"
        return found

    def remove(self):
        kinds = ("clusterqueues.kueue.x-k8s.io", "resourceflavors.kueue.x-k8s.io")
        for kind in kinds:
            self.plane.kubectl("delete", kind, self.namespace, "--ignore-not-found", "--wait=false")

    def _object(self, kind, name, spec, namespace=None):
        metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
        return {"apiVersion": self.VERSION, "kind": kind, "metadata": metadata, "spec": spec}

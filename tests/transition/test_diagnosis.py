"""What a pass knows of pods and nodes, and when it looks again because time alone makes a cause of something."""

from llama_operator import catalog
from llama_operator.api.reasons import Reason
from llama_operator.decide.diagnosis.causes import causes
from llama_operator.kube import kinds
from llama_operator.kube.delegating import Delegating
from llama_operator.kube.port import Ref
from llama_operator.observe.endings import Endings
from llama_operator.observe.gather import Observer
from llama_operator.observe.pods import pod_facts
from llama_operator.observe.serving import NoServingReader
from support import recordings


async def seen(world, ref, cluster=None):
    """Causes of the only revision, as the next pass would find them."""
    observer = Observer(
        cluster or world.ports.cluster, catalog.load(), NoServingReader(), ended=world.ports.endings.of(ref)
    )
    observed = await observer.observe(ref, world.clock())
    (service,) = observed.ray_services
    return [cause.reason for cause in causes(observed, service.name)]


async def test_a_cluster_that_nobody_makes_is_looked_for_without_an_event(world):
    ref = await world.apply_sample("tiny-cpu")
    await world.reconcile(ref)
    await world.reconcile(ref)
    assert 0 < world.outcome.next_check <= 30
    assert await seen(world, ref) == []
    world.clock.advance(31)
    assert await seen(world, ref) == [Reason.CLUSTER_NOT_MADE]


async def test_a_pod_and_its_node_are_seen(world):
    ref = await world.apply_sample("tiny-cpu")
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.ray_cluster(name)
    pod = await world.pod("runs", "head", role="head", revision=name)
    assert await seen(world, ref) == [Reason.NODES_LOST]
    await world.user.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": pod["spec"]["nodeName"]}})
    assert await seen(world, ref) == []
    status = await world.reconcile(ref)
    assert await world.reconcile(ref) == status


class Behind(Delegating):
    """Its first list of RayClusters is from before they went; its pods are those of now."""

    def __init__(self, inner, before):
        super().__init__(inner)
        self.before = [before]

    async def list(self, kind, **options):
        if kind == kinds.RAY_CLUSTER and self.before:
            return self.before.pop()
        return await super().list(kind, **options)


async def test_pods_that_go_with_their_cluster_are_not_missed(world):
    ref = await world.apply_sample("tiny-cpu")
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.ray_cluster(name)
    cluster = Ref(kinds.RAY_CLUSTER, "default", f"{name}-abcde")
    ready = {"type": "HeadPodReady", "status": "True", "reason": "HeadPodRunningAndReady", "message": ""}
    ready |= {"lastTransitionTime": "2026-01-01T00:00:00Z"}
    live = await world.user.get(cluster)
    await world.kuberay.apply_status(kinds.identity(live) | {"status": {"conditions": [ready]}})
    assert await seen(world, ref) == [Reason.CLUSTER_NOT_MADE], "it is there, and nothing makes its pods again"
    before = await world.user.list(kinds.RAY_CLUSTER)
    await world.user.delete(cluster)
    assert await seen(world, ref, Behind(world.ports.cluster, before)) == [], "it is being deleted"
    await world.pods_are_gone(name)
    assert await seen(world, ref, Behind(world.ports.cluster, before)) == [], "it is gone"


async def test_what_a_pod_died_of_reaches_the_next_pass(world):
    ref = await world.apply_sample("tiny-cpu")
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    (ended,) = map(pod_facts, recordings.objects("out-of-memory"))
    assert isinstance(world.ports.endings, Endings)
    world.ports.endings.see(ref, ended)
    assert await seen(world, ref) == [], "of another revision"
    (item,) = recordings.objects("out-of-memory")
    item["metadata"]["labels"]["llama-operator.io/revision"] = name
    world.ports.endings.see(ref, pod_facts(item))
    assert await seen(world, ref) == [Reason.CONTAINER_FAILED]

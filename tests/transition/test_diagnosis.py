"""What a pass knows of pods and nodes, and when it looks again because time alone makes a cause of something."""

from llama_operator import catalog
from llama_operator.api.reasons import Reason
from llama_operator.decide.diagnosis.causes import causes
from llama_operator.kube import kinds
from llama_operator.observe.endings import Endings
from llama_operator.observe.gather import Observer
from llama_operator.observe.pods import pod_facts
from llama_operator.observe.serving import NoServingReader
from support import recordings


async def seen(world, ref):
    """Causes of the only revision, as the next pass would find them."""
    observer = Observer(world.ports.cluster, catalog.load(), NoServingReader(), ended=world.ports.endings.of(ref))
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

"""What only the command line asks for: the log of a pod, and what a Service answers. No node runs here: only an e2e test can see either."""

import contextlib

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import ConflictError, InvalidError, NotFoundError, Ref, UnavailableError

STATUS = "/llama/status"


@pytest.fixture
async def pod(user, objects, backend):
    """Makes a pod, on a node or on none."""
    if hasattr(backend, "ask"):
        # A controller makes it a moment later; a pod is refused without it.
        with contextlib.suppress(ConflictError):
            accounts = f"/api/v1/namespaces/{backend.namespace}/serviceaccounts"
            await backend.ask("POST", accounts, {"metadata": {"name": "default"}})

    async def make(**spec):
        container = {"name": "c", "image": "example.com/none:1"}
        await user.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "writer", "namespace": objects.namespace},
                "spec": {"containers": [container], "automountServiceAccountToken": False} | spec,
            }
        )
        return objects.ref(kinds.POD, "writer")

    return make


async def test_a_pod_that_is_not_there_has_no_log(user, objects):
    with pytest.raises(NotFoundError, match="writer"):
        await user.log(objects.ref(kinds.POD, "writer"), lines=5)


async def test_a_pod_on_no_node_has_written_nothing(user, pod):
    assert await user.log(await pod(), lines=5) == ""


async def test_of_several_containers_one_has_to_be_named(user, pod):
    both = [{"name": name, "image": "example/any:1"} for name in ("weights", "sidecar")]
    ref = await pod(containers=both)
    assert await user.log(ref, lines=5, container="sidecar") == ""
    with pytest.raises(UnavailableError, match="container name must be specified"):
        await user.log(ref, lines=5)
    with pytest.raises(UnavailableError, match="container absent is not valid"):
        await user.log(ref, lines=5, container="absent")


@pytest.fixture
async def silent_node(user, objects):
    """Name of a node whose kubelet does not answer."""
    ref = Ref(kinds.NODE, "", f"{objects.namespace}-node")
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": ref.name}}
    await user.apply(node)
    address, kubelet = {"type": "InternalIP", "address": "127.0.0.1"}, {"kubeletEndpoint": {"Port": 1}}
    await user.apply_status(node | {"status": {"addresses": [address], "daemonEndpoints": kubelet}})
    yield ref.name
    await user.delete(ref)


async def test_what_a_pod_wrote_is_not_known_while_its_node_does_not_answer(user, pod, silent_node):
    with pytest.raises(UnavailableError, match=r"log of Pod .*writer"):
        await user.log(await pod(nodeName=silent_node), lines=5)


async def test_a_service_that_is_not_there_answers_nothing(user, objects):
    with pytest.raises(NotFoundError, match="absent"):
        await user.ask(objects.ref(kinds.SERVICE, "absent"), port=8000, path=STATUS)


async def test_a_service_without_pods_does_not_answer(user, objects):
    metadata = {"name": "alone", "namespace": objects.namespace}
    ports = [{"name": "http", "port": 8000}]
    await user.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}})
    # A server that has no list of endpoints yet, because no controller runs, says that there is none.
    with pytest.raises((UnavailableError, NotFoundError), match="alone"):
        await user.ask(objects.ref(kinds.SERVICE, "alone"), port=8000, path=STATUS)


async def test_a_name_that_is_a_path_is_refused(user, objects):
    with pytest.raises((InvalidError, NotFoundError)):
        await user.ask(Ref(kinds.SERVICE, objects.namespace, "a/../b"), port=8000, path=STATUS)

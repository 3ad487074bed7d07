"""What Services answer, which only the command line asks. Nothing runs behind a Service here: an answer only an e2e test can see."""

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import InvalidError, NotFoundError, Ref, UnavailableError

STATUS = "/llama/status"


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

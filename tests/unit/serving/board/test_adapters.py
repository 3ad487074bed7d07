"""The list of models has the adapters that can be asked for, each for those who may use it."""

import httpx
import pytest

from llama_serving.board.application import board_application
from llama_serving.board.status import ReplicaCount, summarize
from llama_serving.config import BOARD_DEPLOYMENT, EngineSettings, ModelSource, Placement, ServingConfig
from llama_serving.config import board_application as rendered
from llama_serving.contract.adapters import Adapter, AdapterReport
from llama_serving.contract.status import DeploymentIdentity, ReplicaReport
from llama_serving.contract.tenants import DeskSettings
from llama_serving.door.caller import Caller, marked
from support.serving.configs import live_settings


@pytest.fixture
def config():
    return ServingConfig(
        model_id="tiny",
        source=ModelSource(kind="Generated", location="tiny"),
        engine=EngineSettings(tensor_parallel_size=1, max_model_len=512, max_num_seqs=4, cpu_kv_cache_mib=64),
        placement=Placement(device="CPU"),
        identity=DeploymentIdentity(namespace="team-a", name="chat", revision="chat-1"),
    )


class Silent:
    async def snapshot(self):
        return (), 0

    async def licenses(self):
        return None

    async def read(self):
        return ReplicaCount(serving=0, target=0)

    async def scaling(self):
        return None


@pytest.fixture
def get(config):
    """Asks the application as somebody whose key has these models."""

    async def adapters():
        return "one", "two"

    app = board_application(config, Silent(), Silent(), adapters)

    async def ask(path, *models):
        async def inside(scope, receive, send):
            caller = Caller(tenant="acme", key_id=None, models=models)
            await app(marked(scope, caller, "1"), receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(inside), base_url="http://board") as client:
            return await client.get(path)

    return ask


async def test_an_adapter_is_listed_with_its_model_as_parent(get):
    cards = (await get("/v1/models")).json()["data"]
    assert [(card["id"], card.get("parent")) for card in cards] == [("tiny", None), ("one", "tiny"), ("two", "tiny")]
    assert cards[1]["metadata"]["max_request_context_length"] == 512


@pytest.mark.parametrize(
    ("models", "seen"), [(("one",), ["one"]), (("tiny",), ["tiny"]), (("two", "one"), ["one", "two"]), (("other",), [])]
)
async def test_a_key_sees_what_it_may_use_and_the_rest_is_not_there(get, models, seen):
    assert [card["id"] for card in (await get("/v1/models", *models)).json()["data"]] == seen
    for name in ("tiny", "one", "two"):
        assert (await get(f"/v1/models/{name}", *models)).status_code == (200 if name in seen else 404)
    hidden, unknown = (await get("/v1/models/two", "one")).json(), (await get("/v1/models/three", "one")).json()
    assert hidden["error"]["message"].replace("two", "three") == unknown["error"]["message"]


def test_the_status_has_each_adapter_once_and_not_once_a_replica(config):
    reports = tuple(
        ReplicaReport(
            replica=name,
            waiting=0,
            running=0,
            kv_cache_usage=0,
            adapters=(AdapterReport(name="one", source="a", loaded=1, rank=8),),
        )
        for name in ("r1", "r2")
    )
    status = summarize(config, reports=reports, open_requests=0, running=2, target=2)
    assert [(one.name, one.loaded) for one in status.adapters] == [("one", 2)]
    assert [report.adapters for report in status.reports] == [(), ()]


@pytest.mark.parametrize(
    ("adapters", "told"), [(None, None), ((), []), ((Adapter(name="one", path="a"),), [{"name": "one", "path": "a"}])]
)
def test_the_board_is_told_the_list_where_there_is_room(adapters, told):
    application = rendered({}, live_settings(desk=DeskSettings(adapters=adapters)))
    if told is None:
        assert "deployments" not in application
    else:
        (board,) = application["deployments"]
        assert board["name"] == BOARD_DEPLOYMENT
        assert board["user_config"]["adapters"] == told

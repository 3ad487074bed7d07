"""The board over HTTP, without Serve: the list of models under all names."""

import httpx
import pytest

from llama_serving.board.application import board_application
from llama_serving.board.status import ReplicaCount
from support.serving.configs import MODEL, tiny_config

ALIAS, OTHER = "Llama-chat", "Llama-default"


class Reports:
    async def snapshot(self):
        return (), 0

    async def licenses(self):
        return ()

    async def read(self):
        return ReplicaCount(serving=1, target=1)

    async def scaling(self):
        return None


class Asked:
    """The board, asked by a caller whose key opens `models`."""

    def __init__(self, aliases):
        self.aliases = aliases
        self.app = board_application(tiny_config(), Reports(), Reports(), aliases=lambda: self.aliases)
        self.models = ()

    async def __call__(self, path, models=()):
        async def marked(scope, receive, send):
            await self.app({**scope, "llama.models": models}, receive, send)

        transport = httpx.ASGITransport(app=marked)
        async with httpx.AsyncClient(transport=transport, base_url="http://board") as client:
            return await client.get(path)


@pytest.mark.parametrize(
    ("models", "shown"),
    [
        ((), [MODEL, ALIAS, OTHER]),
        ((MODEL,), [MODEL, ALIAS, OTHER]),
        ((ALIAS,), [ALIAS]),
        (("Llama-elsewhere",), []),
    ],
)
async def test_a_caller_sees_the_names_that_its_key_opens(models, shown):
    board = Asked((ALIAS, OTHER, MODEL))
    listed = (await board("/v1/models", models)).json()["data"]
    assert [card["id"] for card in listed] == shown
    assert {card["metadata"]["model_id"] for card in listed} <= {MODEL}
    for name in (MODEL, ALIAS, OTHER):
        assert (await board(f"/v1/models/{name}", models)).status_code == (200 if name in shown else 404)


async def test_names_come_and_go():
    board = Asked(())
    assert (await board(f"/v1/models/{ALIAS}")).status_code == 404
    board.aliases = (ALIAS,)
    assert (await board(f"/v1/models/{ALIAS}")).json()["id"] == ALIAS

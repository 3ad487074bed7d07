"""What asks for keys serves nothing that came around the door."""

import httpx
import pytest

from llama_serving.contract.door import Access, DoorSettings
from llama_serving.door.caller import NOBODY, marked
from llama_serving.door.passed import OnlyThroughTheDoor

KEYS = DoorSettings(access=Access.KEYS, keys_folder="/keys")
OPEN = DoorSettings(access="Open")


async def behind(scope, receive, send):
    del scope, receive
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


async def asked(app):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
        return await client.post("/v1/messages", json={})


@pytest.mark.parametrize(("door", "status"), [(KEYS, 503), (OPEN, 200), (None, 200)])
async def test_without_a_door_in_front_only_an_open_endpoint_answers(door, status):
    answer = await asked(OnlyThroughTheDoor(behind, door=door))

    assert answer.status_code == status
    assert ("nothing in front of it has asked" in answer.text) is (status == 503)


async def test_what_a_door_has_marked_is_served():
    inner = OnlyThroughTheDoor(behind, door=KEYS)

    async def door(scope, receive, send):
        await inner(marked(scope, NOBODY, "1"), receive, send)

    assert (await asked(door)).status_code == 200

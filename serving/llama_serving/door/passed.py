"""Serves nothing that did not come through the door, where there has to be one. `engine.direct` puts it around its application.

Serve puts the door in front of its servers because an environment variable says so. If a version of Serve reads another
variable, or somebody takes it out of a pod, an endpoint that asks for keys must not become an open one.
"""

import logging
from typing import Final

from llama_serving.contract.door import Access, DoorSettings
from llama_serving.door.asgi import ASGIApp, Receive, Scope, Send
from llama_serving.door.caller import has_passed_the_door
from llama_serving.door.refusals import Refusal, send_refusal

_LOGGER = logging.getLogger("ray.serve")
_NO_DOOR: Final = Refusal(
    503,
    "The endpoint asks for keys, and nothing in front of it has asked for one, so it answers nothing. Tell the team that runs it.",
    code="door_missing",
)


class OnlyThroughTheDoor:
    """Pure ASGI: refuses requests that no door has marked, if the settings ask for keys.

    Args:
        app: What stands behind.
        door: Settings of the door; None if there is none.
    """

    def __init__(self, app: ASGIApp, *, door: DoorSettings | None) -> None:
        self._app = app
        self._needed = door is not None and door.access is Access.KEYS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if not self._needed or scope["type"] == "lifespan" or has_passed_the_door(scope):
            await self._app(scope, receive, send)
            return
        _LOGGER.error("A request came around the door and was refused")
        if scope["type"] == "http":
            await send_refusal(_NO_DOOR, scope["path"], send)
        else:
            await send({"type": "websocket.close", "code": 1008})

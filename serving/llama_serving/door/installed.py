"""Puts the door in front of the HTTP servers of Ray Serve. Serve imports it by `contract.door.DOOR_CALLBACK`.

Serve calls `middlewares` in each process that has an HTTP server: proxies, the proxy that wakes from zero, and replicas that
listen themselves. The last middleware of the list is the outermost, and all of them stand in front of Serve's own.
"""

import functools
import logging
import os
import uuid
from pathlib import Path

from pydantic import ValidationError
from starlette.middleware import Middleware

from llama_serving.contract.door import DOOR_VARIABLE, Access, DoorSettings
from llama_serving.door.application import Closed, Door
from llama_serving.door.keys import KeyFolder, Keys
from llama_serving.door.loop.connections import let_go_of_reset_connections
from llama_serving.door.refused_keys import RefusedKeys
from llama_serving.tracing import switch

_LOGGER = logging.getLogger("ray.serve")


def middlewares() -> list[Middleware]:
    """Return the door for this process; nothing if the pods have none."""
    let_go_of_reset_connections()
    text = os.environ.get(DOOR_VARIABLE)
    return [] if text is None else [_door(text)]


@functools.cache
def _door(text: str) -> Middleware:
    """The door for the settings in `text`. Serve asks again for each port that it tries; there is one table of keys."""
    try:
        settings = DoorSettings.model_validate_json(text)
        to_board = chooses_an_application()
    except Exception as error:  # noqa: BLE001 - an error here would start a server without a door, or none at all
        _LOGGER.error("%s cannot be used, so every request is refused: %s", DOOR_VARIABLE, _words(error))  # noqa: TRY400
        return Middleware(Closed)
    keys = None
    if settings.access is Access.KEYS and settings.keys_folder is not None:
        keys = Keys(KeyFolder(Path(settings.keys_folder)))
        keys.start()
    return Middleware(
        Door,
        settings=settings,
        keys=keys,
        to_board=to_board,
        new_id=lambda: uuid.uuid4().hex,
        refused_keys=RefusedKeys(),
        traces=switch.traces(),
    )


def chooses_an_application() -> bool:
    """Whether this process is a proxy of Serve on the direct path, which hands requests to one of two applications.

    A replica answers by itself, and the path `Ingress` has one application for all. Serve has no public word for either: it
    makes the context of a replica before it starts the replica's server, and in no proxy.
    """
    from ray.serve._private.constants import RAY_SERVE_ENABLE_HA_PROXY  # noqa: PLC0415 - tests of the door need no Ray
    from ray.serve.context import _get_internal_replica_context  # noqa: PLC0415

    return bool(RAY_SERVE_ENABLE_HA_PROXY) and _get_internal_replica_context() is None


def _words(error: Exception) -> str:
    """What is wrong with the settings, without their values."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'the whole'}: {one['msg']}" for one in error.errors())
    return str(error)

"""Who sends a request, as the door found out. The desk and the board read it from the ASGI scope.

It stands in the scope and never in a header: no client can write it, and Serve carries the scope from its proxies to the
replicas. The values are plain texts for that reason.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from llama_serving.contract.tenants import ANONYMOUS
from llama_serving.door.asgi import Scope

TENANT: Final = "llama.tenant"
KEY: Final = "llama.key"
MODELS: Final = "llama.models"
REQUEST: Final = "llama.request"

AT_OWN_DOOR: Final[ContextVar[bool]] = ContextVar("llama_own_door", default=False)
"""Whether the request that runs came in by the door of this process. Unlike the scope it is not carried to another one. The server
behind that door ends the request when its client leaves."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request.

    Attributes:
        tenant: Who pays, and whose limits count.
        key_id: Id of the key; None where none is asked for.
        models: Names on the endpoint that the caller may ask for; empty for all.
    """

    tenant: str = ANONYMOUS
    key_id: str | None = None
    models: tuple[str, ...] = ()

    def may_ask_for(self, name: str) -> bool:
        """Whether the caller may ask for the model or adapter that is called `name`, and see it in lists."""
        return not self.models or name in self.models


NOBODY: Final = Caller()
"""Caller of an endpoint that asks for no key."""


def marked(scope: Scope, caller: Caller, request_id: str) -> Scope:
    """Return a copy of `scope` that says who sends the request, and under which id it is known."""
    return {
        **scope,
        TENANT: caller.tenant,
        KEY: caller.key_id,
        MODELS: caller.models,
        REQUEST: request_id,
    }


def has_passed_the_door(scope: Scope) -> bool:
    """Whether the door let the request in. An endpoint with keys serves no other requests."""
    return TENANT in scope


def caller_of(scope: Scope) -> Caller:
    """Return who sends the request; `NOBODY` where there is no door."""
    return Caller(
        tenant=scope.get(TENANT, ANONYMOUS),
        key_id=scope.get(KEY),
        models=tuple(scope.get(MODELS, ())),
    )


def request_id_of(scope: Scope) -> str | None:
    """Return the id of the request, which the answer has as `x-request-id`; None where there is no door."""
    found: str | None = scope.get(REQUEST)
    return found

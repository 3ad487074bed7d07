"""Which requests have a trace, and how it begins. `door.application` calls it."""

from typing import Final

from llama_serving.config import STATUS_PATH
from llama_serving.contract.usage import DIALECTS
from llama_serving.door.asgi import Scope
from llama_serving.door.headers import RequestHeaders, trace_of
from llama_serving.door.routes import HEALTH_PATH, ROUTES_PATH, listed
from llama_serving.tracing.names import OPERATIONS
from llama_serving.tracing.request import UNTRACED, RequestTrace, Traces

_OF_MACHINES: Final = frozenset((STATUS_PATH, HEALTH_PATH, ROUTES_PATH))
"""Asked for every second by HAProxy, Kubernetes and the operator: traces would hold nothing else."""

_OPERATIONS: Final = {path: OPERATIONS[dialect] for path, dialect in DIALECTS.items()}
_METHODS: Final = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))


def begin(traces: Traces | None, scope: Scope, sent: RequestHeaders, request_id: str) -> RequestTrace:
    """Begin the trace of a request of HTTP.

    Args:
        traces: Those of the process; None where they are off.
        scope: The request.
        sent: Its headers.
        request_id: Id that the door gave it.
    """
    if traces is None:
        return UNTRACED
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    if path in _OF_MACHINES:
        return UNTRACED
    method: str = scope["method"]
    return traces.begin(
        # Clients write what they like there.
        method=method if method in _METHODS else "_OTHER",
        route=path if listed(path) else None,
        operation=_OPERATIONS.get(path),
        request_id=request_id,
        parent=trace_of(sent),
    )

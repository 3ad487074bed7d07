"""What can be asked of an endpoint at all: all that is not listed here does not exist. `door.application` judges by it.

vLLM's application has some eighty routes, and a new version adds more: tokenizers, metrics, scaling, weights. So the list says
what is open. A path is judged as it came over the wire, before anything was decoded. Each layer behind decodes and joins paths
in its own way, and what only one of them takes for a listed path must reach none.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from llama_serving.config import ABOUT_PATH, BOARD_PREFIX, LICENSES_PATH, STATUS_PATH
from llama_serving.door.asgi import Scope
from llama_serving.door.refusals import MESSAGES_PATH, Refusal

MODELS_PATH: Final = "/v1/models"
HEALTH_PATH: Final = "/-/healthz"
ROUTES_PATH: Final = "/-/routes"


@dataclass(frozen=True, slots=True)
class Route:
    """What holds for a path.

    Attributes:
        methods: Methods that are answered.
        public: Whether it is answered without a key.
        boards: Whether the board answers it, so that it needs no engine.
        refusal: Why it is refused although clients may expect it; None if it is answered.
    """

    methods: tuple[str, ...]
    public: bool = False
    boards: bool = False
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for: a path in the one form that the next layer gets, and what holds for it."""

    path: str
    route: Route


_GENERATES: Final = Route(("POST",))
_MODELS: Final = Route(("GET",), boards=True)
# A license has to be within reach of everyone who gets the output, and they may have no key.
_LICENSES: Final = Route(("GET",), public=True, boards=True)
_NO_TASK: Final = Refusal(
    404,
    "This model answers chat and completion requests; it makes no embeddings and no scores. "
    "Send POST /v1/chat/completions, /v1/completions, /v1/responses or /v1/messages, "
    "or ask an endpoint with an embedding model.",
    code="unsupported_endpoint",
)
_OTHER_TASKS: Final = ("embeddings", "rerank", "score")

EXACT: Final[dict[str, Route]] = {
    "/v1/chat/completions": _GENERATES,
    "/v1/completions": _GENERATES,
    "/v1/responses": _GENERATES,
    MESSAGES_PATH: _GENERATES,
    f"{MESSAGES_PATH}/count_tokens": _GENERATES,
    MODELS_PATH: _MODELS,
    ABOUT_PATH: _LICENSES,
    LICENSES_PATH: _LICENSES,
    # The operator asks it, and it has no key. It tells counts and the length of queues, nothing of requests.
    STATUS_PATH: Route(("GET",), public=True),
    # HAProxy asks each replica and proxy, Kubernetes and KubeRay each pod. Nobody of them has a key.
    HEALTH_PATH: Route(("GET", "HEAD"), public=True),
    # As old readiness checks of KubeRay ask it; HAProxy answers it to everyone by itself.
    ROUTES_PATH: Route(("GET",), public=True),
    **{f"/v1/{task}": Route(("POST",), refusal=_NO_TASK) for task in _OTHER_TASKS},
    "/pooling": Route(("POST",), refusal=_NO_TASK),
}
"""What is listed, by path."""
BELOW: Final[dict[str, Route]] = {f"{MODELS_PATH}/": _MODELS, f"{LICENSES_PATH}/": _LICENSES}
"""What is listed for names below a path."""

_LONGEST_TAIL: Final = 512
_SEGMENT: Final = re.compile(r"[^/\\%?#;\ufffd]+")

NOT_FOUND: Final = Refusal(
    404,
    "There is nothing at this path. This endpoint answers POST /v1/chat/completions, /v1/completions, /v1/responses and "
    "/v1/messages, and GET /v1/models, /about and /licenses. Paths are taken as they are written: without double slashes, "
    "dots or a slash at the end.",
    code="unknown_url",
)


def asked(scope: Scope) -> Asked | Refusal:
    """Say what a request of HTTP asks for.

    Returns:
        What is asked for; or 404 if the path is not listed, 405 if its method is not, and the words of a route that is refused.
    """
    path = _listed(scope)
    if path is None:
        return NOT_FOUND
    route = EXACT.get(path) or next(route for prefix, route in BELOW.items() if path.startswith(prefix))
    if scope["method"] not in route.methods:
        allowed = ", ".join(route.methods)
        words = f"This path answers {allowed}, not {_word(scope['method'])}. Send the request with {allowed}."
        return Refusal(405, words, code="method_not_allowed", headers=((b"allow", allowed.encode()),))
    return Asked(path, route)


def listed(path: str) -> bool:
    """Whether `path` is one of those that are written out: few enough to be a label."""
    return path in EXACT


def at_the_board(what: Asked) -> str:
    """Return the path that a proxy of Serve shall route by: what the board answers goes to the board's application.

    A proxy would start an engine for any path of the engine's application, for lists and license pages as well.
    """
    return BOARD_PREFIX + what.path if what.route.boards else what.path


def with_path(scope: Scope, path: str) -> Scope:
    """Return a copy of `scope` that asks for `path`, and has no query: none of the routes has one."""
    root = scope.get("root_path", "")
    whole = root + path
    return {**scope, "path": whole, "raw_path": quote(whole, safe="/").encode(), "query_string": b""}


def _listed(scope: Scope) -> str | None:
    """The path of the request if it is listed; None if it is not, or is not written in the one form that is understood."""
    root, path = scope.get("root_path", ""), scope["path"]
    if not path.startswith(root):
        return None
    path = path[len(root) :]
    raw = _raw(scope, path, root)
    if path in EXACT:
        return path if raw == path else None
    for prefix in BELOW:
        if raw.startswith(prefix) and path.startswith(prefix):
            tail = path[len(prefix) :]
            return path if unquote(raw[len(prefix) :]) == tail and _is_a_name(tail) else None
    return None


def _raw(scope: Scope, path: str, root: str) -> str:
    """The path as it came over the wire, without `root`; servers need not say it."""
    raw = scope.get("raw_path")
    return quote(path, safe="/") if raw is None else raw.decode("latin-1").removeprefix(root)


def _is_a_name(tail: str) -> bool:
    """Whether `tail` is the name of a model or a license file: parts between single slashes, none of them dots."""
    if len(tail) > _LONGEST_TAIL or not tail.isprintable():
        return False
    return all(_SEGMENT.fullmatch(part) and part not in {".", ".."} for part in tail.split("/"))


def _word(method: str) -> str:
    """A method as it may be shown: clients write what they like there."""
    return method if method.isalpha() and len(method) <= len("PROPPATCH") else "this method"

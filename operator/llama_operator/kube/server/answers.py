"""What an API server's answer means: the error of the port that an HTTP status and a `Status` object stand for.

Pure. Called by `transport` for answers, and by `client` for the errors that come through a watch. Messages are those of the
server, which name the object and the field; nothing of the request, whose headers hold a token, goes into them.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from llama_operator.kube.port import (
    ConflictError,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    KubeError,
    NotFoundError,
    UnavailableError,
)

_BY_STATUS: Final[Mapping[int, type[KubeError]]] = {
    HTTPStatus.BAD_REQUEST: InvalidError,
    HTTPStatus.UNAUTHORIZED: ForbiddenError,
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.GONE: ExpiredError,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: InvalidError,
    HTTPStatus.UNPROCESSABLE_ENTITY: InvalidError,
    HTTPStatus.TOO_MANY_REQUESTS: UnavailableError,
}
_RIGHT = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]*)" in API group "(?P<group>[^"]*)"'
)
_UNTYPED = ("failed to create typed patch object", "failed to create manager for existing fields")
_FIELD_CONFLICT = "FieldManagerConflict"


def error(status: int, answer: Mapping[str, Any], what: str) -> KubeError:
    """Return the error for an answer.

    Args:
        status: HTTP status, or the code of a `Status` that came through a watch.
        answer: The `Status` object; empty when the body was none, as from a proxy in between.
        what: What was asked, for the message: `apply of Service team-a/chat`.
    """
    message = str(answer.get("message") or "").strip() or f"HTTP status {status}"
    kind = _BY_STATUS.get(status, UnavailableError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else KubeError)
    if is_untyped(answer):
        kind = InvalidError
    if status == HTTPStatus.NOT_FOUND and not answer:
        # What does not exist in a kind that exists is told by a `Status`.
        return kind(f"{what}: the API server does not serve this kind; install its CRDs")
    if status == HTTPStatus.UNAUTHORIZED:
        return kind(f"{what}: the API server does not accept the credentials ({message}); renew or replace them")
    return kind(f"{what}: {message}{_advice(status, message)}")


def served_kinds(answer: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]] | None:
    """Return the versions by `plural.group` of an `APIGroupDiscoveryList`; None if the answer is something else."""
    if answer.get("kind") != "APIGroupDiscoveryList":
        return None
    served: dict[str, tuple[str, ...]] = {}
    for group in answer.get("items") or ():
        for version in group.get("versions") or ():
            for resource in version.get("resources") or ():
                kind = f"{resource['resource']}.{group['metadata']['name']}"
                served[kind] = (*served.get(kind, ()), version["version"])
    return served


def is_field_conflict(answer: Mapping[str, Any]) -> bool:
    """Whether a 409 says that another manager owns a field; other conflicts are races that a second try wins."""
    causes = (answer.get("details") or {}).get("causes") or ()
    return any(cause.get("reason") == _FIELD_CONFLICT for cause in causes)


def is_unexplained(answer: Mapping[str, Any]) -> bool:
    """Whether a 422 names no field: the server says so of a JSON patch that it could not do, without the reason."""
    return not (answer.get("details") or {}).get("causes")


def is_untyped(answer: Mapping[str, Any]) -> bool:
    """Whether an applied object does not fit its schema: the server answers that with 500, though it is our mistake."""
    return str(answer.get("message") or "").startswith(_UNTYPED)


def _advice(status: int, message: str) -> str:
    if status == HTTPStatus.FORBIDDEN and (found := _RIGHT.search(message)):
        group = f"API group {found['group']}" if found["group"] else "the core API group"
        return f". Missing right: verb `{found['verb']}` on `{found['resource']}` in {group}; grant it by a role"
    return ""

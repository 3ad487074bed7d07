"""What an API server's answer means: the error of the port that an HTTP status and a `Status` object stand for.

Pure. Called by `transport` and `client` for answers, and by `watching` for the errors that come through a watch. The messages are
the server's: they name the object and the field. Nothing of the request, whose headers hold a token, goes into them.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from llama_operator.kube.port import (
    ConflictError,
    ExpiredError,
    FieldConflictError,
    ForbiddenError,
    InvalidError,
    KubeError,
    NotFoundError,
    Right,
    UnavailableError,
    WebhookFailedError,
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
_MISSING = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"/]*)/?(?P<subresource>[^"]*)"'
    r' in API group "(?P<group>[^"]*)"(?: in the namespace "(?P<namespace>[^"]*)")?'
)
"""What every API server says of a missing right: user and verb are only in the message. Kubernetes' own tests hold the words."""
_UNTYPED = ("failed to create typed patch object", "failed to create manager for existing fields")
_FIELD_CONFLICT = "FieldManagerConflict"
_NAMESPACE_ENDING = "NamespaceTerminating"
_WEBHOOK_FAILED = "failed calling webhook"


def error(status: int, answer: Mapping[str, Any], what: str) -> KubeError:
    """Return the error for an answer.

    Args:
        status: HTTP status, or the code of a `Status` that came through a watch.
        answer: The `Status` object; empty if the body was not one, as from a proxy in between.
        what: What was asked, for the message: `apply of Service team-a/chat`.
    """
    message = str(answer.get("message") or "").strip() or f"HTTP status {status}"
    kind = _BY_STATUS.get(status, UnavailableError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else KubeError)
    if is_untyped(answer):
        kind = InvalidError
    if status == HTTPStatus.CONFLICT and is_field_conflict(answer):
        return FieldConflictError(f"{what}: {message}")
    if status == HTTPStatus.NOT_FOUND and not answer:
        # A 404 without a Status body means that the kind itself is unknown.
        return kind(f"{what}: the API server does not serve this kind; install its CRDs")
    if status == HTTPStatus.UNAUTHORIZED:
        return kind(f"{what}: the API server does not accept the credentials ({message}); renew or replace them")
    if status == HTTPStatus.FORBIDDEN:
        if (missing := _missing_right(answer)) is not None:
            return ForbiddenError(f"{what}: {message}. {_advice(missing)}", missing)
        return ForbiddenError(f"{what}: {message}", ending=_has_cause(answer, _NAMESPACE_ENDING))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and _WEBHOOK_FAILED in message:
        return WebhookFailedError(f"{what}: {message}")
    return kind(f"{what}: {message}")


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
    """Whether a 409 says that another manager owns a field. Other conflicts are races, which a second try wins."""
    return _has_cause(answer, _FIELD_CONFLICT)


def _has_cause(answer: Mapping[str, Any], reason: str) -> bool:
    causes = (answer.get("details") or {}).get("causes") or ()
    return any(cause.get("reason") == reason for cause in causes)


def is_unexplained(answer: Mapping[str, Any]) -> bool:
    """Whether a 422 names no field: a server answers so to a JSON patch that failed, and does not say why."""
    return not (answer.get("details") or {}).get("causes")


def is_untyped(answer: Mapping[str, Any]) -> bool:
    """Whether an applied object does not fit its schema: a server answers with 500, though it is our mistake."""
    return str(answer.get("message") or "").startswith(_UNTYPED)


def _missing_right(answer: Mapping[str, Any]) -> Right | None:
    if (match := _MISSING.search(" ".join(str(answer.get("message") or "").split()))) is None:
        return None
    parts = {name: value or "" for name, value in match.groupdict().items()}
    return Right(**parts, name=str((answer.get("details") or {}).get("name") or ""))


def _advice(missing: Right) -> str:
    resource = f"{missing.resource}/{missing.subresource}" if missing.subresource else missing.resource
    group = f"API group {missing.group}" if missing.group else "the core API group"
    return f"Missing right: verb `{missing.verb}` on `{resource}` in {group}; grant it by a role"

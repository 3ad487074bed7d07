"""Reads and applies objects as the administrator, in this process. Used by `plane`.

A kubectl costs a fifth of a second of CPU, and a test that waits looks hundreds of times.
"""

import json
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from control_plane.processes import PlaneError

_SERVED_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.2
_TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io"
_CHANGES: Final = frozenset(("ADDED", "MODIFIED"))
_DISCOVERY: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class _Resource:
    """Where the objects of a kind are."""

    prefix: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None, name: str = "") -> str:
        place = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.prefix}{place}/{self.plural}" + (f"/{name}" if name else "")


@dataclass(frozen=True, slots=True)
class Write:
    """A change of one object, as the server gets it.

    Attributes:
        method: Of HTTP.
        kind: Named as for kubectl, or as apiVersion/kind.
        name: Of the object; none where it is created.
        part: A part that is written by itself, `status`.
        content: Object or patch as JSON.
        content_type: What the content is.
    """

    method: str
    kind: str
    name: str = ""
    part: str = ""
    content: str | None = None
    content_type: str = "application/json"


class ApiClient:
    """An administrator's connection.

    Args:
        server: URL of the API server.
        context: Whom to trust, and the client certificate.
    """

    def __init__(self, server: str, context: ssl.SSLContext) -> None:
        self._http = httpx.Client(base_url=server, verify=context, timeout=60)
        self._known: dict[str, _Resource] = {}

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def list(self, kinds: str, *, namespace: str | None = None, labels: str = "") -> list[dict[str, Any]]:
        """The objects of `kinds`, which are named as for kubectl (`lld,jobs.batch`), with `labels` (`a=b`).

        Raises:
            PlaneError: A kind does not exist, or the server refused.
        """
        found: list[dict[str, Any]] = []
        for kind in kinds.split(","):
            listing = self._ask("GET", self._resource(kind).path(namespace), params={"labelSelector": labels})
            identity = {"apiVersion": listing["apiVersion"], "kind": listing["kind"].removesuffix("List")}
            found += [identity | item for item in listing["items"]]
        return found

    def find(self, kind: str, name: str, *, namespace: str | None = None) -> dict[str, Any] | None:
        """An object; None if there is none, or if the server is away.

        Raises:
            PlaneError: The kind does not exist, or the server refused.
        """
        end = time.monotonic() + _SERVED_SECONDS
        path = self._resource(kind).path(namespace, name)
        try:
            while _is_busy(answer := self._http.get(path)) and time.monotonic() < end:
                time.sleep(_PAUSE_SECONDS)
        except httpx.TransportError:
            return None
        return None if answer.status_code == httpx.codes.NOT_FOUND else _checked(answer)

    def apply(self, obj: Mapping[str, Any]) -> None:
        """Apply an object, server-side and by force, under kubectl's field manager.

        Raises:
            PlaneError: It was refused.
        """
        self._apply(obj, force="true")

    def refusal(self, obj: Mapping[str, Any], *, force: bool, user: str = "") -> str:
        """What the server says against applying an object, without doing it; empty if it would take it.

        Args:
            obj: The object.
            force: Whether fields are taken over from other field managers.
            user: Who applies it; the administrator by default.
        """
        try:
            self._apply(obj, user, force=str(force).lower(), dryRun="All")
        except PlaneError as error:
            return str(error)
        return ""

    def refusal_of(self, write: Write, *, namespace: str, user: str, groups: Sequence[str] = ()) -> str:
        """What the server says against a write of `user`, who is in `groups`, without doing it; empty if it would do it."""
        resource = self._resource(write.kind)
        try:
            self._ask(
                write.method,
                resource.path(namespace, write.name) + (f"/{write.part}" if write.part else ""),
                params={"dryRun": "All"} | ({} if write.method == "DELETE" else {"fieldManager": "kubectl"}),
                content=write.content,
                headers=[("Content-Type", write.content_type), *_as(user, groups)],
            )
        except PlaneError as error:
            return str(error)
        return ""

    def _apply(self, obj: Mapping[str, Any], user: str = "", **parameters: str) -> None:
        metadata = obj["metadata"]
        resource = self._resource(f"{obj['apiVersion']}/{obj['kind']}")
        self._ask(
            "PATCH",
            resource.path(metadata.get("namespace") or "default", metadata["name"]),
            params={"fieldManager": "kubectl", "fieldValidation": "Strict", **parameters},
            content=json.dumps(obj),
            headers=[("Content-Type", "application/apply-patch+yaml"), *_as(user)],
        )

    def patch(
        self, kind: str, name: str, change: Mapping[str, Any], *, namespace: str | None = None, part: str = ""
    ) -> dict[str, Any]:
        """Change an object, or a `part` of it (`status`), by a strategic merge where the kind knows one; returns it.

        Raises:
            PlaneError: It was refused.
        """
        resource = self._resource(kind)
        how = "merge-patch" if "." in resource.prefix else "strategic-merge-patch"
        path = resource.path(namespace, name) + (f"/{part}" if part else "")
        headers = {"Content-Type": f"application/{how}+json"}
        return self._ask("PATCH", path, content=json.dumps(change), headers=headers)

    def delete(self, kind: str, name: str, *, namespace: str | None = None) -> None:
        """Ask that an object be deleted; one that is not there is deleted already.

        Raises:
            PlaneError: It was refused.
        """
        answer = self._http.request("DELETE", self._resource(kind).path(namespace, name))
        if answer.status_code != httpx.codes.NOT_FOUND:
            _checked(answer)

    def table(self, kind: str, *, namespace: str | None = None) -> Sequence[dict[str, str]]:
        """What `kubectl get KIND` shows, each row by its headings.

        Raises:
            PlaneError: The kind does not exist, or the server refused.
        """
        shown = self._ask("GET", self._resource(kind).path(namespace), headers={"Accept": _TABLE})
        headings = [column["name"] for column in shown["columnDefinitions"]]
        return [dict(zip(headings, map(str, row["cells"]), strict=True)) for row in shown.get("rows") or ()]

    def watch(self, kind: str) -> Iterator[dict[str, Any]]:
        """The objects of a kind in all namespaces, and each version of them to come; ends when the connection does."""
        path = self._resource(kind).path(None)
        try:
            with self._http.stream("GET", path, params={"watch": "1"}, timeout=None) as answer:
                for line in answer.iter_lines():
                    change = json.loads(line)
                    if change["type"] in _CHANGES:
                        yield change["object"]
        except (httpx.TransportError, httpx.StreamError):
            return

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        end = time.monotonic() + _SERVED_SECONDS
        try:
            while _passes(answer := self._http.request(method, path, **options)) and time.monotonic() < end:
                time.sleep(_PAUSE_SECONDS)
        except httpx.TransportError as error:
            raise PlaneError(f"{method} {path}: {error!r}") from error
        return _checked(answer)

    def _resource(self, name: str) -> _Resource:
        end = time.monotonic() + _SERVED_SECONDS
        while name not in self._known:
            # A definition may have come since.
            self._known = dict(self._discover())
            if name not in self._known:
                if time.monotonic() >= end:
                    raise PlaneError(f"the server has no kind {name}")
                time.sleep(_PAUSE_SECONDS)
        return self._known[name]

    def _discover(self) -> Iterator[tuple[str, _Resource]]:
        """Every kind under all names that kubectl takes, and as apiVersion/kind; of two kinds of one name the first counts."""
        seen: set[str] = set()
        for root in ("/api", "/apis"):
            for group in self._ask("GET", root, headers={"Accept": _DISCOVERY})["items"]:
                name = group["metadata"].get("name", "")
                for version in group["versions"]:
                    api = f"{name}/{version['version']}" if name else version["version"]
                    for entry in version.get("resources", ()):
                        resource = _Resource(f"{root}/{api}", entry["resource"], entry["scope"] == "Namespaced")
                        for spelled in _spellings(entry, name, version["version"], api):
                            if spelled not in seen:
                                seen.add(spelled)
                                yield spelled, resource


def _as(user: str, groups: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    if user:
        yield "Impersonate-User", user
    yield from (("Impersonate-Group", group) for group in groups)


def _spellings(entry: Mapping[str, Any], group: str, version: str, api: str) -> Iterator[str]:
    plural = entry["resource"]
    yield from (plural, f"{plural}.{group}", f"{plural}.{version}.{group}", f"{api}/{entry['responseKind']['kind']}")
    singular = entry.get("singularResource", plural)
    yield from (singular, f"{singular}.{version}.{group}", *entry.get("shortNames", ()))


def _passes(answer: httpx.Response) -> bool:
    """Whether the same request may succeed in a moment; the storage of a definition is set up again when that changes."""
    return _not_served(answer) or _is_busy(answer)


def _is_busy(answer: httpx.Response) -> bool:
    busy = answer.status_code in {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE}
    return busy and "retry-after" in answer.headers


def _not_served(answer: httpx.Response) -> bool:
    """Whether the kind is not served: one that was defined a moment ago is served a moment later."""
    return answer.status_code == httpx.codes.NOT_FOUND and "json" not in answer.headers.get("content-type", "")


def _checked(answer: httpx.Response) -> dict[str, Any]:
    if _not_served(answer):
        raise PlaneError(f"{answer.request.method} {answer.request.url.path}: the server does not serve this kind")
    content: dict[str, Any] = answer.json()
    if answer.is_error:
        raise PlaneError(f"{answer.request.method} {answer.request.url.path}: {content.get('message', answer.text)}")
    return content

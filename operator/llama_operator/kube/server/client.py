"""The port to Kubernetes on a real API server, by raw JSON over HTTP.

`process` and the command line get it from `connect`. One contract suite holds it and the in-memory twin to the same
semantics; see docs/designs/0005-kubernetes-port.md.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from llama_operator.api import paths
from llama_operator.kube import json_patch, kinds
from llama_operator.kube.port import (
    BACKGROUND,
    NO_LABELS,
    NO_PRECONDITIONS,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    JsonPatch,
    Kind,
    Listing,
    NotFoundError,
    Object,
    Preconditions,
    Propagation,
    Ref,
    Selector,
    UnavailableError,
    WatchEvent,
)
from llama_operator.kube.server import addresses, answers, credentials
from llama_operator.kube.server.transport import NO_QUERY, RefusedError, Request, Transport
from llama_operator.kube.server.watching import Watch

_APPLY: Final = "application/apply-patch+yaml"
_JSON_PATCH: Final = "application/json-patch+json"
_MERGE_PATCH: Final = "application/merge-patch+json"
_DISCOVERY: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""All groups with their kinds in one answer, instead of one answer for each group."""
_REVIEWS: Final = "authorization.k8s.io/v1"
_LOG_BYTES: Final = 4 << 20
"""Most of a log that is read; lines may be as long as their writer likes."""
_RACES: Final = 3
"""Tries of an apply that loses races; before each answer the server itself has tried several times."""


class KubernetesCluster:
    """One writer's view of a real cluster: the ports `Cluster`, `PodLogs` and `Services`. Made by `connect`."""

    def __init__(self, transport: Transport, field_manager: str, *, namespace: str, page: int, silence: float) -> None:
        self._transport = transport
        self._field_manager = field_manager
        self._page = page
        self._silence = silence
        self.namespace = namespace
        """Namespace of the kubeconfig's context, or of the pod."""

    def client(self, field_manager: str) -> "KubernetesCluster":
        """Return a view that writes as another field manager, over the same connections."""
        return KubernetesCluster(
            self._transport, field_manager, namespace=self.namespace, page=self._page, silence=self._silence
        )

    async def get(self, ref: Ref) -> Object:
        """Return the object; see `Cluster.get`."""
        return await self._transport.send(Request("GET", addresses.of_object(ref), f"read of {ref}"))

    async def list(
        self, kind: Kind, *, namespace: str | None = None, labels: Selector = NO_LABELS, fields: Selector = NO_LABELS
    ) -> Listing:
        """List a kind in pages; see `Cluster.list`. Starts again, in one piece, when a page comes too late."""
        try:
            return await self._list(kind, namespace, labels, fields, self._page)
        except ExpiredError:
            return await self._list(kind, namespace, labels, fields, 0)

    def watch(self, kind: Kind, *, since: str, namespace: str | None = None) -> AsyncIterator[WatchEvent]:
        """Yield every change after `since`; see `Cluster.watch`. Reconnects by itself, without a gap."""
        return Watch(self._transport, kind, namespace, silence=self._silence).events(since)

    async def apply(self, obj: Object, *, force: bool = True, manager: str = "") -> Object:
        """Server-side apply; see `Cluster.apply`."""
        return await self._apply(obj, "", force=force, manager=manager)

    async def apply_status(self, obj: Object) -> Object:
        """Server-side apply of the status; see `Cluster.apply_status`."""
        sent: dict[str, Any] = {name: obj[name] for name in ("apiVersion", "kind", "status") if name in obj}
        metadata = {
            name: value
            for name, value in obj.get("metadata", {}).items()
            if name in {"name", "namespace", "uid", "resourceVersion"}
        }
        sent |= {"metadata": metadata}
        try:
            live = await self._apply(sent, "status", force=True)
        except InvalidError as error:
            live = await self._patch_status_of_older(sent, error)
        left = paths.beyond(live.get("status"), sent.get("status", {}))
        return await self._patch_status(sent, {"status": left}) if left else live

    async def _patch_status_of_older(self, sent: Object, error: InvalidError) -> Object:
        """Write a status that the server's definition refuses: an apply must fit it, a patch loses what it does not have."""
        try:
            return await self._patch_status(sent, {name: sent[name] for name in ("metadata", "status") if name in sent})
        except InvalidError:
            raise error from None

    async def _patch_status(self, obj: Object, patch: Object) -> Object:
        ref = kinds.address_to_write(obj)
        path, what = addresses.of_object(ref, "status"), f"patch of status of {ref}"
        return await self._transport.send(Request("PATCH", path, what, self._manager(), patch, _MERGE_PATCH))

    async def patch(self, ref: Ref, operations: Sequence[JsonPatch]) -> Object:
        """Change parts of an object in place; see `Cluster.patch`."""
        path, what, body = addresses.of_object(ref), f"patch of {ref}", json_patch.encode(operations)
        request = Request("PATCH", path, what, self._manager(), body, _JSON_PATCH, repeatable=False)
        try:
            return await self._transport.exchange(request)
        except RefusedError as refused:
            error = answers.error(refused.status, refused.answer, what)
            if refused.status != HTTPStatus.UNPROCESSABLE_ENTITY or not answers.is_unexplained(refused.answer):
                raise error from None
        # The server does not say which operation failed: trying them on the object does.
        json_patch.apply(await self.get(ref), operations, str(ref))
        raise error

    async def delete(
        self, ref: Ref, *, preconditions: Preconditions = NO_PRECONDITIONS, propagation: Propagation = BACKGROUND
    ) -> None:
        """Delete; see `Cluster.delete`."""
        expected = {"uid": preconditions.uid, "resourceVersion": preconditions.resource_version}
        options: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation.value,
            "preconditions": {name: value for name, value in expected.items() if value is not None},
        }
        request = Request("DELETE", addresses.of_object(ref), f"deletion of {ref}", NO_QUERY, options)
        await self._transport.send(request)

    async def server_version(self) -> str:
        """Version of the API server, as `v1.37.0`; every authenticated user may ask."""
        answer = await self._transport.send(Request("GET", "/version", "version of the API server"))
        return str(answer["gitVersion"])

    async def served_kinds(self) -> Mapping[str, tuple[str, ...]] | None:
        """Served versions of every kind outside the core group, by `plural.group`; None if the server does not tell.

        Every authenticated user may ask.
        """
        request = Request("GET", "/apis", "discovery of kinds", NO_QUERY, accept=_DISCOVERY)
        return answers.served_kinds(await self._transport.send(request))

    async def may_watch(self, kind: Kind, namespace: str) -> bool:
        """Whether we may watch a kind in a namespace, or everywhere if that is empty; True where the server does not tell.

        Every authenticated user may ask that about itself.
        """
        group = kind.api_version.rpartition("/")[0]
        asked = {"verb": "watch", "group": group, "resource": kind.plural, "namespace": namespace}
        review: Object = {
            "apiVersion": _REVIEWS,
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        path, what = f"/apis/{_REVIEWS}/selfsubjectaccessreviews", f"question whether {kind.plural} may be watched"
        try:
            answer = await self._transport.send(Request("POST", path, what, NO_QUERY, review))
        except (ForbiddenError, NotFoundError):
            return True
        return bool((answer.get("status") or {}).get("allowed", True))

    async def log(self, pod: Ref, *, lines: int, container: str = "") -> str:
        """Return the last lines of a pod's log; see `PodLogs.log`."""
        query = {"tailLines": str(lines), "limitBytes": str(_LOG_BYTES)} | (
            {"container": container} if container else {}
        )
        path, what = addresses.of_object(pod, "log"), f"log of {pod}"
        try:
            return await self._transport.text(Request("GET", path, what, query, accept="application/json, */*"))
        except InvalidError as error:
            # The kubelet's answer while a container is being made, too.
            raise UnavailableError(str(error)) from None

    async def ask(self, service: Ref, *, port: int, path: str) -> str:
        """Return what a Service answers; see `Services.ask`."""
        what = f"answer of {service}"
        return await self._transport.text(
            Request("GET", addresses.of_service(service, port, path), what, accept="application/json, */*")
        )

    async def merge_patch(self, ref: Ref, patch: Object) -> Object:
        """Apply a JSON merge patch; not part of the port. Tests write with it as other managers do."""
        path, what = addresses.of_object(ref), f"patch of {ref}"
        return await self._transport.send(Request("PATCH", path, what, self._manager(), patch, _MERGE_PATCH))

    async def _apply(self, obj: Object, subresource: str, *, force: bool, manager: str = "") -> Object:
        ref = kinds.address_to_write(obj)
        what = f"apply of {ref}" if not subresource else f"apply of {subresource} of {ref}"
        query = self._manager() | {"force": "true" if force else "false"}
        if manager:
            query |= {"fieldManager": manager}
        request = Request("PATCH", addresses.of_object(ref, subresource), what, query, obj, _APPLY)
        # With a version or uid in it, the caller wants to hear of a conflict.
        tries = 1 if {"uid", "resourceVersion"} & obj["metadata"].keys() else _RACES
        while True:
            tries -= 1
            try:
                return await self._transport.exchange(request)
            except RefusedError as refused:
                race = refused.status == HTTPStatus.CONFLICT and not answers.is_field_conflict(refused.answer)
                if not race or not tries:
                    raise answers.error(refused.status, refused.answer, what) from None

    async def _list(
        self, kind: Kind, namespace: str | None, labels: Mapping[str, str], fields: Mapping[str, str], page: int
    ) -> Listing:
        query = {"limit": str(page)} if page else {}
        if fields:
            query["fieldSelector"] = addresses.selector(fields)
        if labels:
            query["labelSelector"] = addresses.selector(labels)
        items: list[Object] = []
        path, what = addresses.of_kind(kind, namespace), f"list of {kind.kind}"
        while True:
            answer = await self._transport.send(Request("GET", path, what, query))
            items += answer.get("items") or ()
            if not (token := answer["metadata"].get("continue")):
                break
            query["continue"] = token
        for item in items:
            # Lists of built-in kinds leave out the kind of each item.
            item.setdefault("apiVersion", kind.api_version)
            item.setdefault("kind", kind.kind)
        return Listing(tuple(items), answer["metadata"]["resourceVersion"])

    def _manager(self) -> dict[str, str]:
        return {"fieldManager": self._field_manager}


@asynccontextmanager
async def connect(
    kubeconfig: Path | None = None,
    context: str | None = None,
    *,
    field_manager: str = "llama-operator",
    page: int = 500,
    silence: float = 90.0,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[KubernetesCluster]:
    """Connect to a cluster, for as long as the context lasts. Sends no request yet.

    Args:
        kubeconfig: A file; None for the service account of the pod, else for what kubectl would use.
        context: A context of that file; None for its current one.
        field_manager: Name under which fields are owned.
        page: Objects in one answer to a list.
        silence: Seconds after which a watch that says nothing, not even a bookmark, is given up and resumed.
        sleep: Waits between tries, for some seconds.

    Raises:
        CredentialsError: If there are no credentials, or they cannot be read.
    """
    access = await credentials.load(kubeconfig, context)
    transport = Transport(access.configuration, access.renew, sleep=sleep)
    try:
        yield KubernetesCluster(transport, field_manager, namespace=access.namespace, page=page, silence=silence)
    finally:
        await transport.close()

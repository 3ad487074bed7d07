"""The kopf handlers: one `on.event` for each kind that is watched, and the login. Called by `watches`.

No other kind of handler is used: kopf then adds no annotation and no finalizer, keeps no state in the objects, and posts no
event of its own.
"""

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final

import kopf
from typing_extensions import override

from llama_operator.handlers.dispatch import Dispatcher
from llama_operator.handlers.watched import Watched
from llama_operator.kube.server import addresses, credentials

_LIST_PAGE: Final = 500
_SERVER_TIMEOUT: Final = 290
"""Seconds after which the server ends a watch in good order, below the idle limits of usual proxies. An integer, as the API wants it."""
_CONNECT_TIMEOUT: Final = 5.0
_REQUEST_TIMEOUT: Final = 60.0
_IDLE_SECONDS: Final = 1.0
"""How long kopf's task for one object waits for another event of it; shorter is less memory under load."""


def build(
    watched: Iterable[Watched], dispatcher: Dispatcher, login: Callable[..., Awaitable[kopf.ConnectionInfo]]
) -> kopf.OperatorRegistry:
    """Register the handlers of some kinds."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(login)
    for each in watched:
        group, _, version = each.kind.api_version.rpartition("/")
        kopf.on.event(group, version, each.kind.plural, registry=registry, id=each.kind.plural)(
            _handler(each, dispatcher)
        )
    return registry


def _handler(watched: Watched, dispatcher: Dispatcher) -> Callable[..., Awaitable[None]]:
    async def handle(event: kopf.RawEvent, **_: Any) -> None:
        # The dictionary is ours alone: no other handler of kopf sees it.
        obj: dict[str, Any] = dict(event["object"])
        if event["type"] == "DELETED":
            dispatcher.deleted(watched, obj)
        else:
            dispatcher.changed(watched, obj)

    return handle


def settings(watched: Iterable[Watched]) -> kopf.OperatorSettings:
    """Settings of kopf for these kinds."""
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    # What appears later is found by `watches`, without reading every CRD of the cluster.
    found.scanning.disabled = True
    found.persistence.diffbase_storage = _NoDifferences()
    found.watching.server_timeout = _SERVER_TIMEOUT
    found.watching.connect_timeout = _CONNECT_TIMEOUT
    found.watching.chunk_size = _LIST_PAGE
    found.networking.connect_timeout = _CONNECT_TIMEOUT
    found.networking.request_timeout = _REQUEST_TIMEOUT
    found.queueing.idle_timeout = _IDLE_SECONDS
    for each in watched:
        if each.labels:
            group, _, version = each.kind.api_version.rpartition("/")
            found.watching.label_selectors[group, version, each.kind.plural] = addresses.selector(each.labels)
    return found


def login(kubeconfig: Path | None, context: str | None) -> Callable[..., Awaitable[kopf.ConnectionInfo]]:
    """Make kopf's login handler: the same credentials as those of the client, read anew each time they are refused."""

    async def handle(**_: Any) -> kopf.ConnectionInfo:
        found = (await credentials.load(kubeconfig, context)).configuration
        header = await found.get_api_key_with_prefix("BearerToken", alias="authorization") or ""
        scheme, _separator, token = header.rpartition(" ")
        return kopf.ConnectionInfo(
            server=found.host,
            ca_path=found.ssl_ca_cert,
            insecure=not found.verify_ssl,
            username=found.username or None,
            password=found.password or None,
            scheme=scheme or None,
            token=token or None,
            certificate_path=found.cert_file,
            private_key_path=found.key_file,
            proxy_url=found.proxy,
        )

    return handle


class _NoDifferences(kopf.DiffBaseStorage):
    """Compares nothing: kopf else copies every object of every event, to find out what `on.event` never asks."""

    @override
    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    @override
    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    @override
    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        pass

"""The kopf handlers: one `@kopf.on.event` for each kind that is watched, and the login. Called by `watches`.

All handlers do the same: they put the object into the cache and name the keys to look at again. The operator is
level-triggered. A pass reads all of the state and decides on that, never on the event that woke it, so an event that is
lost, late or told twice changes nothing. Handlers for creation, update and deletion would decide on the difference, and
kopf would keep what it has handled in annotations and finalizers of the objects. With `on.event` kopf adds neither,
keeps no state, and posts no event of its own; a user can delete everything while the operator is down.

A new kind is one handler here and one line in `watched`.
"""

import ssl
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final

import kopf
from typing_extensions import override

from llama_operator.handlers.watched import BY_KIND, Watched
from llama_operator.kube import kinds
from llama_operator.kube.port import Kind
from llama_operator.kube.server import addresses, credentials

_LIST_PAGE: Final = 500
_SERVER_TIMEOUT: Final = 290
"""Seconds after which the server ends a watch in good order, below the idle limits of usual proxies. The API wants an integer."""
_CONNECT_TIMEOUT: Final = 5.0
_REQUEST_TIMEOUT: Final = 60.0
_IDLE_SECONDS: Final = 1.0
"""How long kopf's task for one object waits for another event of it; shorter is less memory under load."""

HANDLERS: Final = kopf.OperatorRegistry()
"""The handlers of all kinds; `build` takes those whose kinds exist."""


def dispatch(event: kopf.RawEvent, param: Kind, memo: kopf.Memo, **_: Any) -> None:
    """Put the object of an event into the cache and name what to look at again.

    Args:
        event: What happened, and to which object.
        param: The kind; from the decorator.
        memo: Has the `dispatcher`; from `watches`.
    """
    # The dictionary belongs to this call: no other handler of kopf sees it.
    obj: dict[str, Any] = dict(event["object"])
    take = memo.dispatcher.deleted if event["type"] == "DELETED" else memo.dispatcher.changed
    take(BY_KIND[param], obj)


@kopf.on.event("llama-operator.io", "v1alpha1", "llamadeployments", param=kinds.LLAMA_DEPLOYMENT, registry=HANDLERS)
async def llama_deployment(**change: Any) -> None:
    """A user asks for something else, or our own status was written."""
    dispatch(**change)


@kopf.on.event("ray.io", "v1", "rayservices", param=kinds.RAY_SERVICE, registry=HANDLERS)
async def ray_service(**change: Any) -> None:
    """KubeRay reports on a revision, or a revision is gone."""
    dispatch(**change)


@kopf.on.event("ray.io", "v1", "rayclusters", param=kinds.RAY_CLUSTER, registry=HANDLERS)
async def ray_cluster(**change: Any) -> None:
    """KubeRay made the cluster of a revision, whose bounds may have to follow."""
    dispatch(**change)


@kopf.on.event("apps", "v1", "controllerrevisions", param=kinds.CONTROLLER_REVISION, registry=HANDLERS)
async def controller_revision(**change: Any) -> None:
    """A pinned revision changed or is gone."""
    dispatch(**change)


@kopf.on.event("", "v1", "services", param=kinds.SERVICE, registry=HANDLERS)
async def service(**change: Any) -> None:
    """The endpoint of a deployment changed or is gone."""
    dispatch(**change)


@kopf.on.event("networking.k8s.io", "v1", "networkpolicies", param=kinds.NETWORK_POLICY, registry=HANDLERS)
async def network_policy(**change: Any) -> None:
    """The fence around the pods changed or is gone."""
    dispatch(**change)


@kopf.on.event("policy", "v1", "poddisruptionbudgets", param=kinds.POD_DISRUPTION_BUDGET, registry=HANDLERS)
async def pod_disruption_budget(**change: Any) -> None:
    """The budget for evictions changed or is gone."""
    dispatch(**change)


@kopf.on.event("networking.k8s.io", "v1", "ingresses", param=kinds.INGRESS, registry=HANDLERS)
async def ingress(**change: Any) -> None:
    """A way in from outside changed, is gone, or has an address."""
    dispatch(**change)


@kopf.on.event("gateway.networking.k8s.io", "v1", "httproutes", param=kinds.HTTP_ROUTE, registry=HANDLERS)
async def http_route(**change: Any) -> None:
    """A way in from outside changed, is gone, or its Gateway judged it."""
    dispatch(**change)


@kopf.on.event("batch", "v1", "jobs", param=kinds.JOB, registry=HANDLERS)
async def job(**change: Any) -> None:
    """A check of the access to weights ended, or a copy of them did."""
    dispatch(**change)


@kopf.on.event("", "v1", "persistentvolumeclaims", param=kinds.PERSISTENT_VOLUME_CLAIM, registry=HANDLERS)
async def persistent_volume_claim(**change: Any) -> None:
    """The claim of a copy of weights got a volume, a user or a memory, or is gone."""
    dispatch(**change)


@kopf.on.event("", "v1", "pods", param=kinds.POD, registry=HANDLERS)
async def pod(**change: Any) -> None:
    """A pod of a revision came, went, or fares otherwise."""
    dispatch(**change)


@kopf.on.event("llama-operator.io", "v1alpha1", "licenseacceptances", param=kinds.LICENSE_ACCEPTANCE, registry=HANDLERS)
async def license_acceptance(**change: Any) -> None:
    """An acceptance came, changed or ended."""
    dispatch(**change)


@kopf.on.event("llama-operator.io", "v1alpha1", "llamamodels", param=kinds.LLAMA_MODEL, registry=HANDLERS)
async def llama_model(**change: Any) -> None:
    """A model of the house came, changed or went."""
    dispatch(**change)


@kopf.on.event("llama-operator.io", "v1alpha1", "licensepolicies", param=kinds.LICENSE_POLICY, registry=HANDLERS)
async def license_policy(**change: Any) -> None:
    """The policy of the house changed."""
    dispatch(**change)


@kopf.on.event("llama-operator.io", "v1alpha1", "accelerators", param=kinds.ACCELERATOR, registry=HANDLERS)
async def accelerator(**change: Any) -> None:
    """An administrator declared a card, corrected or removed it."""
    dispatch(**change)


@kopf.on.event("", "v1", "nodes", param=kinds.NODE, registry=HANDLERS)
async def node(**change: Any) -> None:
    """Hardware came, changed or went."""
    dispatch(**change)


def build(watched: Iterable[Watched], login: Callable[..., Awaitable[kopf.ConnectionInfo]]) -> kopf.OperatorRegistry:
    """Make a registry with the handlers of some kinds, and the login."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(login)
    present = {one.kind for one in watched}
    # kopf has no public way to take some handlers of a registry.
    for handler in HANDLERS._watching.get_all_handlers():  # noqa: SLF001
        if handler.param in present:
            registry._watching.append(handler)  # noqa: SLF001
    return registry


def settings(watched: Iterable[Watched]) -> kopf.OperatorSettings:
    """Settings of kopf for these kinds."""
    options = kopf.OperatorSettings()
    options.posting.enabled = False
    # What appears later is found by `watches`, without reading every CRD of the cluster.
    options.scanning.disabled = True
    options.persistence.diffbase_storage = _NoDifferences()
    options.watching.server_timeout = _SERVER_TIMEOUT
    options.watching.connect_timeout = _CONNECT_TIMEOUT
    options.watching.chunk_size = _LIST_PAGE
    options.networking.connect_timeout = _CONNECT_TIMEOUT
    options.networking.request_timeout = _REQUEST_TIMEOUT
    options.queueing.idle_timeout = _IDLE_SECONDS
    for kind, labels in ((one.kind, one.labels) for one in watched if one.labels):
        group, _, version = kind.api_version.rpartition("/")
        options.watching.label_selectors[group, version, kind.plural] = addresses.selector(labels)
    return options


class LenientConnection(kopf.ConnectionInfo):
    """kopf's way to the API server, which takes the certificates that the client takes; `kube.server.credentials` says why."""

    @override
    def as_ssl_context(self) -> ssl.SSLContext:
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def login(kubeconfig: Path | None, context: str | None) -> Callable[..., Awaitable[kopf.ConnectionInfo]]:
    """Make kopf's login handler: the same credentials as those of the client, read again each time the server refuses them."""

    async def handle(**_: Any) -> kopf.ConnectionInfo:
        configuration = (await credentials.load(kubeconfig, context)).configuration
        header = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization") or ""
        scheme, _separator, token = header.rpartition(" ")
        return LenientConnection(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            username=configuration.username or None,
            password=configuration.password or None,
            scheme=scheme or None,
            token=token or None,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            proxy_url=configuration.proxy,
        )

    return handle


class _NoDifferences(kopf.DiffBaseStorage):
    """Compares nothing. kopf would otherwise copy the object of every event, for a difference that `on.event` never asks for."""

    @override
    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    @override
    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    @override
    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        pass

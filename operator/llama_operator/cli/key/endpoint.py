"""What a deployment says about its keys: whether it asks for them, where they are, and which models they open.

Called by the actions of `kubectl llama key`. The spec is read as JSON, field by field: it may be of another version.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llama_operator import catalog
from llama_operator.api import paths, readings
from llama_operator.api.v1alpha1.access import AccessMode
from llama_operator.api.v1alpha1.llamadeployment import Purpose
from llama_operator.catalog.registry import UnknownModelError
from llama_operator.cli.shared.connection import Connection, Unknown, get_or_explain, read_if_possible
from llama_operator.decide.access import default_keys
from llama_operator.kube import kinds
from llama_operator.kube.port import Object, Ref
from llama_operator.kube.secret_kind import SECRET
from llama_serving.contract.door import Access


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One deployment, as far as its keys are concerned."""

    ref: Ref
    kept_in: Ref
    """The ConfigMap or Secret with the keys."""
    asks: bool
    """Whether requests need a key now: what the revision with the traffic was made with; before there is one, as `will_ask`."""
    will_ask: bool
    """Whether the spec makes revisions that ask for keys; a LicensePolicy may require keys beside it."""
    reason: str
    """From what that follows."""
    elsewhere: str
    """The object that the revision with the traffic still reads, if the spec names another one; else empty."""
    path: str
    """Path of the revision with the traffic; empty before there is one."""
    url: str
    """Where it serves; empty before it does."""
    model: str
    """Name in `spec.model.name`."""
    adapters: tuple[str, ...]
    """Names of the adapters on the endpoint."""
    aliases: tuple[str, ...]
    """Further names of the model on the endpoint."""
    tenants: tuple[str, ...]
    """Tenants with limits; one that is not listed has none."""


async def read(connection: Connection, name: str) -> Endpoint:
    """Read a deployment.

    Raises:
        ClusterError: If it does not exist, with the names that do.
    """
    ref = Ref(kinds.LLAMA_DEPLOYMENT, connection.namespace, name)
    return of(ref, await get_or_explain(connection.cluster, ref))


def of(ref: Ref, live: Object) -> Endpoint:
    """What a live object says."""
    spec, status = readings.mapping(live.get("spec")), readings.mapping(live.get("status"))
    mode = readings.text(paths.at(spec, "access.mode")) or AccessMode.AUTO
    purpose = readings.text(paths.at(spec, "license.purpose")) or Purpose.EVALUATION
    will_ask = mode == AccessMode.KEYS or (mode == AccessMode.AUTO and purpose == Purpose.PRODUCTION)
    reason = f"spec.access.mode is {mode}"
    reason += f" and spec.license.purpose is {purpose}" if mode == AccessMode.AUTO else ""
    serves = readings.mapping(status.get("access"))
    if now := readings.text(serves.get("mode")):
        reason = f"revision {readings.text(serves.get('revision'))} has the traffic; {reason}"
    kept_in, reads = _kept_in(ref, readings.mapping(paths.at(spec, "access.keys"))), readings.text(serves.get("keys"))
    return Endpoint(
        ref=ref,
        kept_in=kept_in,
        asks=now == Access.KEYS if now else will_ask,
        will_ask=will_ask,
        reason=reason,
        elsewhere="" if reads == f"{kept_in.kind.kind} {kept_in.name}" else reads,
        path=readings.text(serves.get("path")),
        url=readings.text(status.get("url")),
        model=readings.text(paths.at(spec, "model.name")),
        adapters=_names(spec, "adapters"),
        aliases=_aliases(spec),
        tenants=_names(spec, "tenants"),
    )


def advice(endpoint: Endpoint) -> str:
    """What somebody who makes or lists keys should know before they count on them; empty if there is nothing."""
    if endpoint.elsewhere:
        return (
            f"{endpoint.ref} still reads the keys of {endpoint.elsewhere}: those of {endpoint.kept_in} count once a new "
            f"revision has the traffic (kubectl llama explain {endpoint.ref.name})"
        )
    if endpoint.asks:
        return ""
    open_to = f"{endpoint.ref} serves everybody who reaches it, with a key or without ({endpoint.reason})"
    if endpoint.will_ask:
        return f"{open_to}: its next revision asks for keys (kubectl llama explain {endpoint.ref.name})"
    return f"{open_to}: set spec.access.mode to Keys, which makes a new revision"


async def served_names(connection: Connection, endpoint: Endpoint) -> tuple[str, ...] | Unknown:
    """Names of the model, with its aliases, and of its adapters on the endpoint; why they are not known if the user may not read LlamaModels."""
    try:
        name = catalog.load().model(endpoint.model).served_name
    except UnknownModelError:
        ref = Ref(kinds.LLAMA_MODEL, "", endpoint.model)
        model = await read_if_possible(connection.cluster.get(ref))
        if isinstance(model, Unknown):
            return model
        name = readings.text(paths.at(model, "spec.servedName")) or endpoint.model
    return name, *endpoint.aliases, *endpoint.adapters


def unlimited(endpoint: Endpoint, tenant: str) -> str:
    """A word of warning if the deployment limits tenants and not this one: its name may be a typo. Empty if there is nothing."""
    if not endpoint.tenants or tenant in endpoint.tenants:
        return ""
    return f"spec.tenants has no {tenant}, so no limit counts for it; it has {', '.join(endpoint.tenants)}"


def _names(spec: Mapping[str, Any], field: str) -> tuple[str, ...]:
    return tuple(filter(None, (readings.text(one.get("name")) for one in readings.mappings(spec.get(field)))))


def _aliases(spec: Mapping[str, Any]) -> tuple[str, ...]:
    written = paths.at(spec, "endpoint.aliases")
    return tuple(filter(None, map(readings.text, written))) if isinstance(written, list) else ()


def _kept_in(ref: Ref, keys: object) -> Ref:
    named = readings.mapping(keys)
    if secret := readings.text(named.get("secret")):
        return Ref(SECRET, ref.namespace, secret)
    return Ref(kinds.CONFIG_MAP, ref.namespace, readings.text(named.get("configMap")) or default_keys(ref.name))

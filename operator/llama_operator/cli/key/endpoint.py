"""What a deployment says about its keys: whether it asks for them, where they are, and which models they open.

Called by the actions of `kubectl llama key`. The spec is read as JSON, field by field: it may be of another version.
"""

from dataclasses import dataclass

from llama_operator import catalog
from llama_operator.api import paths, readings
from llama_operator.api.v1alpha1.llamadeployment import Purpose
from llama_operator.catalog.registry import UnknownModelError
from llama_operator.cli.shared.connection import Connection, Unknown, get_or_explain, read_if_possible
from llama_operator.kube import kinds
from llama_operator.kube.port import Object, Ref
from llama_operator.kube.secret_kind import SECRET

_KEYS, _AUTO = "Keys", "Auto"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One deployment, as far as its keys are concerned."""

    ref: Ref
    kept_in: Ref
    """The ConfigMap or Secret with the keys."""
    asks: bool
    """Whether a new revision asks for keys. `Auto` is decided when a revision is made, so one that runs may differ."""
    reason: str
    """The fields from which that follows."""
    url: str
    """Where it serves; empty before it does."""
    model: str
    """Name in `spec.model.name`."""
    adapters: tuple[str, ...]
    """Names of the adapters on the endpoint."""


async def read(connection: Connection, name: str) -> Endpoint:
    """Read a deployment.

    Raises:
        ClusterError: If it does not exist, with the names that do.
    """
    ref = Ref(kinds.LLAMA_DEPLOYMENT, connection.namespace, name)
    return of(ref, await get_or_explain(connection.cluster, ref))


def of(ref: Ref, live: Object) -> Endpoint:
    """What a live object says."""
    spec = readings.mapping(live.get("spec"))
    mode = readings.text(paths.at(spec, "access.mode")) or _AUTO
    purpose = readings.text(paths.at(spec, "license.purpose")) or Purpose.EVALUATION
    reason = f"spec.access.mode is {mode}"
    return Endpoint(
        ref=ref,
        kept_in=_kept_in(ref, readings.mapping(paths.at(spec, "access.keys"))),
        asks=mode == _KEYS or (mode == _AUTO and purpose == Purpose.PRODUCTION),
        reason=f"{reason} and spec.license.purpose is {purpose}" if mode == _AUTO else reason,
        url=readings.text(paths.at(live, "status.url")),
        model=readings.text(paths.at(spec, "model.name")),
        adapters=tuple(
            filter(None, (readings.text(one.get("name")) for one in readings.mappings(spec.get("adapters"))))
        ),
    )


async def served_names(connection: Connection, endpoint: Endpoint) -> tuple[str, ...] | Unknown:
    """Names of the model and its adapters on the endpoint; why they are not known if the user may not read LlamaModels."""
    try:
        name = catalog.load().model(endpoint.model).served_name
    except UnknownModelError:
        ref = Ref(kinds.LLAMA_MODEL, "", endpoint.model)
        model = await read_if_possible(connection.cluster.get(ref))
        if isinstance(model, Unknown):
            return model
        name = readings.text(paths.at(model, "spec.servedName")) or endpoint.model
    return name, *endpoint.adapters


def _kept_in(ref: Ref, keys: object) -> Ref:
    named = readings.mapping(keys)
    if secret := readings.text(named.get("secret")):
        return Ref(SECRET, ref.namespace, secret)
    return Ref(kinds.CONFIG_MAP, ref.namespace, readings.text(named.get("configMap")) or f"{ref.name}-keys")

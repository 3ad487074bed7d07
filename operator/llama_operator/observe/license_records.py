"""Reads what license decisions rest on. Called by `observe.gather`, and for the status of the records themselves."""

from typing import TypeVar

from llama_operator.api.manifest import parse_as
from llama_operator.api.meta import ApiModel, ObjectMeta
from llama_operator.api.v1alpha1.licenseacceptance import AcceptanceState, LicenseAcceptance
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy, LicensePolicySpec
from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.decide.license.facts import same_party
from llama_operator.errors import InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, Kind, NotFoundError, Object

_T = TypeVar("_T", bound=ApiModel)


async def acceptances_of(cluster: Cluster) -> tuple[LicenseAcceptance, ...]:
    """LicenseAcceptances that exist. One that breaks its schema accepts nothing: the chain says that it does not exist."""
    items = await _items(cluster, kinds.LICENSE_ACCEPTANCE)
    return tuple(parsed for item in items if (parsed := _parsed(LicenseAcceptance, item)) is not None)


async def related_to(cluster: Cluster, record: Object) -> tuple[LicenseAcceptance, ...]:
    """LicenseAcceptances of the same entity as `record`, itself included, and all that are superseded.

    The others are not parsed for that: there may be a thousand.
    """
    entity = str(record["spec"].get("legalEntity", ""))
    items = [
        item
        for item in await _items(cluster, kinds.LICENSE_ACCEPTANCE)
        if (spec := item.get("spec") or {}).get("state") == AcceptanceState.SUPERSEDED
        or same_party(str(spec.get("legalEntity", "")), entity)
    ]
    return tuple(parsed for item in items if (parsed := _parsed(LicenseAcceptance, item)) is not None)


async def models_of(cluster: Cluster) -> tuple[LlamaModel, ...]:
    """LlamaModels that exist. One that breaks its schema adds nothing."""
    items = await _items(cluster, kinds.LLAMA_MODEL)
    return tuple(parsed for item in items if (parsed := _parsed(LlamaModel, item)) is not None)


async def policies_of(cluster: Cluster) -> tuple[LicensePolicy, ...]:
    """LicensePolicies that exist. One that breaks its schema allows nothing: it lists no tier."""
    items = await _items(cluster, kinds.LICENSE_POLICY)
    return tuple(
        _parsed(LicensePolicy, item)
        or LicensePolicy(metadata=ObjectMeta(name=item["metadata"]["name"]), spec=LicensePolicySpec())
        for item in items
    )


async def _items(cluster: Cluster, kind: Kind) -> tuple[Object, ...]:
    try:
        return tuple((await cluster.list(kind)).items)
    except NotFoundError:
        # The kind is not installed: there are no such records.
        return ()


def _parsed(model: type[_T], obj: Object) -> _T | None:
    try:
        return parse_as(model, obj)
    except InvalidManifestError:
        return None

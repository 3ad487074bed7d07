"""Reads what license decisions rest on. Called by `observe.gather`, and for the status of the records themselves."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from llama_operator.api.manifest import AnyResource
from llama_operator.api.meta import ObjectMeta
from llama_operator.api.readings import mapping
from llama_operator.api.v1alpha1.licenseacceptance import AcceptanceState, LicenseAcceptance
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy, LicensePolicySpec
from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.decide.license.facts import same_party
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, Kind, NotFoundError, Object
from llama_operator.observe.live import parsed
from llama_operator.observe.unreadable import Unreadable

_T = TypeVar("_T", bound=AnyResource)


async def acceptances_of(cluster: Cluster, unreadable: Unreadable) -> tuple[LicenseAcceptance, ...]:
    """LicenseAcceptances that exist. One that cannot be read accepts nothing: the chain says that it does not exist."""
    items = await _items(cluster, kinds.LICENSE_ACCEPTANCE)
    return unreadable.all(items, _reading(LicenseAcceptance))


async def related_to(cluster: Cluster, record: Object, unreadable: Unreadable) -> tuple[LicenseAcceptance, ...]:
    """LicenseAcceptances of the same entity as `record`, itself included, and all that are superseded.

    The others are not parsed for that: there may be a thousand.
    """
    entity = str(mapping(record.get("spec")).get("legalEntity", ""))
    items = [
        item
        for item in await _items(cluster, kinds.LICENSE_ACCEPTANCE)
        if (spec := mapping(item.get("spec"))).get("state") == AcceptanceState.SUPERSEDED
        or same_party(str(spec.get("legalEntity", "")), entity)
    ]
    return unreadable.all(items, _reading(LicenseAcceptance))


async def models_of(cluster: Cluster, unreadable: Unreadable) -> tuple[LlamaModel, ...]:
    """LlamaModels that exist. One that cannot be read adds nothing."""
    return unreadable.all(await _items(cluster, kinds.LLAMA_MODEL), _reading(LlamaModel))


async def policies_of(cluster: Cluster, unreadable: Unreadable) -> tuple[LicensePolicy, ...]:
    """LicensePolicies that exist. One that cannot be read allows nothing: it lists no tier."""
    reading = _reading(LicensePolicy)
    return tuple(
        unreadable.one(item, reading)
        or LicensePolicy(metadata=ObjectMeta(name=item["metadata"]["name"]), spec=LicensePolicySpec())
        for item in await _items(cluster, kinds.LICENSE_POLICY)
    )


def _reading(model: type[_T]) -> Callable[[Object], _T]:
    return partial(parsed, model)


async def _items(cluster: Cluster, kind: Kind) -> tuple[Object, ...]:
    try:
        return tuple((await cluster.list(kind)).items)
    except NotFoundError:
        # The kind is not installed: there are no such records.
        return ()

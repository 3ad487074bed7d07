"""Reads what administrators record: what license decisions rest on, and the cards that they declare.

Called by `observe.gather`, and for the status of license records.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from llama_operator.api.manifest import AnyResource, parse_live
from llama_operator.api.meta import ObjectMeta
from llama_operator.api.readings import mapping
from llama_operator.api.v1alpha1.accelerator import Accelerator
from llama_operator.api.v1alpha1.licenseacceptance import AcceptanceState, LicenseAcceptance
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy, LicensePolicySpec
from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.decide.license.facts import same_party
from llama_operator.decide.observed import UnreadRecord
from llama_operator.errors import NotUnderstoodError
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, Kind, NotFoundError, Object
from llama_operator.observe.unreadable import Unreadable, UnreadableError

_T = TypeVar("_T", bound=AnyResource)


@dataclass(frozen=True, slots=True)
class Records(Generic[_T]):
    """All records of a kind.

    Attributes:
        read: Those that can be read.
        unread: Those that only a newer version understands.
    """

    read: tuple[_T, ...]
    unread: tuple[UnreadRecord, ...] = ()


async def acceptances_of(cluster: Cluster, unreadable: Unreadable) -> Records[LicenseAcceptance]:
    """LicenseAcceptances that exist. One that cannot be read accepts nothing: the chain says that it does not exist."""
    return _records(LicenseAcceptance, await _items(cluster, kinds.LICENSE_ACCEPTANCE), unreadable)


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
    return _records(LicenseAcceptance, items, unreadable).read


async def models_of(cluster: Cluster, unreadable: Unreadable) -> Records[LlamaModel]:
    """LlamaModels that exist. One that cannot be read adds nothing."""
    return _records(LlamaModel, await _items(cluster, kinds.LLAMA_MODEL), unreadable)


async def accelerators_of(cluster: Cluster, unreadable: Unreadable) -> Records[Accelerator]:
    """Accelerators that exist. One that cannot be read declares nothing."""
    return _records(Accelerator, await _items(cluster, kinds.ACCELERATOR), unreadable)


async def policies_of(cluster: Cluster, unreadable: Unreadable) -> Records[LicensePolicy]:
    """LicensePolicies that exist. One that cannot be read allows nothing: it lists no tier."""
    items = await _items(cluster, kinds.LICENSE_POLICY)
    known = _records(LicensePolicy, items, unreadable)
    by_name = {policy.metadata.name: policy for policy in known.read}
    names = [item["metadata"]["name"] for item in items]
    return Records(tuple(by_name.get(name) or _allows_nothing(name) for name in names), known.unread)


def _allows_nothing(name: str) -> LicensePolicy:
    return LicensePolicy(metadata=ObjectMeta(name=name), spec=LicensePolicySpec())


async def _items(cluster: Cluster, kind: Kind) -> tuple[Object, ...]:
    try:
        return tuple((await cluster.list(kind)).items)
    except NotFoundError:
        # The kind is not installed: there are no such records.
        return ()


def _records(model: type[_T], items: Iterable[Object], unreadable: Unreadable) -> Records[_T]:
    unread: list[UnreadRecord] = []

    def reading(item: Object) -> _T | None:
        try:
            return parse_live(model, item)
        except NotUnderstoodError as error:
            why = "; ".join(f"{problem.path}: {problem.problem}" for problem in error.problems)
            unread.append(UnreadRecord(model.__name__, item["metadata"]["name"], why))
            raise UnreadableError(why) from error

    read = unreadable.all(items, reading)
    return Records(read, tuple(unread))

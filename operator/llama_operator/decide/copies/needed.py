"""Which copies a revision reads that is about to be made, or why none can be made. Called by `decide.decision`."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.api.v1alpha1.weights import CacheMode, ClaimAccess
from llama_operator.catalog.models import Variant
from llama_operator.decide.copies.source import CLAIM_PREFIX, Copy, CopySource, Role, SourceKind, source_of
from llama_operator.decide.problem import Problem
from llama_serving.contract.adapters import Repository

CACHE_FIELD: Final = "spec.weights.cache"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Weights that a revision reads.

    Attributes:
        role: What for.
        variant: Which.
        commit: Commit of the Hub that is known: pinned, or seen by the access check; empty if none is.
    """

    role: Role
    variant: Variant
    commit: str = ""


def is_commit(revision: str | None) -> bool:
    """Whether a revision of the Hub is a commit, which always means the same files."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def caches(deployment: LlamaDeployment) -> bool:
    """Whether the spec asks for copies in a claim."""
    return deployment.spec.weights.cache.mode is CacheMode.CLAIM


def needed(
    deployment: LlamaDeployment, wanted: Iterable[Wanted], adapters: Iterable[Repository], nodes_per_replica: int
) -> tuple[Copy, ...] | Problem:
    """Return the copies that a revision reads; none if the spec asks for none.

    Args:
        deployment: The deployment.
        wanted: Weights of the revision: of its model and its guard.
        adapters: Repositories of its adapters.
        nodes_per_replica: Nodes of one replica, as planned.
    """
    if not caches(deployment):
        return ()
    once = deployment.spec.weights.cache.access_mode is ClaimAccess.ONCE
    if once and nodes_per_replica > 1:
        return Problem(
            ConditionType.WEIGHTS_COPIED,
            Reason.CLAIM_ON_ONE_NODE,
            f"a replica takes {nodes_per_replica} nodes, and a ReadWriteOnce volume is on one of them only; take a StorageClass that has "
            "ReadWriteMany",
            f"{CACHE_FIELD}.accessMode",
        )
    every, sources = tuple(wanted), tuple(dict.fromkeys(adapters))
    unknown = [
        one for one in every if one.variant.repository and source_is_hub(one.variant) and not is_commit(one.commit)
    ]
    if unknown:
        return Problem(
            ConditionType.WEIGHTS_COPIED,
            Reason.COMMIT_UNKNOWN,
            f"nobody knows at which commit {unknown[0].variant.repository} is to be copied: the catalog pins none, and the Hub was not "
            "asked or did not say it; name one in a LlamaModel, or switch the access check on",
            CACHE_FIELD,
        )
    of_adapters = (copy_of(deployment, Role.ADAPTER, _adapter(one), None, one.source) for one in sources)
    return (*_copies(deployment, every), *of_adapters)


def source_is_hub(variant: Variant) -> bool:
    """Whether the weights of a variant come from the Hub."""
    return variant.uri is None and variant.volume_claim is None and variant.repository is not None


def _adapter(repository: Repository) -> CopySource:
    return CopySource(SourceKind.HUB, repository.repository, commit=repository.revision)


def _copies(deployment: LlamaDeployment, wanted: Iterable[Wanted]) -> Iterator[Copy]:
    for one in wanted:
        source = source_of(one.variant, one.commit)
        if source is not None:
            yield copy_of(deployment, one.role, source, one.variant.bytes_to_read)


def copy_of(
    deployment: LlamaDeployment, role: Role, source: CopySource, expected_bytes: int | None, subject: str = ""
) -> Copy:
    """The copy of a source in the claim that the spec names, or in one of the operator's."""
    claim = deployment.spec.weights.cache.claim_name
    return Copy(role, source, claim or f"{CLAIM_PREFIX}{source.id}", claim is None, expected_bytes, subject)

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
from llama_operator.decide.platform import Platform, version
from llama_operator.decide.problem import Problem
from llama_serving.contract.adapters import Repository

CACHE_FIELD: Final = "spec.weights.cache"
IMAGE_VOLUMES_SINCE: Final = (1, 35)
"""Kubernetes that has the gate ImageVolume on by default; since 1.36 it cannot be switched off."""
IMAGE_VOLUMES_WORDS: Final = ".".join(map(str, IMAGE_VOLUMES_SINCE))
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


def is_read_from_volume(deployment: LlamaDeployment) -> bool:
    """Whether pods read the model from a volume that the spec asks for: a copy, or an image."""
    return deployment.spec.weights.cache.mode is not CacheMode.NONE


def downloaded(deployment: LlamaDeployment, variant: Variant) -> Variant:
    """The weights as they are downloaded: from nowhere, where pods mount an image."""
    return variant.model_copy(update={"repository": None}) if _mounts_image(deployment) else variant


def _mounts_image(deployment: LlamaDeployment) -> bool:
    return deployment.spec.weights.cache.mode is CacheMode.IMAGE


def _image(deployment: LlamaDeployment, variant: Variant, platform: Platform) -> Copy | Problem:
    cache, server = deployment.spec.weights.cache, version(platform.kubernetes)
    if server and server < IMAGE_VOLUMES_SINCE:
        return Problem(
            ConditionType.WEIGHTS_COPIED,
            Reason.IMAGE_VOLUMES_MISSING,
            f"this cluster has Kubernetes {platform.kubernetes}, and pods mount images as volumes from {IMAGE_VOLUMES_WORDS} on: upgrade it, or take "
            "mode Claim",
            f"{CACHE_FIELD}.mode",
        )
    source = CopySource(SourceKind.IMAGE, cache.image or "", folder=cache.image_folder)
    return Copy(Role.MODEL, source, claim="", owned=False, expected_bytes=variant.bytes_to_read)


def needed(
    deployment: LlamaDeployment,
    wanted: Iterable[Wanted],
    adapters: Iterable[Repository],
    nodes_per_replica: int,
    platform: Platform,
) -> tuple[Copy, ...] | Problem:
    """Return the copies that a revision reads; none if the spec asks for none. An image that pods mount counts as one.

    Args:
        deployment: The deployment.
        wanted: Weights of the revision: of its model and its guard.
        adapters: Repositories of its adapters.
        nodes_per_replica: Nodes of one replica, as planned.
        platform: What the cluster is.
    """
    if _mounts_image(deployment):
        model = next(one.variant for one in wanted if one.role is Role.MODEL)
        image = _image(deployment, model, platform) if source_of(model, "") is not None else ()
        return (image,) if isinstance(image, Copy) else image
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
    of_adapters = (copy_of(deployment, Role.ADAPTER, adapter_source(one), None, one.source) for one in sources)
    return (*_copies(deployment, every), *of_adapters)


def known_without_asking(
    deployment: LlamaDeployment, variants: Iterable[Variant], adapters: Iterable[Repository]
) -> tuple[Copy, ...]:
    """The copies that a revision would read, as far as their names are known before the Hub is asked for a commit.

    Args:
        deployment: The deployment.
        variants: Weights of its model and its guard.
        adapters: Repositories of its adapters.
    """
    if not caches(deployment):
        return ()
    named = (one for one in variants if not source_is_hub(one) or is_commit(one.revision))
    sources = (*(source_of(one, one.revision or "") for one in named), *map(adapter_source, adapters))
    return tuple(copy_of(deployment, Role.MODEL, source, None) for source in sources if source is not None)


def source_is_hub(variant: Variant) -> bool:
    """Whether the weights of a variant come from the Hub."""
    return variant.uri is None and variant.volume_claim is None and variant.repository is not None


def adapter_source(repository: Repository) -> CopySource:
    """Where the copy of an adapter comes from."""
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

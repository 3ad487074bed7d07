"""What is copied: its source, and the name that follows from it. Called by `decide.copies.needed`; pinned with each revision.

The name is the folder of the copy in its claim, and part of the name of the claim and of the mount path. So two deployments, and
two revisions, that read the same source share one copy, and the engine's caches, whose keys have the path in them, hit.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from llama_operator.api import readings
from llama_operator.catalog.models import Variant

CLAIM_PREFIX: Final = "llama-weights-"
_PATTERNS: Final = 1
"""Version of what is taken of a source; another one makes other copies."""
_ID_LENGTH: Final = 16
_MOST_BYTES: Final = readings.EXACT


class SourceKind(StrEnum):
    """Kinds of sources, in the words of the contract with the Job; no Job copies an image."""

    HUB = "HuggingFace"
    STORE = "ObjectStore"
    PATH = "Path"
    IMAGE = "Image"


class Role(StrEnum):
    """What a revision needs a copy for."""

    MODEL = "Model"
    GUARD = "Guard"
    ADAPTER = "Adapter"


@dataclass(frozen=True, slots=True)
class CopySource:
    """Where a copy comes from.

    Attributes:
        kind: Kind of the source.
        location: Repository, URI, folder in the volume, or reference of the image.
        commit: Commit of the Hub; empty for other kinds.
        claim: Claim whose volume is the source; empty for other kinds.
        endpoint: Address of the S3 store where it is not Amazon's; no part of the name for the Hub, whose mirrors have the same.
        region: Its region.
        folder: Folder of the image with config.json; empty for its root, and for other kinds.
    """

    kind: SourceKind
    location: str
    commit: str = ""
    claim: str = ""
    endpoint: str = ""
    region: str = ""
    folder: str = ""

    @property
    def id(self) -> str:
        """Name of the copy: 16 hexadecimal digits."""
        what = [_PATTERNS, self.kind, self.location, self.commit, self.claim, self.endpoint]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:_ID_LENGTH]

    @property
    def words(self) -> str:
        """For people: `meta-llama/Llama-3.3-70B-Instruct at 6f6073b4…`."""
        if self.kind is SourceKind.IMAGE:
            return f"image {self.location}"
        if self.kind is SourceKind.PATH:
            return "/".join(filter(None, (f"claim {self.claim}", self.location)))
        return f"{self.location} at {self.commit[:12]}" if self.commit else self.location


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy that a revision reads.

    Attributes:
        role: What for.
        source: Where it comes from.
        claim: Claim that it is in; empty for an image, which is no copy and which nodes pull for themselves.
        owned: Whether the operator makes the claim.
        expected_bytes: Size, as the catalog or a LlamaModel says; None if nobody does.
        subject: For an adapter, `repository@revision` as the spec names it; empty for others.
    """

    role: Role
    source: CopySource
    claim: str
    owned: bool
    expected_bytes: int | None = None
    subject: str = ""

    @property
    def id(self) -> str:
        """Name of the copy, and of its folder."""
        return self.source.id

    @property
    def is_image(self) -> bool:
        """Whether pods mount an image, and nothing is copied or erased."""
        return self.source.kind is SourceKind.IMAGE

    @property
    def weights(self) -> str:
        """Folder with config.json, below the folder of all copies."""
        return "/".join(filter(None, (self.id, self.source.folder)))


def source_of(variant: Variant, commit: str) -> CopySource | None:
    """Where the weights of a variant come from; None for those that the project generates.

    Args:
        variant: The weights.
        commit: Commit that is copied, of a repository.
    """
    if variant.uri is not None:
        return CopySource(
            SourceKind.STORE,
            variant.uri,
            endpoint=variant.store_endpoint or "",
            region=variant.store_region or "",
        )
    if variant.volume_claim is not None:
        return CopySource(SourceKind.PATH, variant.volume_path, claim=variant.volume_claim)
    if variant.repository is None:
        return None
    return CopySource(SourceKind.HUB, variant.repository, commit=commit)


def read_from(copies: Iterable[Copy], role: Role, variant: Variant) -> Variant:
    """The weights as pods find them: in the folder of their copy, if there is one.

    Args:
        copies: Copies of the revision.
        role: What the weights are for.
        variant: The weights at their source.
    """
    ours = (one for one in copies if one.role is role)
    copy = next((one for one in ours if one.is_image or is_of(one.source, variant)), None)
    if copy is None:
        return variant
    return variant.model_copy(update={"volume_claim": copy.claim, "volume_path": copy.weights})


def is_of(source: CopySource, variant: Variant) -> bool:
    """Whether a source has the weights of a variant."""
    known = source_of(variant, source.commit)
    return known is not None and known.id == source.id


def find_copy(copies: Iterable[Copy], source: CopySource | None) -> Copy | None:
    """The copy of a source, whatever it is for; None if there is none."""
    return next((one for one in copies if source is not None and one.id == source.id), None)


def is_read(variant: Variant, copies: Iterable[Copy]) -> bool:
    """Whether the volume of a variant is a copy, of which pods mount their own folder only."""
    return any((copy.claim, copy.weights) == (variant.volume_claim, variant.volume_path) for copy in copies)


def to_json(copy: Copy) -> dict[str, Any]:
    """Write a copy as it is pinned with a revision; what is empty is left out."""
    source = copy.source
    values: dict[str, Any] = {
        "id": copy.id,
        "role": copy.role.value,
        "kind": source.kind.value,
        "location": source.location,
        "commit": source.commit,
        "sourceClaim": source.claim,
        "endpoint": source.endpoint,
        "region": source.region,
        "folder": source.folder,
        "claim": copy.claim,
        "owned": copy.owned,
        "expectedBytes": copy.expected_bytes,
        "subject": copy.subject,
    }
    return {name: value for name, value in values.items() if value not in ("", None)}


def source_json(copy: Copy) -> dict[str, Any]:
    """Write what a claim says of its copy: the same whoever uses it, and for what."""
    return {name: value for name, value in to_json(copy).items() if name not in {"role", "claim", "owned", "subject"}}


def of_json(values: Mapping[str, Any]) -> Copy | None:
    """Read a pinned copy; None for one that only a newer version knows."""
    text = {name: readings.text(values.get(name)) for name in values}
    try:
        role, kind = Role(text.get("role", "")), SourceKind(text.get("kind", ""))
    except ValueError:
        return None
    source = CopySource(
        kind,
        text.get("location", ""),
        text.get("commit", ""),
        text.get("sourceClaim", ""),
        text.get("endpoint", ""),
        text.get("region", ""),
        text.get("folder", ""),
    )
    known = (bool(text.get("claim")) or kind is SourceKind.IMAGE) and text.get("id") == source.id
    if not known:
        return None
    expected = readings.whole(values.get("expectedBytes"), most=_MOST_BYTES)
    return Copy(role, source, text.get("claim", ""), values.get("owned") is True, expected, text.get("subject", ""))

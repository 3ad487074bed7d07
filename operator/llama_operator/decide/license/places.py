"""Where the weights of a LlamaModel are, and which names that place has. Pure.

Called by `decide.license.lineage`. Buckets, claims and folders above are named for other reasons: of a place only the last
name tells, and a commit, a version or a dot is no name.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from llama_operator.api.v1alpha1.llamamodel import LlamaModel

_SAYS_NOTHING = re.compile(
    r"v?[0-9][0-9._-]*|[0-9a-f]{7,64}|main|master|latest|current|final|snapshots?|blobs|refs|original|weights|models?|hf|"
    r"safetensors|pytorch|(checkpoint|ckpt)s?([-_][0-9]+)?|data|files?|export|output|artifacts?|(bf|fp)16|fp8|int[48]",
    flags=re.IGNORECASE,
)
"""Folders that hold a version or a part of the model whose name is above: commits, revisions, formats."""

_IN_CACHE = "models--"
"""Beginning of a folder of the Hub's cache: `models--owner--name` holds the repository `owner/name`."""


@dataclass(frozen=True, slots=True)
class Told:
    """A name that a place has."""

    name: str
    repository: str = ""
    """`owner/name`, if it is the name of a repository."""
    only_versions: bool = False
    """Whether it tells only if it names a version: the folder is above the one that holds the weights."""


def of(model: LlamaModel) -> tuple[str, ...]:
    """Where its weights are, without bucket and claim."""
    source = model.spec.source
    places = (
        repository(model),
        urlsplit(source.object_store.uri).path if source.object_store else "",
        source.volume_claim.path if source.volume_claim else "",
    )
    return tuple(place for place in places if place.strip("/"))


def told(model: LlamaModel) -> Iterator[Told]:
    """What the place of its weights is called, nearest first."""
    if name := repository(model):
        yield Told(name.rpartition("/")[2], repository=name)
        return
    for place in of(model):
        yield from _told_by_folders([folder for folder in place.split("/") if folder.strip(".")])


def _told_by_folders(folders: list[str]) -> Iterator[Told]:
    above = False
    for folder in reversed(folders):
        if folder.casefold().startswith(_IN_CACHE):
            cached = folder[len(_IN_CACHE) :].replace("--", "/", 1)
            yield Told(cached.rpartition("/")[2], repository=cached)
            return
        yield Told(folder, only_versions=above)
        if not _SAYS_NOTHING.fullmatch(folder):
            return
        above = True


def repository(model: LlamaModel) -> str:
    """Its repository on the Hugging Face Hub; empty if its weights are elsewhere."""
    source = model.spec.source.hugging_face
    return source.repository if source else ""


def hub(name: str, commit: str | None) -> str:
    """Address of a repository of the Hugging Face Hub, at a commit if one is known."""
    return f"https://huggingface.co/{name}{f'@{commit}' if commit else ''}"


def source(model: LlamaModel) -> str:
    """Where its weights are, for the evidence."""
    place = model.spec.source
    if place.hugging_face is not None:
        return hub(place.hugging_face.repository, place.hugging_face.revision)
    if place.object_store is not None:
        return place.object_store.uri
    return f"volumeClaim:{place.volume_claim.name}/{place.volume_claim.path}" if place.volume_claim else ""

"""Whether a folder is a copy of weights that is complete, and still what it was when its digests were compared.

Called by `contents.check` before an engine starts, and by `weights.claim` before a copy is made. The weights were hashed once,
when they were copied; here their sizes are compared, and the small files are hashed again: those say what is built of the weights.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from llama_serving.contract.weights import MANIFEST, MARKER, CopiedFile, Manifest

_MOST_MANIFEST_BYTES: Final = 64 * 1024**2
_SMALL_BYTES: Final = 64 * 1024**2
"""A tokenizer has 17 MB."""
_SHOWN: Final = 3


class NoCopyError(Exception):
    """The folder is no complete copy; the message says in what."""


def is_one(folder: Path) -> bool:
    """Whether a folder claims to be a copy, by its two files. Its name tells nothing: other tools have such names too."""
    if (folder / MARKER).is_file():
        return True
    try:
        return _manifest(folder)[0].id == folder.name
    except (OSError, ValueError):
        return False


def manifest_of(folder: Path) -> tuple[Manifest, str]:
    """The manifest of a complete copy, and its digest. No file is read through; sizes are compared.

    Raises:
        NoCopyError: If it is none.
    """
    try:
        marked = json.loads((folder / MARKER).read_bytes())["manifest"]
    except FileNotFoundError as error:
        raise NoCopyError(f"it has no {MARKER}: the copy was not finished") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoCopyError(f"its {MARKER} cannot be read") from error
    try:
        manifest, content = _manifest(folder)
    except (OSError, ValueError) as error:
        raise NoCopyError(f"its {MANIFEST} cannot be read") from error
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if marked != digest:
        raise NoCopyError(f"its {MANIFEST} is another one than the copy was finished with")
    if wrong := [file.path for file in manifest.files if _size(folder / file.path) != file.size]:
        raise NoCopyError(f"{_shown(wrong)} has not the size that it was copied with, or is gone")
    return manifest, digest


def faults(folder: Path) -> Iterator[str]:
    """Say what is wrong with a folder that claims to be a copy."""
    try:
        manifest, _ = manifest_of(folder)
    except NoCopyError as error:
        yield f"{error} (delete the Job that copies to have it made again)"
        return
    changed = [file.path for file in manifest.files if file.size <= _SMALL_BYTES and not _is_same(folder, file)]
    if changed:
        yield f"{_shown(changed)} was changed after the copy was verified"


def _manifest(folder: Path) -> tuple[Manifest, bytes]:
    with (folder / MANIFEST).open("rb") as file:
        content = file.read(_MOST_MANIFEST_BYTES)
    return Manifest.model_validate_json(content), content


def _is_same(folder: Path, file: CopiedFile) -> bool:
    if file.path.endswith(".safetensors"):
        return True
    try:
        return hashlib.sha256((folder / file.path).read_bytes()).hexdigest() == file.sha256
    except OSError:
        return False


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def _shown(paths: list[str]) -> str:
    more = len(paths) - _SHOWN
    return ", ".join(paths[:_SHOWN]) + (f" and {more} more" if more > 0 else "")

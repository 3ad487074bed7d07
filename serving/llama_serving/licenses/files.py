"""Reads the license texts beside a model's weights. Called by `server` before an engine starts.

Others published or uploaded the folder, so nothing in it is trusted. Names are matched, not joined. A link may not lead out
of the folder. Sizes and counts are bounded, and files that are not text are left out.
"""

import hashlib
import logging
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import Field

from llama_serving.config import LICENSE_FILES_MISSING, LicenseDuties, LicenseFileKind
from llama_serving.contract.frozen import Frozen
from llama_serving.licenses.text import text_hash

MOST_BYTES: Final = 256 * 1024
"""Largest file that is read; the longest Llama license has 20 KB."""
MOST_FILES: Final = 16

_LOGGER = logging.getLogger("ray.serve")
_NAME = re.compile(r"(LICEN[SC]E|USE[_-]POLICY|NOTICE)([._ -][A-Z0-9._ -]*)?", flags=re.IGNORECASE)
_KINDS: Final[dict[str, LicenseFileKind]] = {"L": "License", "U": "UsePolicy", "N": "Notice"}
_SUFFIXES: Final = frozenset({"", ".txt", ".md", ".rst"})
_PATTERNS: Final[dict[LicenseFileKind, str]] = {"License": "LICENSE*", "UsePolicy": "USE_POLICY*", "Notice": "NOTICE*"}


class LicenseFilesMissingError(RuntimeError):
    """A policy asks for license files that the model's folder lacks. The engine must not start."""


class LicenseFile(Frozen):
    """One text from the model's folder."""

    name: str = Field(min_length=1, max_length=255)
    kind: LicenseFileKind
    text: str
    sha256: str
    """Of the bytes as they are in the folder."""
    text_hash: str
    """Of the words, by `licenses.text.text_hash`: what acceptances record."""


def kind_of(name: str) -> LicenseFileKind | None:
    """Return the kind of a file by its name; None if it is no license file, or its suffix is not that of a text.

    The word must end at the end of the name or at a mark: `LICENSE-MIT.txt` is a license file, `noticed.md` is not.
    """
    suffix = Path(name).suffix.lower()
    # A version is no suffix: `LICENSE-3.1`.
    if _NAME.fullmatch(name) is None or (suffix not in _SUFFIXES and not suffix[1:].isdigit()):
        return None
    return _KINDS[name[0].upper()]


def read_license_files(folder: Path) -> tuple[LicenseFile, ...]:
    """Read the license files at the top of `folder`, licenses first; empty if there are none, or no such folder."""
    order = list(_PATTERNS)
    return tuple(sorted(_read_all(folder), key=lambda file: (order.index(file.kind), file.name)))


def require(
    files: tuple[LicenseFile, ...], *, model_id: str, duties: LicenseDuties | None, folder: Path | None, why: str = ""
) -> None:
    """Check that the files that the policy asks for are there.

    Args:
        files: What was read.
        model_id: Name of the model, for the message.
        duties: What is asked for.
        folder: The folder that was read; None if it was not available.
        why: Why it was not available.

    Raises:
        LicenseFilesMissingError: If one is missing. Its message is a single line and begins with `LicenseFilesMissing`: Serve
            passes it on in the status of the application.
    """
    if duties is None:
        return
    here = {file.kind for file in files if file.text.strip()}
    missing = [_PATTERNS[kind] for kind in duties.required_files if kind not in here]
    if not missing:
        return
    place = f"its folder {folder}" if folder is not None else "its folder"
    raise LicenseFilesMissingError(
        f"{LICENSE_FILES_MISSING}: {model_id} was not started: {place} has no readable {', '.join(missing)}"
        f"{f' ({why})' if why else ''}, and the LicensePolicy asks for it (servedLicenseFiles: Required). Put the texts "
        f"that came with the weights beside config.json (plain text, at most {MOST_BYTES // 1024} KiB each), or take a "
        "repository that has them; then set spec.rollout.restartedAt"
    )


def _read_all(folder: Path) -> Iterator[LicenseFile]:
    try:
        root = folder.resolve(strict=True)
        names = sorted(path.name for path in root.iterdir() if kind_of(path.name) is not None)
    except OSError as error:
        _LOGGER.warning("No license files: %s", error)
        return
    for name in names[:MOST_FILES]:
        content = _content(root, name)
        if content is None:
            continue
        text = _decoded(content)
        if text is None:
            _LOGGER.warning("The license file %s is not plain text and is not shown", name)
            continue
        kind = kind_of(name)
        assert kind is not None  # noqa: S101 - the names were chosen by it
        yield LicenseFile(
            name=name, kind=kind, text=text, sha256=hashlib.sha256(content).hexdigest(), text_hash=text_hash(text)
        )
    if len(names) > MOST_FILES:
        _LOGGER.warning("Only %d of %d license files are shown", MOST_FILES, len(names))


def _content(root: Path, name: str) -> bytes | None:
    try:
        path = (root / name).resolve(strict=True)
        if not _inside(path, root):
            _LOGGER.warning(
                "The license file %s is a link that leads out of the model's folder, and is not shown", name
            )
            return None
        # Without blocking: opening a pipe would wait for a writer.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        _LOGGER.warning("The license file %s cannot be read: %s", name, error)
        return None
    if len(content) > MOST_BYTES:
        _LOGGER.warning("The license file %s is larger than %d bytes and is not shown", name, MOST_BYTES)
        return None
    return content


def _inside(path: Path, root: Path) -> bool:
    """Whether `path` belongs to the model: in its folder, or among the blobs that a Hugging Face snapshot links to."""
    if path.is_relative_to(root):
        return True
    return root.parent.name == "snapshots" and path.is_relative_to(root.parent.parent / "blobs")


def _decoded(content: bytes) -> str | None:
    if b"\0" in content:
        return None
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return None

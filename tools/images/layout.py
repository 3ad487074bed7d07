"""Reads an image that was written as an OCI layout: digest, sizes, configuration, files. Called by `__main__` and tests."""

import gzip
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Layout:
    """An OCI layout with one image."""

    folder: Path

    @property
    def digest(self) -> str:
        """Digest of the manifest: what `name@digest` would name in a registry."""
        (entry,) = json.loads((self.folder / "index.json").read_text(encoding="utf-8"))["manifests"]
        return str(entry["digest"])

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest: digests and sizes of layers."""
        manifest: dict[str, Any] = self._document(self.digest)
        return manifest

    @property
    def configuration(self) -> dict[str, Any]:
        """The configuration: user, entry point, labels, history."""
        configuration: dict[str, Any] = self._document(self.manifest["config"]["digest"])
        return configuration

    @property
    def size(self) -> int:
        """Bytes of all layers, compressed."""
        return sum(layer["size"] for layer in self.manifest["layers"])

    def unpack(self, target: Path) -> None:
        """Write the file system of the image into the folder `target`, as root."""
        for layer in self.manifest["layers"]:
            with gzip.open(self._blob(layer["digest"])) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    _place(archive, member, target)

    def _document(self, digest: str) -> Any:
        return json.loads(self._blob(digest).read_text(encoding="utf-8"))

    def _blob(self, digest: str) -> Path:
        return self.folder / "blobs" / digest.replace(":", "/")


_REMOVED = ".wh."
_ALL_REMOVED = ".wh..wh..opq"


def _place(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    path = target / member.name
    if path.name == _ALL_REMOVED:
        for each in path.parent.iterdir():
            _remove(each)
    elif path.name.startswith(_REMOVED):
        _remove(path.with_name(path.name.removeprefix(_REMOVED)))
    else:
        if not member.isdir():
            _remove(path)
        archive.extract(member, target, filter="fully_trusted")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for each in path.iterdir():
            _remove(each)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)

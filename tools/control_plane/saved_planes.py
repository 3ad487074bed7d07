"""Keeps an etcd that has CRDs in it: a plane starts from a copy instead of half a minute of applying. Called by tests and tools.

The key is the content of the CRDs and the version of the programs. Keys and certificates are not part of it: each
plane makes its own.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import filelock

from control_plane import binaries
from control_plane.plane import ControlPlane

OURS: Final = Path(__file__).resolve().parents[2] / "manifests" / "crds"
_KEPT: Final = 4
"""Saved stores: each change of a CRD makes one of 70 MB."""


def kuberay_crds() -> Path:
    """Folder with the CRDs of KubeRay."""
    return binaries.ensure() / "manifests" / "kuberay-crds"


def all_crds() -> tuple[Path, ...]:
    """Our CRDs and KubeRay's."""
    return (OURS, kuberay_crds())


def control_plane(
    directory: Path | None = None, *, crds: Sequence[Path] = (), audit: bool = False, bare: bool = False
) -> ControlPlane:
    """Return a control plane, not yet started, that has CRDs from its start.

    Args:
        directory: Folder for its files; see `ControlPlane`.
        crds: Files, or folders of YAML files; by default ours and KubeRay's.
        audit: See `ControlPlane`.
        bare: See `ControlPlane`.

    Raises:
        PlaneError: The API server refused a CRD.
        BuildError: The programs are absent and cannot be built.
    """
    return ControlPlane(directory, saved=_saved_with(crds or all_crds()), audit=audit, bare=bare)


def _saved_with(crds: Sequence[Path]) -> Path:
    """Folder of an etcd that has the CRDs, all established; made unless it is there."""
    folder = binaries.folder() / "saved-planes"
    target = folder / _key(crds)
    if target.exists():
        target.touch()
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / "lock"):
        if not target.exists():
            _make(target, crds)
            _forget_old(folder)
    return target


def _make(target: Path, crds: Sequence[Path]) -> None:
    with (
        tempfile.TemporaryDirectory(dir=target.parent, prefix="making-") as aside,
        ControlPlane(Path(aside), bare=True) as made,
    ):
        for path in crds:
            made.kubectl("apply", "--server-side", "-f", path)
        made.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=240s")
        made.stop_api_server_and_etcd()
        (Path(aside) / "etcd").rename(target)


def _forget_old(folder: Path) -> None:
    saved = sorted(
        (path for path in folder.iterdir() if (path / "member").exists()), key=lambda path: path.stat().st_mtime
    )
    for path in saved[:-_KEPT]:
        shutil.rmtree(path, ignore_errors=True)


def _key(crds: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in crds:
        for file in _files(path):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _files(path: Path) -> Iterator[Path]:
    yield from sorted(path.glob("*.yaml")) if path.is_dir() else [path]

"""Writes an almost empty container image, for `ctr images import`. Used by `real_node`.

The containers of a real node see this machine's /usr and Python environment through read-only mounts
(`configuration.base_spec`), so an image only needs the folders, links and accounts that a root file system has beside
them. That makes a serving image without a registry and without copying 5 GB.
"""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

USER = 1000
"""User and group of the image, as in Ray's own images; pods that must not run as root need a number."""
HOME = "/home/ray"

_FOLDERS = ("etc", "usr", "home", "root", "proc", "sys", "dev", "run", "var", "var/lib", "opt", "mnt")
_OPEN_FOLDERS = ("tmp", "var/tmp")
_LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64", "var/run": "/run"}


@dataclass(frozen=True, slots=True)
class Image:
    """What goes into the image.

    Attributes:
        name: Full reference, registry included.
        command: Entry point; empty where the pod brings one.
        path: Value of PATH.
        copies: Files of this machine to copy to the same place, executable.
        kept: Files in the user's home, by their path below it.
    """

    name: str
    command: Sequence[str] = ()
    path: str = "/usr/local/bin:/usr/bin:/bin"
    copies: Sequence[Path] = ()
    kept: Mapping[str, bytes] = field(default_factory=dict)


def write(image: Image, target: Path) -> Path:
    """Write `image` as a docker archive to `target`; the same image gives the same bytes."""
    layer = _layer(image)
    digest = hashlib.sha256(layer).hexdigest()
    configuration = json.dumps(_configuration(image, digest), sort_keys=True).encode()
    name = hashlib.sha256(configuration).hexdigest() + ".json"
    manifest = [{"Config": name, "RepoTags": [image.name], "Layers": [f"{digest}/layer.tar"]}]
    with tarfile.open(target, "w") as archive:
        _add_file(archive, name, configuration)
        _add_file(archive, f"{digest}/layer.tar", layer)
        _add_file(archive, "manifest.json", json.dumps(manifest).encode())
    return target


def full_reference(name: str) -> str:
    """Return the image's name as containerd keeps it, with the registry that a pod's short name stands for."""
    first = name.partition("/")[0]
    return name if "." in first or ":" in first else f"docker.io/{name}"


def archive(layout: Path, name: str, target: Path) -> Path:
    """Write an OCI layout with one image as an archive for `ctr images import`, which takes the name that is in it.

    Args:
        layout: Folder of the layout.
        name: Full reference, registry included.
        target: File to write; it is returned.
    """
    index = json.loads((layout / "index.json").read_text(encoding="utf-8"))
    (entry,) = index["manifests"]
    entry["annotations"] = {"io.containerd.image.name": name}
    content = json.dumps(index).encode()
    with tarfile.open(target, "w") as tar:
        for path in ("oci-layout", "blobs"):
            tar.add(layout / path, path)
        described = tarfile.TarInfo("index.json")
        described.size = len(content)
        tar.addfile(described, io.BytesIO(content))
    return target


def with_libraries(program: Path) -> list[Path]:
    """Return `program` and the shared libraries that it needs, under the names by which it asks for them."""
    listing = subprocess.run(["ldd", str(program)], check=True, capture_output=True, text=True)
    words = [word for line in listing.stdout.splitlines() for word in line.split() if word.startswith("/")]
    # /lib is a link to usr/lib in the image.
    return [program, *(Path("/usr", word.lstrip("/").removeprefix("usr/")) for word in words)]


def _configuration(image: Image, digest: str) -> dict[str, object]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Entrypoint": list(image.command) or None,
            "Env": [f"PATH={image.path}"],
            "User": f"{USER}:{USER}",
            "WorkingDir": HOME,
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created_by": "tools/control_plane/node/image.py"}],
    }


def _layer(image: Image) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in _FOLDERS:
            _add_folder(archive, path, 0o755)
        for path in _OPEN_FOLDERS:
            _add_folder(archive, path, 0o1777)
        _add_folder(archive, HOME.strip("/"), 0o755, owner=USER)
        for path, target in _LINKS.items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
        accounts = {
            "etc/passwd": f"root:x:0:0:root:/root:/bin/bash\nray:x:{USER}:{USER}:ray:{HOME}:/bin/bash\n",
            "etc/group": f"root:x:0:\nray:x:{USER}:\n",
        }
        for path, text in accounts.items():
            _add_file(archive, path, text.encode())
        folders = {str(parent) for name in image.kept for parent in PurePosixPath(name).parents} - {"."}
        for path in sorted(folders):
            _add_folder(archive, f"{HOME.strip('/')}/{path}", 0o755, owner=USER)
        for name, content in image.kept.items():
            _add_file(archive, f"{HOME.strip('/')}/{name}", content)
        for source in image.copies:
            _add_file(archive, str(source).lstrip("/"), source.read_bytes(), mode=0o755)
    return buffer.getvalue()


def _add_folder(archive: tarfile.TarFile, path: str, mode: int, owner: int = 0) -> None:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, owner, owner
    archive.addfile(entry)


def _add_file(archive: tarfile.TarFile, path: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))

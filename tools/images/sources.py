"""What the build starts from: the files that git knows, and what the commit says of itself. Called by `__main__`."""

import os
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from images.errors import ImageError

COPIED: Final = (
    "requirements", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "images", "operator", "serving",
)  # fmt: skip
"""What Dockerfiles may copy, as paths of the repository."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What is built.

    Attributes:
        version: Version of the project.
        revision: Commit, in hex.
        epoch: Time of the commit, in seconds since 1970: the only time that an image holds.
        dirty: Whether files differ from the commit.
        source: Address of the repository, if somebody said it.
    """

    version: str
    revision: str
    epoch: int
    dirty: bool
    source: str = ""

    def labels(self, bases: Mapping[str, str]) -> dict[str, str]:
        """Name what is known only now, in the words of the OCI image specification.

        Args:
            bases: References of base images, by argument; `BASE` is that of the image.
        """
        name, _, digest = bases["BASE"].partition("@")
        known = {
            "version": self.version,
            "revision": f"{self.revision}-dirty" if self.dirty else self.revision,
            "created": datetime.fromtimestamp(self.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "base.name": name,
            "base.digest": digest,
            "source": self.source,
            "documentation": f"{self.source}/tree/{self.revision}/docs" if self.source else "",
        }
        return {f"org.opencontainers.image.{key}": value for key, value in known.items() if value}


def commit(root: Path) -> Commit:
    """Ask git and pyproject.toml.

    Raises:
        ImageError: `root` is no clone.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    revision, seconds = _git(root, "log", "-1", "--format=%H %ct").split()
    return Commit(
        version=project["version"],
        revision=revision,
        epoch=int(seconds),
        dirty=bool(_git(root, "status", "--porcelain", "--", *COPIED)),
        source=os.environ.get("IMAGE_SOURCE", "").rstrip("/"),
    )


def export(root: Path, target: Path, epoch: int) -> None:
    """Copy what Dockerfiles may copy to `target`, as it is now: what git ignores, and modes of this clone, change nothing.

    Args:
        root: The repository.
        target: Folder to write anew.
        epoch: Time of its files, in seconds since 1970.
    """
    shutil.rmtree(target, ignore_errors=True)
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *COPIED)
    for name in sorted(filter(None, listed.split("\0"))):
        path = target / name
        if (root / name).is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((root / name).read_bytes())
            path.chmod(0o755 if os.access(root / name, os.X_OK) else 0o644)
            os.utime(path, (epoch, epoch))


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImageError(f"images are built of a clone, because it knows its commit: {done.stderr.strip()}")
    return done.stdout

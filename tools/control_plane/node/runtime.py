"""Runs runc, after ordering the mounts of a container so that none hides another. containerd of a real node calls a copy of it.

containerd puts the mounts of its base specification (`configuration.base_spec`) before those of the pod. A pod with an empty
/tmp would then not see a project that lies in /tmp. Standard library only.
"""

import json
import os
import sys
from pathlib import Path, PurePosixPath
from typing import Any


def ordered(mounts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is mounted on a folder comes before what is mounted in it; else the order stays."""
    return sorted(mounts, key=lambda mount: len(PurePosixPath(mount["destination"]).parts))


def main(arguments: list[str]) -> None:
    """Become runc."""
    if "create" in arguments and "--bundle" in arguments:
        path = Path(arguments[arguments.index("--bundle") + 1]) / "config.json"
        specification = json.loads(path.read_text(encoding="utf-8"))
        specification["mounts"] = ordered(specification.get("mounts") or [])
        path.write_text(json.dumps(specification), encoding="utf-8")
    os.execvp("runc", ["runc", *arguments])  # noqa: S606 - as containerd does


if __name__ == "__main__":
    main(sys.argv[1:])

"""First process of a real node: boots it, waits, and takes everything with it when it ends.

Started by `machine` as process 1 of new process, mount and network namespaces, with the path of a boot plan (JSON, see
`machine.Step`). It ends when its standard input closes, so also when whoever started it is killed; the kernel then
kills every process of the node, and mounts and interfaces go with their namespaces. Standard library only.
"""

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_BOOT_SECONDS = 60.0
_POLL_SECONDS = 0.05
_READY = "ready"


def main(plan: Path) -> int:
    """Boot, then live until standard input closes or a daemon ends; return the exit status."""
    sys.stdin.readline()  # the link to the host is there
    daemons: dict[int, str] = {}
    for step in json.loads(plan.read_text()):
        if "spawn" in step:
            daemons[_spawn(step).pid] = step["name"]
            _await_path(step)
        else:
            done = subprocess.run(step["run"], check=False, capture_output=True, text=True)
            if done.returncode:
                print(f"{' '.join(step['run'])}: {done.stderr or done.stdout}", flush=True)
                return 1
    print(_READY, flush=True)
    return _live(daemons)


def _spawn(step: dict[str, Any]) -> subprocess.Popen[bytes]:
    with Path(step["log"]).open("ab") as log:
        return subprocess.Popen(step["spawn"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _await_path(step: dict[str, Any]) -> None:
    path = step.get("until")
    end = time.monotonic() + _BOOT_SECONDS
    while path is not None and not Path(path).exists() and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)


def _live(daemons: dict[int, str]) -> int:
    while True:
        readable, _, _ = select.select([sys.stdin], [], [], 0.5)
        if readable and not sys.stdin.readline():
            return 0
        # Containers' shims become our children when what started them is gone, so all children are waited for.
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in daemons:
                print(f"{daemons[pid]} ended with status {os.waitstatus_to_exitcode(status)}", flush=True)
                return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

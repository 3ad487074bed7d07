"""Becomes the program in its arguments, which sees a folder of ours at a place below /etc that nobody else sees.

Started by `kueue` through unshare, in a mount namespace of its own: Kueue reads one certificate from a place that cannot be set.
Standard library only.
"""

import os
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Put an empty folder over /etc, the given one into it, then exec."""
    source, place, *command = sys.argv[1:]
    # Relative to what is hidden from now on.
    held = os.open(source, os.O_PATH)
    _mount("-t", "tmpfs", "tmpfs", "/etc")
    Path(place).mkdir(parents=True)
    _mount("--bind", f"/proc/self/fd/{held}", place, pass_fds=(held,))
    os.execv(command[0], command)  # noqa: S606 - no shell


def _mount(*arguments: str, pass_fds: tuple[int, ...] = ()) -> None:
    subprocess.run(["mount", "--no-mtab", *arguments], check=True, pass_fds=pass_fds)


if __name__ == "__main__":
    main()

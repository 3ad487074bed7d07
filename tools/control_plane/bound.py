"""Becomes the program in its arguments, after it has asked Linux to kill it when its parent dies.

Started by `processes`, with the parent's process id first. A program of its own, because what runs between fork and
exec in a process with threads may not do much.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Bind the life, then exec."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        # The parent has died before the request was made.
        raise SystemExit(1)
    os.execv(command[0], command)  # noqa: S606 - no shell


if __name__ == "__main__":
    main()

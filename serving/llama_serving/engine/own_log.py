"""The log of this process and of the processes that vLLM starts. Used by `last_words` and `starting`.

They write to the standard output of their parent, which Ray keeps in a file.
"""

import os
import stat
from pathlib import Path
from typing import Final

STANDARD_OUTPUT: Final = 1
_MOST_BYTES: Final = 1 << 20
"""Of the end of the log; a trace has some thousand."""


def mark(descriptor: int = STANDARD_OUTPUT) -> int:
    """Where the log ends now; 0 where it is no file."""
    about = os.fstat(descriptor)
    return about.st_size if stat.S_ISREG(about.st_mode) else 0


def lines_since(place: int, descriptor: int = STANDARD_OUTPUT) -> list[str]:
    """Lines since a mark, of the last megabyte; none where the log is no file.

    Args:
        place: What `mark` returned before.
        descriptor: Of the log.
    """
    size = mark(descriptor)
    begin = max(place if place <= size else 0, size - _MOST_BYTES)
    try:
        with Path(f"/proc/self/fd/{descriptor}").open("rb") as log:
            if not stat.S_ISREG(os.fstat(log.fileno()).st_mode):
                return []
            log.seek(begin)
            return log.read(_MOST_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return []

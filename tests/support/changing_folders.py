"""Looks for paths in folders that others change meanwhile. For tests that watch programs, Ray or the kernel at work.

`Path.rglob` fails on Python 3.11 and 3.12 if a folder goes between its listing and the look into it.
"""

import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path


def paths_below(folder: Path, pattern: str = "*") -> Iterator[Path]:
    """Yield files and folders below `folder` whose name matches, as far as they are still there when they are looked for."""
    for parent, folders, files in os.walk(folder):
        for name in fnmatch.filter((*folders, *files), pattern):
            yield Path(parent, name)

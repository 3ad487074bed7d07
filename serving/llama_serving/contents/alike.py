"""Are the files of a LoRA adapter the same for all ranks of a replica? Called by `engine.adapters` and `engine.vllm`.

Each rank reads them by itself: on its own node, and when its turn comes. Ranks with different files compute one answer of two adapters,
and nothing fails.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from llama_serving.contents.adapter import CONFIG, WEIGHTS, AdapterRefusedError
from llama_serving.contract.adapters import AdapterFault


def fingerprint(folder: Path) -> str:
    """SHA-256 of both files together, in hex: the config scales what the weights say. Blocks.

    Raises:
        AdapterRefusedError: If one of them cannot be read.
    """
    try:
        parts = []
        for name in (CONFIG, WEIGHTS):
            with (folder / name).open("rb") as file:
                parts.append(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        words = f"not every node of the replica can read {folder.name}: {error.strerror}; name a volume that all nodes see alike (ReadWriteMany)"
        raise AdapterRefusedError(AdapterFault.NOT_FOUND, words) from None
    return hashlib.sha256(b"".join(parts)).hexdigest()


def compare(own: str, others: Iterable[str]) -> None:
    """Refuse an adapter whose files differ between the nodes of a replica.

    Args:
        own: Fingerprint on this node.
        others: Fingerprints on the others.

    Raises:
        AdapterRefusedError: If they differ.
    """
    if any(other != own for other in others):
        raise AdapterRefusedError(
            AdapterFault.REFUSED,
            "its files differ between the nodes of this replica, and each rank would compute with its own; name a volume that all nodes see "
            "alike (ReadWriteMany), and put a new version into a new folder",
        )


def stamp(folder: Path) -> tuple[tuple[int, int, int], ...]:
    """What changes when somebody writes into a file: inode, size and time of each. Blocks; empty if one is not there."""
    try:
        found = [(folder / name).stat() for name in (CONFIG, WEIGHTS)]
    except OSError:
        return ()
    return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in found)

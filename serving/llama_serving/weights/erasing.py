"""Erases a copy: what a license's end asks for. Called by `weights.command`."""

from collections.abc import Callable
from pathlib import Path

from llama_serving.contract.weights import CopyOutcome, CopyRequest, CopyVerdict
from llama_serving.weights import claim
from llama_serving.weights.claim import Claim, gigabytes
from llama_serving.weights.errors import CopyError, of_disk


def erase(request: CopyRequest, root: Path, say: Callable[[str], None]) -> CopyVerdict:
    """Remove every byte of the copy from the claim. Blocks while another process works on it.

    Raises:
        CopyError: If something is left.
    """
    place = Claim(root, request.id)
    try:
        with claim.locked(place, lambda: say("another Job works on this copy; waiting for it")):
            files, size = claim.erase(place)
    except OSError as error:
        raise of_disk(error, root) or CopyError(CopyOutcome.FAILED, f"{type(error).__name__}: {error}") from error
    if left := [path.name for path in (place.copy, place.partial) if path.exists() or path.is_symlink()]:
        raise CopyError(CopyOutcome.FAILED, f"{left[0]} is still there")
    words = f"{gigabytes(size)} in {files} files" if files else "there was nothing of it"
    return CopyVerdict(verdict=CopyOutcome.ERASED, message=words, bytes=size, files=files)

"""Makes a copy: keeps the claim in order, starts the process that fetches, watches it. Called by `weights.command`."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from llama_serving.contract.hub import CHECKPOINT_FILE
from llama_serving.contract.weights import ENGINES_FOLDER, CopyOutcome, CopyRequest, CopyVerdict, Manifest
from llama_serving.weights import choosing, claim
from llama_serving.weights.claim import Claim, gigabytes
from llama_serving.weights.errors import CopyError, of_disk
from llama_serving.weights.events import Event
from llama_serving.weights.settings import CopySettings
from llama_serving.weights.watched import Watched

Say = Callable[[str], None]
"""Writes a line to the log."""
_WITHOUT_XET: Final = {"HF_HUB_DISABLE_XET": "1"}
_AGAIN: Final = frozenset({CopyOutcome.STALLED, CopyOutcome.UNREACHABLE, CopyOutcome.FAILED})


def copy(request: CopyRequest, root: Path, token: str, settings: CopySettings, say: Say) -> CopyVerdict:
    """Make the copy, or find it made. Blocks.

    Args:
        request: What is copied.
        root: Where the claim is mounted.
        token: For the source; empty for none.
        settings: Times and numbers.
        say: Writes a line to the log.

    Raises:
        CopyError: Why there is none.
    """
    place = Claim(root, request.id)
    try:
        with claim.locked(place, lambda: say("another Job works on this copy; waiting for it")) as lock:
            claim.make_folder(root / ENGINES_FOLDER)
            if (there := claim.complete(place)) is not None:
                say("the copy is there and complete")
                _check_small(request, place, there[0])
                return _told(request, *there)
            if claim.reopen(place):
                say("a copy without its mark is there: each of its files is verified again")
            try:
                end = _fetched(request, place, token, settings, say, lock)
                manifest = Manifest(id=request.id, source=end.source, commit=end.commit, files=end.copied)
                digest = claim.publish(place, manifest)
            except (CopyError, OSError):
                # Where a file system ignores locks, two may have worked: the other one was sooner.
                if (there := claim.complete(place)) is not None:
                    return _told(request, *there)
                raise
            return _told(request, manifest, digest)
    except OSError as error:
        raise of_disk(error, root) or CopyError(CopyOutcome.FAILED, f"{type(error).__name__}: {error}") from error


def _check_small(request: CopyRequest, place: Claim, manifest: Manifest) -> None:
    """Compare what is there with what this request asks for: somebody else may have asked for the copy."""
    choosing.check_license(place.copy, (file.path for file in manifest.files), request)
    config = place.copy / CHECKPOINT_FILE
    if config.is_file():
        choosing.check_shape(config.read_bytes(), request.contents)


def _told(request: CopyRequest, manifest: Manifest, digest: str) -> CopyVerdict:
    here = {file.path for file in manifest.files}
    for path in request.files:
        if path not in here:
            words = (
                "the copy was made without this file, which the license asks for now: erase the copy, and make it again"
            )
            raise CopyError(CopyOutcome.NOT_FOUND, words, path)
    return CopyVerdict(
        verdict=CopyOutcome.VERIFIED,
        message=f"{gigabytes(manifest.size_bytes)} in {len(manifest.files)} files of {manifest.source}"[:1000],
        bytes=manifest.size_bytes,
        files=len(manifest.files),
        digest=digest,
        commit=manifest.commit,
    )


def _fetched(request: CopyRequest, place: Claim, token: str, settings: CopySettings, say: Say, lock: int) -> Event:
    """Fetch all; returns the last event of the process that did.

    What ended in a way that time may cure begins again at once: by the second way, if there is one that was not tried, and as
    often as the time before brought a file. A library that hangs after each so many files would use up the Job's tries otherwise.
    """
    more: dict[str, str] = {}
    while True:
        before = len(claim.verified(place))
        end = Watched(request, place, token, settings, say).run(lock, more)
        if end.outcome is CopyOutcome.VERIFIED:
            return end
        has_moved = len(claim.verified(place)) > before
        is_new_way = end.falls_back and not more
        if end.outcome not in _AGAIN or not (is_new_way or has_moved):
            raise CopyError(end.outcome or CopyOutcome.FAILED, end.message, end.file)
        more = more | (_WITHOUT_XET if end.falls_back else {})
        say(f"{end.outcome}: {end.message}. Once more{', without Xet' if more else ''}")
        claim.reopen(place)

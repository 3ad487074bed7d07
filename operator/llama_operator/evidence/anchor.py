"""Anchors the hash of the last line of evidence in the Lease, which log readers cannot write. Wired in by `process`."""

from typing import Final

from llama_operator.api.meta import GROUP
from llama_operator.kube.leadership.fenced import NotLeaderError
from llama_operator.kube.leadership.lease import Leadership, LeaseElection, LostLeaseError

ANNOTATION_HEAD: Final = f"{GROUP}/license-evidence-head"
"""Annotation of the Lease: the last line of evidence, as `evidence.head` writes it."""


class LeaseAnchor:
    """The Lease of the leader election.

    Args:
        election: Holds the Lease, and writes it.
        leadership: Knows until when the Lease is certainly held.
    """

    def __init__(self, election: LeaseElection, leadership: Leadership) -> None:
        self._election = election
        self._leadership = leadership

    def ensure_leading(self) -> None:
        """Raise NotLeaderError if another process may be writing the log by now."""
        if self._leadership.seconds_left() <= 0:
            raise NotLeaderError("the Lease is not certainly held, so no decision may be recorded")

    async def hold(self, head: str) -> None:
        """Write `head` into the Lease; several calls at once share one write."""
        try:
            await self._election.hand_over(head)
        except LostLeaseError as error:
            raise NotLeaderError(str(error)) from error

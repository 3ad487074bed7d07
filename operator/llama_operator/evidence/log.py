"""Writes license decisions as a hash chain: one line for every verdict that differs from the last one. Used by `reconcile`.

Every line is written, and its hash anchored outside of the log, before anything is done on the ground of the decision. So a
decision that cannot be recorded starts nothing. See docs/designs/0010-evidence.md.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from llama_operator import __version__
from llama_operator.api.meta import rfc3339
from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed
from llama_operator.errors import LlamaOperatorError
from llama_operator.evidence import head
from llama_operator.evidence.chain import Json, Position, Signer, seal
from llama_operator.evidence.record import Event, decided
from llama_operator.kube.port import Ref


class EvidenceError(LlamaOperatorError):
    """A decision could not be recorded; nothing may be done on its ground."""


class DecisionLog(Protocol):
    """Records decisions before they take effect."""

    async def record(self, observed: Observed, decision: Decision) -> None:
        """Record `decision` about `observed`, unless it is what was recorded last.

        Raises:
            EvidenceError: If that is not possible.
            KubeError: If the hash of the line could not be anchored.
        """
        ...

    async def removed(self, ref: Ref, now: datetime) -> None:
        """Record that the deployment at `ref` is gone, if a decision about it was recorded; raises as `record` does."""
        ...


class NoDecisionLog:
    """Records nothing: for a run on one machine."""

    async def record(self, observed: Observed, decision: Decision) -> None:
        """Do nothing."""

    async def removed(self, ref: Ref, now: datetime) -> None:
        """Do nothing."""


class Anchor(Protocol):
    """Keeps the hash of the last line where whoever can change the log cannot change it."""

    def ensure_leading(self) -> None:
        """Raise NotLeaderError if another process may be writing the log by now."""
        ...

    async def hold(self, head: str) -> None:
        """Keep `head`, as `evidence.head` writes it; raises KubeError if it cannot be kept."""
        ...


class NoAnchor:
    """For a single process without a Lease: the log alone links one term to the next."""

    def ensure_leading(self) -> None:
        """Do nothing."""

    async def hold(self, head: str) -> None:
        """Do nothing."""


class HashChainLog:
    """A chain of one term.

    Args:
        write: Appends one line to the log, all of it or nothing; raises OSError.
        anchor: Where the hash of the last line is kept.
        signer: Signs each line and what is anchored; None: nothing is signed.
    """

    def __init__(self, write: Callable[[bytes], None], anchor: Anchor, signer: Signer | None = None) -> None:
        self._write = write
        self._anchor = anchor
        self._signer = signer
        self._position: Position | None = None
        self._recorded: dict[tuple[str, str], str] = {}
        """Substance of the last record of each deployment, by namespace and name."""

    async def begin(self, term: str, previous: str, now: datetime) -> None:
        """Begin the term: its first line says so, and follows the line with the hash `previous`.

        Raises:
            EvidenceError: If nothing can be written.
            KubeError: If the hash of the line could not be anchored.
        """
        self._position = Position(term, previous=previous)
        started: dict[str, Json] = {
            "event": Event.TERM_STARTED.value,
            "time": rfc3339(now),
            "operator": __version__,
        }
        await self._append(started)

    async def record(self, observed: Observed, decision: Decision) -> None:
        """See `DecisionLog.record`. A term records the verdict of every deployment at least once."""
        found = decided(observed, decision)
        if found is None:
            return
        key, substance = found.key, found.substance()
        if self._recorded.get(key) == substance:
            return
        # From here on another verdict may stand in the log, whether or not its hash gets anchored.
        self._recorded.pop(key, None)
        await self._append(found.to_json())
        # Only now: a pass that was cancelled before the hash was anchored records again.
        self._recorded[key] = substance

    async def removed(self, ref: Ref, now: datetime) -> None:
        """See `DecisionLog.removed`."""
        key = (ref.namespace, ref.name)
        if key not in self._recorded:
            return
        await self._append(
            {
                "event": Event.REMOVED.value,
                "time": rfc3339(now),
                "deployment": {"namespace": ref.namespace, "name": ref.name},
            }
        )
        self._recorded.pop(key, None)

    async def _append(self, content: Mapping[str, Json]) -> None:
        if self._position is None:
            raise EvidenceError("no term has begun, so no decision can be recorded")
        self._anchor.ensure_leading()
        try:
            line, following = seal(content, self._position, self._signer)
            # Not in a thread: two lines must not change places, and a cancelled pass must not leave half a step behind.
            self._write(line)
        except (OSError, ValueError) as error:
            raise EvidenceError(f"the license decision cannot be recorded, so nothing is started: {error}") from error
        self._position = following
        await self._anchor.hold(head.write(following, self._signer))

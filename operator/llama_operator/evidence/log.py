"""Writes license decisions as a hash chain: one line for every verdict that differs from the last one. Used by `reconcile`.

The operator writes every line, and anchors its hash outside of the log, before it acts on the decision. So a decision that
cannot be recorded starts nothing. See docs/designs/0010-evidence.md.
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
from llama_operator.evidence.record import DecisionRecord, Event, decided
from llama_operator.kube.port import Ref

_ORPHANS = Event.ORPHAN_ENDED.value
"""Third part of the key of what was recorded about orphans; no revision has such a name."""


class EvidenceError(LlamaOperatorError):
    """A decision could not be recorded; the operator must not act on it."""


class DecisionLog(Protocol):
    """Records decisions before they take effect."""

    async def append(self, observed: Observed, decision: Decision) -> None:
        """Append `decision` about `observed`, unless it equals the last one that was recorded.

        Raises:
            EvidenceError: If that is not possible.
            KubeError: If the hash of the line could not be anchored.
        """
        ...

    async def removed(self, ref: Ref, now: datetime) -> None:
        """Record that the deployment at `ref` is gone, if a decision about it was recorded; raises as `append` does."""
        ...

    async def orphaned(self, ref: Ref, services: tuple[str, ...], now: datetime) -> None:
        """Record that `services` outlived the deployment at `ref` and are ended, once; raises as `record` does."""
        ...


class NoDecisionLog:
    """Records nothing: for a run on one machine."""

    async def append(self, observed: Observed, decision: Decision) -> None:
        """Do nothing."""

    async def removed(self, ref: Ref, now: datetime) -> None:
        """Do nothing."""

    async def orphaned(self, ref: Ref, services: tuple[str, ...], now: datetime) -> None:
        """Do nothing."""


class Anchor(Protocol):
    """Keeps the hash of the last line in a place that writers of the log cannot change."""

    def ensure_leading(self) -> None:
        """Raise NotLeaderError if another process may be writing the log by now."""
        ...

    async def hold(self, head: str) -> None:
        """Keep `head`, as `evidence.head` writes it; raises KubeError if it cannot be kept."""
        ...


class NoAnchor:
    """For a single process without a Lease: only the log links one term to the next."""

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
        default_image: Image of deployments that name none.
    """

    def __init__(
        self, write: Callable[[bytes], None], anchor: Anchor, signer: Signer | None = None, *, default_image: str = ""
    ) -> None:
        self._write = write
        self._default_image = default_image
        self._anchor = anchor
        self._signer = signer
        self._position: Position | None = None
        self._recorded: dict[tuple[str, str, str], str] = {}
        """Substance of the last record of each revision that was recorded, see `DecisionRecord.key`."""

    async def begin(self, term: str, previous: str, now: datetime) -> None:
        """Begin the term with a first line, which follows the line with the hash `previous`.

        Raises:
            EvidenceError: If the line cannot be written.
            KubeError: If the hash of the line could not be anchored.
        """
        self._position = Position(term, previous=previous)
        started: dict[str, Json] = {
            "event": Event.TERM_STARTED.value,
            "time": rfc3339(now),
            "operator": __version__,
        }
        await self._append(started)

    async def append(self, observed: Observed, decision: Decision) -> None:
        """See `DecisionLog.append`. A term records the verdict of every deployment at least once."""
        for line in decided(observed, decision, default_image=self._default_image):
            await self._append_if_new(line)

    async def _append_if_new(self, line: DecisionRecord) -> None:
        key, substance = line.key, line.substance()
        if self._recorded.get(key) == substance:
            return
        # From here on the log may hold another verdict, whether or not its hash gets anchored.
        self._recorded.pop(key, None)
        await self._append(line.to_json())
        # Only now: a pass that was cancelled before the hash was anchored appends the line again.
        self._recorded[key] = substance
        self._recorded.pop((*key[:2], _ORPHANS), None)

    async def removed(self, ref: Ref, now: datetime) -> None:
        """See `DecisionLog.removed`."""
        known = [key for key in self._recorded if key[:2] == (ref.namespace, ref.name) and key[2] != _ORPHANS]
        if not known:
            return
        await self._append(
            {
                "event": Event.REMOVED.value,
                "time": rfc3339(now),
                "deployment": {"namespace": ref.namespace, "name": ref.name},
            }
        )
        for key in known:
            self._recorded.pop(key, None)

    async def orphaned(self, ref: Ref, services: tuple[str, ...], now: datetime) -> None:
        """See `DecisionLog.orphaned`."""
        key, substance = (ref.namespace, ref.name, _ORPHANS), ",".join(sorted(services))
        if self._recorded.get(key) == substance:
            return
        await self._append(
            {
                "event": Event.ORPHAN_ENDED.value,
                "time": rfc3339(now),
                "deployment": {"namespace": ref.namespace, "name": ref.name},
                "removes": list[Json](sorted(services)),
            }
        )
        self._recorded[key] = substance

    async def _append(self, content: Mapping[str, Json]) -> None:
        if self._position is None:
            raise EvidenceError("no term has begun, so no decision can be recorded")
        self._anchor.ensure_leading()
        try:
            line, following = seal(content, self._position, self._signer)
            # Not in a thread: two lines must not change places, and a cancelled pass must not leave half a line.
            self._write(line)
        except (OSError, ValueError) as error:
            raise EvidenceError(f"the license decision cannot be recorded, so nothing is started: {error}") from error
        self._position = following
        await self._anchor.hold(head.write(following, self._signer))

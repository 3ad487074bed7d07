"""The ledger of all replicas as an actor of Ray, and what a replica needs of Ray for its desk. The only module with Ray.

The actor is on the head, which outlives the workers. Ray starts it again when its process ends; it comes back empty and learns
from the replicas what they have spent (`amounts.Statement`). Budgets of replicas that are gone by then are forgotten.
"""

import asyncio
import contextlib
import secrets
import time
from datetime import UTC, datetime
from typing import Any, Final

import ray
from ray.util.metrics import Counter as RayCounter
from ray.util.metrics import Histogram as RayHistogram

from llama_serving.desk.amounts import Answer, Moment, Statement
from llama_serving.desk.counters import Counter
from llama_serving.desk.leases import LedgerAwayError
from llama_serving.desk.ledger import LEARNING_SECONDS, Ledger
from llama_serving.head_actor import head_actor
from llama_serving.tracing.durations import Histogram

_ACTOR: Final = "llama-ledger"
_SECRET_SECONDS: Final = 10.0


def moment() -> Moment:
    """Return now."""
    return Moment(seconds=time.monotonic(), utc=datetime.now(UTC))


def ray_counter(name: str, description: str, labels: tuple[str, ...]) -> Counter:
    """Make a counter that Ray publishes; for `counters.Counters`."""
    counter: Counter = RayCounter(name, description=description, tag_keys=labels)
    return counter


def ray_histogram(name: str, description: str, bounds: tuple[float, ...], labels: tuple[str, ...]) -> Histogram:
    """Make a histogram that Ray publishes; for `durations.Durations`."""
    histogram: Histogram = RayHistogram(name, description=description, boundaries=list(bounds), tag_keys=labels)
    return histogram


class LedgerActor:
    """The ledger, and the secret of the tenants' salts. Runs on the head."""

    def __init__(self) -> None:
        # The first one of a cluster has nothing to learn: what spends is there only once it has asked this one for the secret.
        again = ray.get_runtime_context().was_current_actor_reconstructed
        self._ledger = Ledger(learns_until=moment().seconds + LEARNING_SECONDS) if again else Ledger()
        self._secret = secrets.token_bytes(32)

    def exchange(self, replica: str, statements: dict[str, Statement]) -> Answer:
        """Do `Ledger.exchange`."""
        return self._ledger.exchange(replica, statements, moment())

    def leave(self, replica: str) -> None:
        """Do `Ledger.leave`."""
        self._ledger.leave(replica, moment())

    def secret(self) -> bytes:
        """Return the secret."""
        return self._secret


class RayBank:
    """Reaches the actor, which the first replica creates. For use in a process that Ray runs."""

    def __init__(self) -> None:
        self._actor: Any = None
        self._finding: asyncio.Task[Any] | None = None

    async def exchange(self, replica: str, statements: dict[str, Statement]) -> Answer:
        """Do `Ledger.exchange`."""
        answer: Answer = await self._ask("exchange", replica, statements)
        return answer

    async def leave(self, replica: str) -> None:
        """Do `Ledger.leave`."""
        with contextlib.suppress(LedgerAwayError):
            await self._ask("leave", replica)

    async def secret(self) -> bytes:
        """Return the secret of the salts; a new one if the actor cannot be reached: then this replica shares no prefixes."""
        try:
            async with asyncio.timeout(_SECRET_SECONDS):
                secret: bytes = await self._ask("secret")
        except (LedgerAwayError, TimeoutError):
            return secrets.token_bytes(32)
        return secret

    async def _ask(self, method: str, *arguments: object) -> Any:
        try:
            actor = await self._find()
            return await getattr(actor, method).remote(*arguments)
        except ray.exceptions.RayError as error:
            self._actor = None
            raise LedgerAwayError(str(error)) from error

    async def _find(self) -> Any:
        if self._actor is None:
            if self._finding is None or self._finding.done():
                # Asks the head, and waits for as long as the head is away: in a thread, and once.
                self._finding = asyncio.get_running_loop().create_task(
                    asyncio.to_thread(head_actor, LedgerActor, _ACTOR)
                )
            self._actor = await asyncio.shield(self._finding)
        return self._actor

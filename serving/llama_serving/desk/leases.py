"""Shares limits between replicas: keeps the wallets of one replica filled from the ledger. No Ray in it; `desk` makes it.

A replica decides from its leases, without asking anybody, and asks ahead of need. A request that needs more than the leases have
waits for one answer of the ledger, together with all others that wait at that moment.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final, Protocol

from llama_serving.contract.tenants import TenantLimits
from llama_serving.desk.amounts import Amount, Answer, Lease, Moment, Shortage, Standing, Statement, has_limits
from llama_serving.desk.ledger import Ledger
from llama_serving.desk.wallet import Reservation, Wallet

ROUND_SECONDS: Final = 0.5
"""Time between two statements while the replica holds or uses anything."""

_HEARTBEAT_ROUNDS: Final = 4
"""Each so many rounds the ledger hears of the replica in any case, and what it spent: a new ledger does not know it."""

PATIENT_SECONDS: Final = 5.0
"""Longest wait for a ledger that has answered until now: one that is slow on a busy machine is not away, and who has a budget is
refused while it is. A ledger that is gone is known as gone at once."""
PROBE_SECONDS: Final = 1.0
"""Longest wait for a ledger that was away at the last try."""
_AWAY_SECONDS: Final = 2.0
"""Time between two tries while the ledger is away; nobody waits for it meanwhile."""

_LOGGER = logging.getLogger("ray.serve")


class LedgerAwayError(Exception):
    """The ledger does not answer."""


class Bank(Protocol):
    """Where the ledger is."""

    async def exchange(self, replica: str, statements: dict[str, Statement]) -> Answer:
        """Do `Ledger.exchange`.

        Raises:
            LedgerAwayError: If the ledger cannot be reached.
        """
        ...

    async def leave(self, replica: str) -> None:
        """Do `Ledger.leave`; never raises."""
        ...


class OwnBank:
    """A ledger within this process, for a deployment with one replica, and for tests.

    Args:
        clock: The ledger's time.
    """

    def __init__(self, clock: Callable[[], Moment]) -> None:
        self._clock = clock
        self.ledger = Ledger()

    async def exchange(self, replica: str, statements: dict[str, Statement]) -> Answer:
        """Do `Ledger.exchange`."""
        return self.ledger.exchange(replica, statements, self._clock())

    async def leave(self, replica: str) -> None:
        """Do `Ledger.leave`."""
        self.ledger.leave(replica, self._clock())


class _Waiting:
    """A request that waits for the ledger."""

    def __init__(self, tenant: str, need: Amount) -> None:
        self.tenant = tenant
        self.need = need
        self.answer: asyncio.Future[Lease | Shortage | None] = asyncio.get_running_loop().create_future()


class Leases:
    """All wallets of one replica. For one event loop.

    Args:
        bank: Where the ledger is.
        replica: Id of this replica.
        clock: The replica's time.
        patient_seconds: Longest wait for a ledger that has answered until now.
        probe_seconds: Longest wait for one that was away at the last try.
    """

    def __init__(
        self,
        bank: Bank,
        *,
        replica: str,
        clock: Callable[[], Moment],
        patient_seconds: float = PATIENT_SECONDS,
        probe_seconds: float = PROBE_SECONDS,
    ) -> None:
        self._bank = bank
        self._replica = replica
        self._clock = clock
        self._patient_seconds = patient_seconds
        self._probe_seconds = probe_seconds
        self._wallets: dict[str, Wallet] = {}
        self._waiting: list[_Waiting] = []
        self._talk: asyncio.Task[None] | None = None
        self._replicas = 1
        self._away_until = 0.0
        self._is_away = False
        self._tells_all = False

    @property
    def is_ledger_away(self) -> bool:
        """Whether the last try to reach the ledger failed."""
        return self._is_away

    def reconfigure(self, limits_of: Callable[[str], TenantLimits]) -> None:
        """Take new limits at once, also for tenants of whom no request comes: a replica tells the ledger its limits with all it says."""
        for tenant, wallet in self._wallets.items():
            wallet.limits = limits_of(tenant)

    async def reserve(self, limits: TenantLimits, need: Amount) -> Reservation | Shortage | None:
        """Reserve what a request may use at most.

        Returns:
            The reservation, for `settle`; or why there is not enough; None if the tenant has no limits.
        """
        if not has_limits(limits):
            return None
        wallet = self._wallet(limits)
        now = self._clock()
        reservation = wallet.reserve(need, now)
        if reservation is not None:
            if wallet.runs_low(now):
                # Before a request has to wait for it.
                self._talk_soon()
            return reservation
        refused = wallet.refused_before(need, now)
        if refused is not None:
            return refused
        if now.seconds < self._away_until:
            return wallet.reserve_alone(need, self._replicas, now)
        waiting = _Waiting(limits.name, wallet.counted(need))
        self._waiting.append(waiting)
        self._talk_soon()
        try:
            answer = await waiting.answer
        except asyncio.CancelledError:
            self._given_up(waiting)
            raise
        if answer is None:
            return wallet.reserve_alone(need, self._replicas, self._clock())
        return answer if isinstance(answer, Shortage) else wallet.reserve_from(answer, self._clock())

    def settle(self, tenant: str, reservation: Reservation, used: int) -> None:
        """End a reservation; see `Wallet.settle`."""
        wallet = self._wallets.get(tenant)
        if wallet is None:
            return
        now = self._clock()
        wallet.settle(reservation, used, now)
        if wallet.has_spare_slots(now):
            self._talk_soon()

    def standing(self, limits: TenantLimits) -> Standing:
        """How a tenant stands, as far as this replica knows."""
        return self._wallet(limits).standing(self._clock()) if has_limits(limits) else Standing()

    async def run(self) -> None:
        """Talk with the ledger for as long as the replica lives."""
        rounds = 0
        try:
            while True:
                await asyncio.sleep(ROUND_SECONDS)
                rounds += 1
                now = self._clock()
                if self._talk is None or self._talk.done():
                    self._wallets = {name: wallet for name, wallet in self._wallets.items() if not wallet.is_idle(now)}
                self._tells_all = self._tells_all or rounds % _HEARTBEAT_ROUNDS == 0
                if self._tells_all or any(wallet.has_news(now) for wallet in self._wallets.values()):
                    self._talk_soon()
        finally:
            await self.close()

    async def close(self) -> None:
        """Give everything back, as far as the ledger can be reached."""
        if self._talk is not None:
            self._talk.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._talk
            self._talk = None
        now = self._clock()
        statements = {name: wallet.statement((), now, last=True) for name, wallet in self._wallets.items()}
        with contextlib.suppress(LedgerAwayError, TimeoutError):
            async with asyncio.timeout(self._probe_seconds):
                await self._bank.exchange(self._replica, statements)
                await self._bank.leave(self._replica)

    def _wallet(self, limits: TenantLimits) -> Wallet:
        wallet = self._wallets.get(limits.name)
        if wallet is None:
            wallet = self._wallets[limits.name] = Wallet(limits)
        wallet.limits = limits
        return wallet

    def _talk_soon(self) -> None:
        if self._talk is None or self._talk.done():
            self._talk = asyncio.get_running_loop().create_task(self._talk_until_quiet())

    async def _talk_until_quiet(self) -> None:
        """Exchange once, and again for as long as requests wait that came meanwhile."""
        if self._clock().seconds < self._away_until:
            waiting, self._waiting = self._waiting, []
            self._answer_nobody(waiting)
            return
        # All that ask in the same turn of the loop share one exchange.
        await asyncio.sleep(0)
        while True:
            waiting, self._waiting = self._waiting, []
            try:
                await self._exchange(waiting)
            finally:
                self._answer_nobody(waiting)
            if not self._waiting:
                return

    async def _exchange(self, waiting: list[_Waiting]) -> None:
        now = self._clock()
        asked: dict[str, list[_Waiting]] = {}
        for one in waiting:
            asked.setdefault(one.tenant, []).append(one)
        statements = {
            name: wallet.statement(tuple(one.need for one in asked.get(name, ())), now)
            for name, wallet in self._wallets.items()
            if self._tells_all or name in asked or wallet.has_news(now)
        }
        try:
            async with asyncio.timeout(self._probe_seconds if self._is_away else self._patient_seconds):
                answer = await self._bank.exchange(self._replica, statements)
        except (LedgerAwayError, TimeoutError) as error:
            self._note_away(error, statements)
            return
        if self._is_away:
            _LOGGER.warning("The ledger of the tenants' limits answers again")
        self._is_away = self._tells_all = False
        self._replicas = max(1, answer.replicas)
        now = self._clock()
        for name, reply in answer.replies.items():
            wallet = self._wallets[name]
            wallet.take(reply, now)
            for one, got in zip(asked.get(name, ()), reply.needs, strict=True):
                if isinstance(got, Shortage):
                    wallet.remember(one.need, got, now)
                if not one.answer.done():
                    one.answer.set_result(got)
                elif isinstance(got, Lease):
                    wallet.put(got, now)

    def _note_away(self, error: Exception, statements: dict[str, Statement]) -> None:
        for name, statement in statements.items():
            self._wallets[name].lost(statement)
        if not self._is_away:
            _LOGGER.warning(
                "The ledger of the tenants' limits does not answer (%s): this replica keeps to its share of each limit "
                "a minute, and refuses what has a budget",
                str(error) or "no answer in time",
            )
        # The one that answers next may be a new one.
        self._is_away = self._tells_all = True
        self._away_until = self._clock().seconds + _AWAY_SECONDS

    def _given_up(self, waiting: _Waiting) -> None:
        """The client has left. A lease that came for it in the same moment is kept for others."""
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        elif waiting.answer.done() and not waiting.answer.cancelled():
            got = waiting.answer.result()
            if isinstance(got, Lease):
                self._wallets[waiting.tenant].put(got, self._clock())

    @staticmethod
    def _answer_nobody(waiting: list[_Waiting]) -> None:
        for one in waiting:
            if not one.answer.done():
                one.answer.set_result(None)

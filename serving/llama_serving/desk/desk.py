"""The desk: what a tenant may use of this replica now, and what it used. It is put together here, in a replica of the direct path.

How to wire it, in the Serve deployment of an engine::

    desk = Desk(settings, model=ModelFacts(...), source=usage_source(identity), replica=replica_id, bank=RayBank(),
                secret=await bank.secret(), load=engine.load, counters=Counters(ray_counter), log=UsageLog(folder, replica_id))
    desk.start()                             # in the event loop of the replica
    metered(engine_client)                   # once the engine has started, before its first request
    app.add_middleware(DeskMiddleware, desk=desk)   # in front of vLLM's application, behind what answers without an engine
    desk.reconfigure(settings)               # whenever Serve hands over a new `user_config`
    await desk.stop()                        # when the replica ends

Only the bank and the counters know Ray; see `ledger_actor`.
"""

import asyncio
import hashlib
import hmac
import logging
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from llama_serving.contract.tenants import DeskSettings, TenantLimits
from llama_serving.contract.usage import Dialect, Usage, UsageEvent
from llama_serving.desk import refusing
from llama_serving.desk.amounts import Amount, Moment, Shortage, Standing, counts_tokens
from llama_serving.desk.buckets import WINDOW_SECONDS, SlidingWindow
from llama_serving.desk.counters import Counters
from llama_serving.desk.fair import Visitors
from llama_serving.desk.leases import Bank, Leases
from llama_serving.desk.meter import Tally
from llama_serving.desk.usage_log import UsageLog
from llama_serving.desk.wallet import Reservation
from llama_serving.desk.wish import Wish
from llama_serving.door.caller import Caller
from llama_serving.door.refusals import Refusal
from llama_serving.tracing import request as tracing
from llama_serving.tracing.durations import Durations
from llama_serving.tracing.pace import Pace

CLIENT_LEFT: Final = 499
"""Status in the usage log of a request whose client left before there was an answer."""

_SHORTEST_ANSWER: Final = 16
"""A request that names no length is refused rather than given a shorter answer than this."""

_NOTES_AT_ONCE: Final = 4
"""Requests whose usage is written in one turn of the loop."""

_UNKNOWN_WAIT: Final = 5.0
_LOGGER = logging.getLogger("ray.serve")


class Load(Protocol):
    """What an engine says about its queue."""

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        ...

    @property
    def slots(self) -> int:
        """Sequences that it runs at once; 0 if it is not known."""
        ...


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the desk knows of the model.

    Attributes:
        name: Its name on the endpoint, for requests that name none.
        names: Returns all names that can be asked for: the model and its adapters.
        coming: Returns names of adapters that this replica will have soon.
        max_model_len: Longest prompt and answer together, in tokens.
        default_output_tokens: Longest answer of a request that names none, where its tenant has limits of tokens.
        most_choices: Answers that one request may ask for (`n`).
        orders_by_priority: Whether the engine schedules by priority.
        takes_conversations: Whether there is a template that makes a prompt of a conversation; base models have none.
        media_domains: Hosts from which the engine fetches images.
    """

    name: str
    names: Callable[[], frozenset[str]]
    max_model_len: int
    default_output_tokens: int = 4096
    most_choices: int = 16
    orders_by_priority: bool = False
    coming: Callable[[], frozenset[str]] = frozenset
    takes_conversations: bool = True
    media_domains: frozenset[str] = frozenset()


@dataclass(slots=True, eq=False)
class Visit:
    """One admitted request."""

    request_id: str
    caller: Caller
    limits: TenantLimits
    wish: Wish
    model: str
    started: datetime
    tally: Tally
    trace: tracing.RequestTrace = tracing.UNTRACED
    reservation: Reservation | None = None
    status: int = CLIENT_LEFT


class Desk:
    """Limits and usage in one replica. For one event loop.

    Args:
        settings: Limits of the tenants.
        model: What the desk knows of the model.
        source: `contract.usage.usage_source` of the deployment.
        replica: Id of the replica.
        bank: Where the ledger of all replicas is.
        secret: Makes the tenants' salts; the same in all replicas.
        load: Returns what the engine says about its queue; None while it says nothing.
        counters: Counters to publish.
        durations: Histograms to publish; None for none.
        log: The usage log; None for none.
        clock: Returns now.
        note_seconds: How long usage and metrics of a request that has ended wait for the requests that come at that moment; 0
            for not at all. Limits never wait.
    """

    def __init__(
        self,
        settings: DeskSettings,
        *,
        model: ModelFacts,
        source: str,
        replica: str,
        bank: Bank,
        secret: bytes,
        load: Callable[[], Load | None],
        counters: Counters,
        clock: Callable[[], Moment],
        durations: Durations | None = None,
        log: UsageLog | None = None,
        note_seconds: float = 0.0,
    ) -> None:
        self.model = model
        self._source = source
        self._secret = secret
        self._load = load
        self._counters = counters
        self._durations = durations
        self._log = log
        self._clock = clock
        self._note_seconds = note_seconds
        self._notes: deque[Callable[[], None]] = deque()
        self._leases = Leases(bank, replica=replica, clock=clock)
        self._visitors = Visitors()
        self._by_model: Counter[str] = Counter()
        self._ended = SlidingWindow(0)
        self._background: list[asyncio.Task[None]] = []
        self.reconfigure(settings)

    def reconfigure(self, settings: DeskSettings) -> None:
        """Take new settings; requests that run keep what they reserved."""
        self._settings = settings
        self._limits = {limits.name: limits for limits in settings.tenants}
        self._revoked = frozenset(settings.revoked_keys or ())
        self._leases.reconfigure(self.limits_of)

    def start(self) -> None:
        """Begin to talk with the ledger and to publish the counters."""
        loop = asyncio.get_running_loop()
        self._background = [loop.create_task(self._leases.run()), loop.create_task(self._flush_forever())]

    async def stop(self) -> None:
        """Give the leases back, and write what is still to be written."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._background = []
        while self._notes:
            self._notes.popleft()()
        self._counters.flush()
        if self._log is not None:
            await asyncio.to_thread(self._log.close)

    def limits_of(self, tenant: str) -> TenantLimits:
        """Return the limits of a tenant, listed or not."""
        listed = self._limits.get(tenant)
        if listed is not None:
            return listed
        others = self._settings.others
        return TenantLimits.model_construct(**{**dict(others or TenantLimits(name="others")), "name": tenant})

    def model_for(self, caller: Caller, name: str) -> str | None:
        """Return the model or adapter that `name` stands for; None if there is none, or the caller may not ask for it.

        A key for a model opens its aliases too, and a key for an alias only that.
        """
        stands_for = self.model.name if name in (self._settings.aliases or ()) else name
        if stands_for not in self.model.names():
            return None
        return stands_for if caller.may_ask_for(name) or caller.may_ask_for(stands_for) else None

    def is_revoked(self, caller: Caller) -> bool:
        """Whether the caller's key was revoked a moment ago, and the door may not know it yet."""
        return caller.key_id in self._revoked

    def salt_of(self, tenant: str) -> str:
        """Return what keeps a tenant's prefixes apart from others' in the engine's cache."""
        return hmac.new(self._secret, tenant.encode(), hashlib.sha256).hexdigest()

    def standing_of(self, tenant: str) -> Standing:
        """Return how a tenant stands."""
        return self._leases.standing(self.limits_of(tenant))

    async def admit(self, caller: Caller, wish: Wish, *, request_id: str) -> Visit | Refusal:
        """Admit a request, or say why not. An admitted one must be ended by `leave`."""
        limits = self.limits_of(caller.tenant)
        refusal = refusing.of_long_answer(limits, wish)
        if refusal is not None:
            return self._refused(caller.tenant, refusal)
        output_tokens = self._output_tokens(wish, limits)
        need = Amount(requests=1, tokens=wish.prompt_tokens + wish.sequences * (output_tokens or 0), slots=1)
        refusal = refusing.of_impossible(limits, wish, output_tokens or 0) or self._full_for(caller.tenant)
        if refusal is not None:
            return self._refused(caller.tenant, refusal)
        visit = Visit(
            request_id=request_id,
            caller=caller,
            limits=limits,
            wish=wish,
            model=wish.model or self.model.name,
            started=self._clock().utc,
            tally=Tally(most_output_tokens=output_tokens),
        )
        # Before the ledger is asked: requests that come meanwhile have to see this one.
        self._came(visit)
        try:
            got = await self._leases.reserve(limits, need)
        except BaseException:
            self._went(visit)
            raise
        if isinstance(got, Shortage):
            self._went(visit)
            refusal = refusing.of_shortage(got, limits, need.tokens, self._settings.house)
            return self._refused(caller.tenant, refusal, self.standing_of(caller.tenant))
        visit.reservation = got
        visit.trace = tracing.CURRENT.get()
        visit.trace.hold()
        return visit

    async def leave(self, visit: Visit) -> None:
        """End a request. It is settled when its last call of the engine has ended, which may be a moment later."""
        await visit.tally.leave(lambda: self._settle(visit))

    def running(self, model: str) -> int:
        """Return how many requests for a model or an adapter run."""
        return self._by_model[model]

    def rejected(self, tenant: str, reason: str) -> None:
        """Count a request that was refused before it came to limits."""
        self._counters.rejected(tenant, reason)

    def _came(self, visit: Visit) -> None:
        self._visitors.add(visit.caller.tenant, visit.tally)
        self._by_model[visit.model] += 1

    def _went(self, visit: Visit) -> None:
        self._visitors.remove(visit.caller.tenant, visit.tally)
        self._by_model[visit.model] -= 1
        if not self._by_model[visit.model]:
            del self._by_model[visit.model]

    def _settle(self, visit: Visit) -> None:
        now, tally = self._clock(), visit.tally
        self._went(visit)
        self._ended.charge(1, now.seconds)
        if visit.reservation is not None:
            # A prompt that the engine took and could not finish has cost it time: limits count it, the log does not.
            used = tally.prompt_tokens + tally.unread_tokens + tally.output_tokens
            self._leases.settle(visit.caller.tenant, visit.reservation, used)
        answered_by = tally.adapter or self.model.name
        visit.trace.has_used(
            answered_by,
            prompt_tokens=tally.prompt_tokens,
            cached_tokens=tally.cached_tokens,
            output_tokens=tally.output_tokens,
            finish_reason=tally.finish_reason,
        )
        event = UsageEvent.model_construct(
            source=self._source,
            id=visit.request_id,
            subject=visit.caller.tenant,
            time=now.utc,
            data=Usage.model_construct(
                started=visit.started,
                model=visit.model,
                adapter=tally.adapter,
                dialect=visit.wish.dialect,
                stream=visit.wish.stream,
                status=visit.status,
                finish_reason=tally.finish_reason,
                key_id=visit.caller.key_id,
                prompt_tokens=tally.prompt_tokens,
                cached_tokens=tally.cached_tokens,
                output_tokens=tally.output_tokens,
            ),
        )
        self._later(lambda: self._note(event, tally.pace, answered_by))

    def _note(self, event: UsageEvent, pace: Pace, answered_by: str) -> None:
        self._counters.served(event)
        if self._durations is not None:
            self._durations.took(event, pace, response_model=answered_by)
        if self._log is not None:
            self._log.write(event.model_dump_json(exclude_none=True).encode())

    def _later(self, note: Callable[[], None]) -> None:
        """Write `note` a little later. Requests that come now go to the engine first."""
        if not self._note_seconds:
            note()
            return
        self._notes.append(note)
        if len(self._notes) == 1:
            asyncio.get_running_loop().call_later(self._note_seconds, self._write_notes)

    def _write_notes(self) -> None:
        try:
            for _ in range(min(_NOTES_AT_ONCE, len(self._notes))):
                self._notes.popleft()()
        finally:
            # Also after one that went wrong: the others are usage too, and only the first of them asks for this call.
            if self._notes:
                asyncio.get_running_loop().call_soon(self._write_notes)

    def _output_tokens(self, wish: Wish, limits: TenantLimits) -> int | None:
        """Longest answer of a sequence that is reserved, and enforced; None for what the request says and the model allows."""
        if wish.dialect is Dialect.COUNT_TOKENS:
            return 0
        if wish.output_tokens is not None:
            return min(wish.output_tokens, self.model.max_model_len)
        caps = [cap for cap in (limits.max_output_tokens, wish.usual_output_tokens) if cap is not None]
        if not counts_tokens(limits):
            return min(caps, default=None)
        standing = self._leases.standing(limits)
        left = [standing.budget_left, None if standing.tokens is None else standing.tokens.remaining]
        rooms = [(tokens - wish.prompt_tokens) // wish.sequences for tokens in left if tokens is not None]
        return min(max(_SHORTEST_ANSWER, min(rooms)), self.model.default_output_tokens, self.model.max_model_len, *caps)

    def _full_for(self, tenant: str) -> Refusal | None:
        """Refuse if the queue has no place for a request of `tenant`."""
        now, most = self._clock().seconds, self._settings.max_waiting_requests
        self._visitors.asks(tenant, now)
        load = self._load()
        if load is None:
            return None
        # The engine tells its queue once a step: what came since then is not in it.
        waiting = max(load.waiting, self._visitors.count - load.slots if load.slots else 0)
        # Among those that wait here are some that run and have made no token yet.
        if waiting <= 0 or (waiting < most and self._visitors.has_place(tenant, most + load.slots, now)):
            return None
        a_second = self._ended.used(now) / WINDOW_SECONDS
        return refusing.of_full_engine(waiting, (waiting - most + 1) / a_second if a_second else _UNKNOWN_WAIT)

    def _refused(self, tenant: str, refusal: Refusal, standing: Standing | None = None) -> Refusal:
        self._counters.rejected(tenant, refusal.code)
        if standing is None:
            return refusal
        return Refusal(
            status=refusal.status,
            message=refusal.message,
            code=refusal.code,
            type=refusal.type,
            param=refusal.param,
            headers=(*refusal.headers, *refusing.standing_headers(standing)),
        )

    async def _flush_forever(self) -> None:
        more = False
        while True:
            await asyncio.sleep(0 if more else 1.0)
            more = self._flush()

    def _flush(self) -> bool:
        """Publish what there is, or the first part of it; return whether more waits."""
        try:
            if self._log is not None:
                self._counters.lines_lost(self._log.lost)
            self._counters.flush()
            return self._durations is not None and self._durations.publish()
        except Exception:
            _LOGGER.exception("The metrics of the desk cannot be published")
            return False

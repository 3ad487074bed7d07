"""The engine's Serve deployment on the direct path: the replica itself answers HTTP, with vLLM's own application.

Serve imports `DirectServer` through `replicas`. What the direct path needs of Ray's and vLLM's private names is here, and
tests/serving runs it: it serves, streams, scales, cuts off clients. See docs/designs/0020-data-plane.md.
"""

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any, Final

from ray import serve
from ray.serve._private.logging_utils import get_serve_logs_dir
from typing_extensions import override

from llama_serving.board.application import BoardFirst, board_application
from llama_serving.board.reporting import BoardClient, ReplicaCounts
from llama_serving.config import APPLICATION_NAME
from llama_serving.contract.adapters import AdapterReport
from llama_serving.contract.tenants import DeskSettings, StoreSettings
from llama_serving.contract.usage import DIALECTS, usage_source
from llama_serving.desk.counters import Counters
from llama_serving.desk.desk import Desk, ModelFacts
from llama_serving.desk.leases import Bank
from llama_serving.desk.ledger_actor import RayBank, moment, ray_counter, ray_histogram
from llama_serving.desk.middleware import DeskMiddleware
from llama_serving.desk.usage_log import UsageLog
from llama_serving.door.passed import OnlyThroughTheDoor
from llama_serving.engine import frontend
from llama_serving.engine.adapters import Adapters
from llama_serving.engine.guard import RayGuard, RayMetrics
from llama_serving.engine.server import LlamaServer
from llama_serving.guard.judge import Judge
from llama_serving.guard.middleware import GuardMiddleware
from llama_serving.licenses.headers import LicenseHeaders, headers_of
from llama_serving.tracing import switch
from llama_serving.tracing.durations import Durations

_ADAPTERS_SECONDS: Final = 300.0
"""Longest wait of a new replica for its adapters: a volume that does not answer keeps no model from serving."""

_NOTE_SECONDS: Final = 0.02
"""Clients that have their answer ask again within some milliseconds: usage is written while the engine reads what they ask."""


class _DirectServer(LlamaServer):
    """`LlamaServer` with an HTTP application around vLLM's."""

    _desk: Desk | None = None
    _adapters: Adapters | None = None
    _judge: Judge | None = None
    _limits = DeskSettings()

    async def __init__(self, config: dict[str, Any], guard: Any = None) -> None:  # type: ignore[misc]  # Serve awaits it
        self._guard = guard
        await super().__init__(config)

    @override
    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take limits of tenants, how the guard is used, and the list of adapters; Serve calls this at the start, and for each change.

        While requests go on it returns at once: Serve sends a replica nothing until it has. At the start it returns when the
        adapters are there, so that the first request finds them.
        """
        await super().reconfigure(user_config)
        self._limits = DeskSettings.model_validate(user_config)
        if self._desk is not None:
            self._desk.reconfigure(self._limits)
        if self._judge is not None:
            self._judge.reconfigure(self._limits.guard)
        starts = self._adapters is None
        adapters = self._make_adapters()
        if adapters is not None:
            adapters.take(self._limits.adapters or ())
            if starts:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_ADAPTERS_SECONDS):
                        await adapters.tried()

    def _make_adapters(self) -> Adapters | None:
        room = self._serving.adapters
        if self._adapters is None and room is not None:
            self._adapters = Adapters(room, self.engine, running=self._running)
        return self._adapters

    def _running(self, model: str) -> int:
        return 0 if self._desk is None else self._desk.running(model)

    @override
    def _adapter_reports(self) -> tuple[AdapterReport, ...]:
        return () if self._adapters is None else self._adapters.reports()

    def _names(self) -> frozenset[str]:
        own = frozenset((self._serving.model_id,))
        return own if self._adapters is None else own | self._adapters.names()

    def _coming(self) -> frozenset[str]:
        return frozenset() if self._adapters is None else self._adapters.coming()

    async def _listed(self) -> tuple[str, ...]:
        return () if self._adapters is None else tuple(sorted(self._adapters.names()))

    async def __serve_build_asgi_app__(self) -> Any:
        """Build the application; Serve calls this once the engine has started.

        Each layer that is added stands in front of those before it.
        """
        app = await super().__serve_build_asgi_app__()
        # vLLM has built its layers already; without this, none could be added.
        app.middleware_stack = None
        config = self._serving
        frontend.without_idle_layers(app)
        frontend.only_with(DIALECTS, app)
        frontend.answer_by_the_asked_name(app.state)
        frontend.spare_the_loop(app, reads_parts=config.guard is not None)
        self._desk = await self._open_desk(takes_conversations=frontend.has_chat_template(app.state))
        if config.guard is not None:
            self._judge = Judge(RayGuard(self._guard), self._limits.guard, RayMetrics(), time.monotonic)
            app.add_middleware(
                GuardMiddleware, judge=self._judge, decode=self._engine_tokenizer().decode, salt_of=self._desk.salt_of
            )
        app.add_middleware(DeskMiddleware, desk=self._desk, traces=switch.traces())
        counts = ReplicaCounts(APPLICATION_NAME, config.server_deployment)
        board = board_application(config, BoardClient(), counts, self._listed, lambda: self._limits.aliases or ())
        app.add_middleware(BoardFirst, board=board)
        app.add_middleware(OnlyThroughTheDoor, door=config.door)
        headers = headers_of(config.license)
        app.add_middleware(LicenseHeaders, headers=lambda: headers)
        return app

    def _engine_tokenizer(self) -> Any:
        return self.engine._engine_client.get_tokenizer()  # noqa: SLF001 - Ray hands it out nowhere

    async def _open_desk(self, *, takes_conversations: bool) -> Desk:
        config, bank = self._serving, RayBank()
        replica = serve.get_replica_context().replica_id.unique_id
        identity = config.identity
        desk = Desk(
            self._limits,
            model=ModelFacts(
                name=config.model_id,
                names=self._names,
                coming=self._coming,
                max_model_len=config.engine.max_model_len,
                orders_by_priority=True,
                takes_conversations=takes_conversations,
                media_domains=frozenset(config.engine.allowed_media_domains or ()),
            ),
            source=usage_source(config.identity),
            # Other deployments may have the same ledger.
            replica=f"{identity.namespace}/{identity.name}/{replica}",
            bank=bank if config.store is None else _shared(config.store),
            secret=await bank.secret(),
            load=self._load,
            counters=Counters(ray_counter),
            durations=Durations(ray_histogram),
            clock=moment,
            log=UsageLog(Path(get_serve_logs_dir()).parent, replica),
            note_seconds=_NOTE_SECONDS,
        )
        desk.start()
        return desk

    @override
    async def __del__(self) -> None:
        """Serve calls and awaits this when it stops the replica."""
        if self._adapters is not None:
            await self._adapters.stop()
        if self._desk is not None:
            await self._desk.stop()
        await asyncio.to_thread(switch.flush)
        await super().__del__()


def _shared(store: StoreSettings) -> Bank:
    """The ledger in a server. Its client is in the image since the field exists; replicas without a server do not need it."""
    from llama_serving.desk.shared.valkey_bank import ValkeyBank  # noqa: PLC0415

    return ValkeyBank(store, clock=moment)


DirectServer = serve.ingress()(_DirectServer)

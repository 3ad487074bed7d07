"""The engine's Serve deployment on the direct path: the replica itself answers HTTP, with vLLM's own application.

Serve imports `DirectServer` by its path, see `app`. What the direct path needs of Ray's and vLLM's private names is here, and
tests/serving runs it: it serves, streams, scales, cuts off clients. See docs/designs/0020-data-plane.md.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve._private.logging_utils import get_serve_logs_dir
from typing_extensions import override

from llama_serving.board.application import BoardFirst, board_application
from llama_serving.board.reporting import BoardClient, ReplicaCounts
from llama_serving.config import APPLICATION_NAME
from llama_serving.contract.store import StoreSettings
from llama_serving.contract.tenants import DeskSettings
from llama_serving.contract.usage import usage_source
from llama_serving.desk.counters import Counters
from llama_serving.desk.desk import Desk, ModelFacts
from llama_serving.desk.leases import Bank
from llama_serving.desk.ledger_actor import RayBank, moment, ray_counter, ray_histogram
from llama_serving.desk.middleware import DeskMiddleware
from llama_serving.desk.usage_log import UsageLog
from llama_serving.door.passed import OnlyThroughTheDoor
from llama_serving.engine.guard import RayGuard, RayMetrics
from llama_serving.engine.server import LlamaServer
from llama_serving.guard.judge import Judge
from llama_serving.guard.middleware import GuardMiddleware
from llama_serving.licenses.headers import LicenseHeaders, headers_of
from llama_serving.tracing import switch
from llama_serving.tracing.durations import Durations


class _DirectServer(LlamaServer):
    """`LlamaServer` with an HTTP application around vLLM's."""

    _desk: Desk | None = None
    _judge: Judge | None = None
    _limits = DeskSettings()

    async def __init__(self, config: dict[str, Any], guard: Any = None) -> None:  # type: ignore[misc]  # Serve awaits it
        self._guard = guard
        await super().__init__(config)

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take limits of tenants, and how the guard is used; Serve calls this at the start, and for each change, while requests go on."""
        self._limits = DeskSettings.model_validate(user_config)
        if self._desk is not None:
            self._desk.reconfigure(self._limits)
        if self._judge is not None:
            self._judge.reconfigure(self._limits.guard)

    async def __serve_build_asgi_app__(self) -> Any:
        """Build the application; Serve calls this once the engine has started.

        Each layer that is added stands in front of those before it.
        """
        app = await super().__serve_build_asgi_app__()
        # vLLM has built its layers already; without this, none could be added.
        app.middleware_stack = None
        config = self._serving
        self._desk = await self._open_desk()
        if config.guard is not None:
            self._judge = Judge(RayGuard(self._guard), self._limits.guard, RayMetrics(), time.monotonic)
            app.add_middleware(
                GuardMiddleware, judge=self._judge, decode=self._engine_tokenizer().decode, salt_of=self._desk.salt_of
            )
        app.add_middleware(DeskMiddleware, desk=self._desk, traces=switch.traces())
        counts = ReplicaCounts(APPLICATION_NAME, config.server_deployment)
        app.add_middleware(BoardFirst, board=board_application(config, BoardClient(), counts))
        app.add_middleware(OnlyThroughTheDoor, door=config.door)
        headers = headers_of(config.license)
        app.add_middleware(LicenseHeaders, headers=lambda: headers)
        return app

    def _engine_tokenizer(self) -> Any:
        return self.engine._engine_client.get_tokenizer()  # noqa: SLF001 - Ray hands it out nowhere

    async def _open_desk(self) -> Desk:
        config, bank = self._serving, RayBank()
        replica = serve.get_replica_context().replica_id.unique_id
        identity = config.identity
        names = frozenset((config.model_id,))
        desk = Desk(
            self._limits,
            model=ModelFacts(
                name=config.model_id,
                names=lambda: names,
                max_model_len=config.engine.max_model_len,
                orders_by_priority=True,
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
        )
        desk.start()
        return desk

    @override
    async def __del__(self) -> None:
        """Serve calls and awaits this when it stops the replica."""
        if self._desk is not None:
            await self._desk.stop()
        await asyncio.to_thread(switch.flush)
        await super().__del__()


def _shared(store: StoreSettings) -> Bank:
    """The ledger in a server. Its client is in the image since the field exists; replicas without a server do not need it."""
    from llama_serving.desk.shared.valkey_bank import ValkeyBank  # noqa: PLC0415

    return ValkeyBank(store, clock=moment)


DirectServer = serve.ingress()(_DirectServer)

"""Our vLLM engine: Ray's own, with the executor that fits a CPU, a tap on the scheduler's statistics, and adapters.

Only this module depends on internals of Ray and vLLM, in two overridden methods and the list of vLLM's adapters. Versions are pinned, and
tests/serving runs it. Used by `server` in every replica.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray.llm._internal.serve.engines.vllm.vllm_engine import VLLMEngine
from vllm import __version__
from vllm.lora.request import LoRARequest
from vllm.v1.engine.core import EngineCoreProc
from vllm.v1.metrics.loggers import AggregateStatLoggerBase, PrometheusStatLogger

from llama_serving import engine_process
from llama_serving.config import RequestPath, ServingConfig
from llama_serving.contents.adapter import AdapterRefusedError, BaseShape, base_shape
from llama_serving.contents.alike import compare, fingerprint
from llama_serving.contents.check import check_loaded
from llama_serving.contents.repository import fetched
from llama_serving.contract.adapters import AdapterFault, Repository
from llama_serving.desk.meter import metered
from llama_serving.engine import last_words, own_log, serve_log, tool_parsers
from llama_serving.engine.counts import EngineCounts, EngineTotals, watch_cut_off, watch_requests
from llama_serving.engine.kv_cache import kv_cache_size
from llama_serving.engine.later_metrics import LaterMetrics
from llama_serving.engine.nodes import on_other_nodes
from llama_serving.guard.engine import guarded

ENGINE_VERSION: str = __version__
"""Version of vLLM that runs here."""

_LOGGER = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """What the scheduler said last, and what the engine measured at its start.

    Requests, KV cache usage (0 to 1), size of the KV cache in tokens and in sequences of the longest length (None while
    it is not known), request slots, seconds of the first answer's first token (None before it).
    """

    waiting: int = 0
    running: int = 0
    kv_usage: float = 0.0
    kv_cache_tokens: int | None = None
    max_concurrency: float | None = None
    slots: int = 0
    totals: EngineTotals = field(default_factory=EngineTotals)
    first_token_seconds: float | None = None


class LoadTap(AggregateStatLoggerBase):
    """A vLLM stat logger that keeps the latest scheduler statistics."""

    def __init__(self, vllm_config: Any, engine_indexes: list[int] | None = None) -> None:
        del engine_indexes
        self._cache = vllm_config.cache_config
        self._model = vllm_config.model_config
        self._slots: int = vllm_config.scheduler_config.max_num_seqs
        self._latest: dict[int, Any] = {}
        self._counts = EngineCounts()

    def takes(self, params: Any) -> None:
        """Count what the engine is given."""
        self._counts.takes(params)

    def read(self, prompt: int, cached: int) -> None:
        """Count a prompt whose request was cut off later."""
        self._counts.read(prompt, cached)

    def record(
        self, scheduler_stats: Any, iteration_stats: Any, mm_cache_stats: Any = None, engine_idx: int = 0
    ) -> None:
        """Keep the statistics of one scheduler step; vLLM calls this."""
        del mm_cache_stats
        self._counts.saw(iteration_stats)
        if scheduler_stats is not None:
            self._latest[engine_idx] = scheduler_stats

    def log_engine_initialized(self) -> None:
        """Nothing to log."""

    def load(self) -> EngineLoad:
        """Return the latest statistics; before the first step the engine is idle."""
        latest = self._latest.values()
        waiting = sum(stats.num_waiting_reqs + stats.num_skipped_waiting_reqs for stats in latest)
        running = sum(stats.num_running_reqs for stats in latest)
        tokens, concurrency = kv_cache_size(self._cache, self._model.max_model_len)
        return EngineLoad(
            waiting=waiting,
            running=running,
            kv_usage=max((float(stats.kv_cache_usage) for stats in latest), default=0.0),
            kv_cache_tokens=tokens,
            max_concurrency=concurrency,
            slots=self._slots,
            totals=self._counts.totals(in_flight=waiting + running),
            first_token_seconds=self._counts.first_token_seconds,
        )


class LlamaEngine(VLLMEngine):
    """Ray's vLLM engine with a `load`, which checks the model's files before it reads them."""

    def __init__(self, llm_config: Any) -> None:
        super().__init__(llm_config)
        tool_parsers.register()
        self._tap: LoadTap | None = None
        self._serving: ServingConfig | None = None
        self._looked_at = False
        self._adapter_ids: dict[str, int] = {}

    def base_shape(self) -> BaseShape | None:
        """Return the sizes of the model, for its adapters."""
        try:
            return base_shape(self._engine_client.model_config.hf_text_config)
        except AttributeError:
            return None

    async def fetch_adapter(self, repository: Repository) -> Path:
        """Fetch the files of an adapter to all nodes of the replica; return their folder, the same on each.

        Raises:
            AdapterRefusedError: If it cannot.
        """
        folder = await asyncio.to_thread(fetched, repository)
        for task in on_other_nodes(fetched, repository):
            await task
        return folder

    async def same_elsewhere(self, folder: Path) -> None:
        """See that the other nodes of the replica have the same files.

        Raises:
            AdapterRefusedError: If they have not.
        """
        if others := on_other_nodes(fingerprint, folder):
            own = await asyncio.to_thread(fingerprint, folder)
            compare(own, [await task for task in others])

    async def load_adapter(self, name: str, path: str) -> None:
        """Load an adapter, and answer requests for its name from then on.

        Each load has a number of its own, so that nothing which the engine remembers of one before is taken for it.

        Raises:
            AdapterRefusedError: If the engine refuses it, in the engine's words.
        """
        models = self._oai_models
        number = models.lora_id_counter.inc(1)
        request = LoRARequest(
            lora_name=name, lora_int_id=number, lora_path=path, base_model_name=models.base_model_paths[0].name
        )
        try:
            await self._engine_client.add_lora(request)
        except Exception as error:
            # It may be in the engine's memory although it could not be put to use.
            await self._engine_client.remove_lora(number)
            raise AdapterRefusedError(AdapterFault.NOT_LOADED, f"the engine does not load it: {error}") from error
        self._adapter_ids[name] = number
        models.lora_requests[name] = request

    def hide_adapter(self, name: str) -> None:
        """Answer no new request for its name."""
        self._oai_models.lora_requests.pop(name, None)

    async def forget_adapter(self, name: str) -> None:
        """Free its place; none of its requests runs any more."""
        self.hide_adapter(name)
        number = self._adapter_ids.pop(name, None)
        if number is not None:
            await self._engine_client.remove_lora(number)

    def checks(self, config: ServingConfig, *, looked_at: bool) -> None:
        """Remember what is declared; `looked_at` says whether the files were seen before they were downloaded."""
        self._serving, self._looked_at = config, looked_at

    def load(self) -> EngineLoad | None:
        """Return what the engine is doing; None when this version of vLLM cannot be tapped, or before the start."""
        return None if self._tap is None else self._tap.load()

    def _prepare_engine_config(self, callback_ctx: Any) -> Any:
        with serve_log.kept_open():
            arguments, frontend, config = super()._prepare_engine_config(callback_ctx)
        if self._serving is not None:
            # After every download, and before a weight is read.
            check_loaded(self._serving, str(config.model_config.model), looked_at=self._looked_at)
        parallel = config.parallel_config
        if config.device_config.device_type == "cpu" and parallel.world_size == 1:
            # Ray always asks for a process per rank on CPU. A single rank runs as well within the engine's process,
            # which saves one import of vLLM (10 s on a small machine) and its memory.
            arguments.distributed_executor_backend = parallel.distributed_executor_backend = "uni"
        return arguments, frontend, config

    def _start_async_llm_engine(self, vllm_engine_args: Any, vllm_engine_config: Any, placement_group: Any) -> Any:
        begin = own_log.mark()
        engine_process.install(EngineCoreProc)
        try:
            client = super()._start_async_llm_engine(vllm_engine_args, vllm_engine_config, placement_group)
        except RuntimeError:
            if said := last_words.since(begin):
                # Its own words say only that a process failed.
                raise RuntimeError(f"the engine did not start: {said}") from None
            raise
        if self._serving is not None and self._serving.path is RequestPath.DIRECT:
            client = metered(client)
            if self._serving.guard is not None:
                client = guarded(client)
        manager = getattr(client, "logger_manager", None)
        if manager is None or not hasattr(manager, "stat_loggers"):
            _LOGGER.error("vLLM's statistics cannot be tapped: the queue of this replica is unknown")
            return client
        self._tap = LoadTap(client.vllm_config)
        watch_requests(client, self._tap.takes)
        watch_cut_off(client, self._tap.read)
        manager.stat_loggers[:] = [
            LaterMetrics(logger) if isinstance(logger, PrometheusStatLogger) else logger
            for logger in manager.stat_loggers
        ]
        manager.stat_loggers.append(self._tap)
        return client

"""The engine's Serve deployment: the server of `ray.serve.llm`, which also reports the length of its queue.

Serve runs one instance a replica. Its class name is part of the deployment's name (`config.server_deployment_name`).
"""

import asyncio
import itertools
import logging
import os
import sys
from typing import Any, Final

import ray
from ray import serve
from ray.serve.llm import LLMConfig
from ray.serve.llm.deployment import LLMServer
from vllm.utils.gc_utils import freeze_gc_heap

from llama_serving.board.reporting import REPORT_SECONDS, BoardClient
from llama_serving.config import ServingConfig
from llama_serving.contents.check import check_source
from llama_serving.contract.adapters import AdapterReport
from llama_serving.contract.scaling import ScalingKnobs
from llama_serving.contract.status import ReplicaReport
from llama_serving.contract.tenants import DeskSettings
from llama_serving.engine import serve_log
from llama_serving.engine.autoscaling_report import autoscaling_report, router_choices
from llama_serving.engine.starting import Starting
from llama_serving.engine.vllm import ENGINE_VERSION, LlamaEngine
from llama_serving.licenses.files import LicenseFile, read_license_files, require
from llama_serving.licenses.folder import FolderUnavailableError, license_folder
from llama_serving.llm_config import llm_config_of
from llama_serving.routing.told import haproxy_fault
from llama_serving.tracing import switch

_LOGGER = logging.getLogger("ray.serve")
_ENGINE_OVERRIDE = "RAYLLM_VLLM_ENGINE_CLS"
"""Ray's variable that names another engine class, for tests of placement without an engine."""
_ROUNDS_BETWEEN_LICENSES = 60
"""Reports of the queue between two reports of the license texts, which are tens of KB."""


_SWITCH_SECONDS: Final = 0.0005
"""Longest turn of a thread while another waits, a tenth of Python's own: the loop that sends tokens takes turns with the threads of
the tokenizer, the traces and the metrics, and its turns are short."""


class LlamaServer(LLMServer):
    """`LLMServer` with queue metrics for the autoscaler and reports to the status board.

    Args:
        config: A `ServingConfig` as JSON.
    """

    _scaling: ScalingKnobs | None = None

    async def __init__(self, config: dict[str, Any]) -> None:  # type: ignore[misc]  # Serve awaits it, as in the base
        self._starting = Starting()
        self._serving = ServingConfig.model_validate(config)
        engine = llm_config_of(self._serving)
        # Not in the config: traces are switched on by the variables of the pod.
        engine["engine_kwargs"] |= switch.engine_arguments()
        await super().__init__(LLMConfig.model_validate(engine))

    async def start(self) -> None:
        """Start the engine, then report for as long as the replica lives."""
        self._reporter: asyncio.Task[None] | None = None
        await super().start()
        self._starting.ready()
        # As vLLM's own server does: some million objects of its modules stay, and the collector need not look through them
        # while requests wait.
        freeze_gc_heap()
        sys.setswitchinterval(_SWITCH_SECONDS)
        serve_log.without_requests()
        self._reporter = asyncio.create_task(self._report_forever())

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Return the queue, for Serve's controller; it calls this about once a second.

        Empty if the engine does not know it: the policy then sees a replica that has not reported, and changes nothing.
        """
        choices = router_choices(self._serving.path, self._serving.routing)
        return autoscaling_report(self._load(), self._serving.cost, self._scaling, choices)

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take live settings; Serve calls this at the start, and for each change."""
        self._scaling = DeskSettings.model_validate(user_config).scaling

    def _get_default_engine_class(self) -> Any:
        if os.environ.get(_ENGINE_OVERRIDE):
            return super()._get_default_engine_class()
        return LlamaEngine

    async def _start_engine(self) -> None:
        # Before the weights are read: an engine that a policy forbids must not hold a GPU for minutes.
        self._licenses = await asyncio.to_thread(_license_files, self._serving)
        self._board = BoardClient()
        self._tell_licenses()
        looked_at = await asyncio.to_thread(check_source, self._serving)
        if isinstance(self.engine, LlamaEngine):
            self.engine.checks(self._serving, looked_at=looked_at)
        # The base class then waits for an agent that reports usage to Ray's makers, another process of 0.8 GB, and
        # does so even where reporting is switched off.
        await self.engine.start()

    def _load(self) -> Any:
        read = getattr(self.engine, "load", None)
        return None if read is None else read()

    def _adapter_reports(self) -> tuple[AdapterReport, ...]:
        """What there is to say of adapters; the path `Ingress` loads none."""
        return ()

    def _tell_licenses(self) -> None:
        self._board.send("report_licenses", self._licenses)

    def _tell_load(self, replica: str) -> None:
        load = self._load()
        if load is None:
            return
        self._board.send(
            "report_replica",
            ReplicaReport(
                replica=replica,
                waiting=load.waiting,
                running=load.running,
                kv_cache_usage=min(1.0, max(0.0, load.kv_usage)),
                kv_cache_tokens=load.kv_cache_tokens,
                max_concurrency=load.max_concurrency,
                engine_version=ENGINE_VERSION,
                haproxy_fault=haproxy_fault(os.environ, ray.get_runtime_context().get_node_id()),
                adapters=self._adapter_reports(),
                start=self._starting.report(load.first_token_seconds),
            ),
        )

    async def _report_forever(self) -> None:
        replica = serve.get_replica_context().replica_id.unique_id
        rounds = itertools.count()
        try:
            while True:
                if next(rounds) % _ROUNDS_BETWEEN_LICENSES == 0:
                    # Repeatedly: a board that died comes back empty.
                    self._tell_licenses()
                self._tell_load(replica)
                await asyncio.sleep(REPORT_SECONDS)
        except asyncio.CancelledError:
            self._board.send("forget_replica", replica)
            raise
        except Exception:
            _LOGGER.exception("This replica no longer reports its status")
            raise

    async def __del__(self) -> None:
        """Serve calls and awaits this when it stops the replica."""
        reporter = getattr(self, "_reporter", None)
        if reporter is not None:
            reporter.cancel()
        await super().__del__()


def _license_files(config: ServingConfig) -> tuple[LicenseFile, ...]:
    """Read the license texts of the model. Blocks.

    Raises:
        LicenseFilesMissingError: If the policy asks for a file that is missing.
    """
    try:
        folder, why = license_folder(config.source), ""
    except FolderUnavailableError as error:
        _LOGGER.warning("The license files of %s are not available: %s", config.model_id, error)
        folder, why = None, str(error)
    files = () if folder is None else read_license_files(folder)
    require(files, model_id=config.model_id, duties=config.license, folder=folder, why=why)
    return files

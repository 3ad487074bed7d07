"""One RayService made real: keeps a Ray node running for it, its Serve config submitted and its status current.

Called by `runtime`, one instance for each RayService. Everything is repeated from what is there now (level-triggered),
in KubeRay's order: the dashboard must answer a GET, then the config is put, then its health is read until the end.
"""

import asyncio
import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_operator.decide.diagnosis.engine_message import ENGINE_FAILED
from llama_operator.errors import InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import NotFoundError, Object
from llama_operator.local import node_process, ray_node
from llama_operator.local.dashboard import ApplicationState, ConfigRefusedError, Dashboard, DashboardUnavailableError
from llama_operator.local.errors import LocalRunError
from llama_operator.local.node_process import Machine, NodeProcess
from llama_operator.local.ports import LOOPBACK
from llama_operator.local.progress import Reporter, Stage
from llama_operator.local.service_status import Observation, invalid_status, next_status

_START_SECONDS = 180.0
_POLL_STARTING = 0.2
_POLL_LOADING = 0.5
_POLL_SERVING = 1.0
_LONGEST_PAUSE = 30.0
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(slots=True)
class _Life:
    """What is remembered while one Ray node lives."""

    node: NodeProcess
    dashboard: Dashboard
    submitted: str | None = None
    refusal: str = ""
    """Why `submitted` was refused; empty if it was taken."""
    answered: bool = False
    verified: bool = False
    """Whether, since the proxy became healthy, only processes of ours answered on the HTTP port."""
    served: bool = False


class LocalCluster:
    """Supervises the Ray node of one RayService; `run` goes on until it is cancelled, and leaves nothing behind."""

    def __init__(
        self,
        ray_service: Object,
        machine: Machine,
        reporter: Reporter,
        *,
        cluster_name: str,
        http_port: int | None,
        on_endpoint: Callable[[], None],
    ) -> None:
        self.uid = str(ray_service["metadata"].get("uid", ""))
        self.wanted_http_port = http_port
        self._service = ray_service
        self._machine = machine
        self._reporter = reporter
        self._cluster_name = cluster_name
        self._on_endpoint = on_endpoint
        self._changed = asyncio.Event()
        self._status: dict[str, Any] = {}
        self._http_port: int | None = None

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the RayService."""
        return self._service["metadata"].get("labels") or {}

    @property
    def endpoint(self) -> int | None:
        """Port at which requests are answered now; None while they are not."""
        return self._http_port if self._status.get("numServeEndpoints") else None

    def update(self, ray_service: Object) -> None:
        """Take a newer state of the same RayService; only its `serveConfigV2` has an effect on a running cluster."""
        if _generation(ray_service) != _generation(self._service):
            self._changed.set()
        self._service = ray_service

    async def run(self) -> None:
        """Keep it running; a Ray node that dies is started again after 1, 2, 4, ... at most 30 seconds."""
        failures = 0
        try:
            while True:
                served, reason, log = await self._live_until_end()
                failures = 1 if served else failures + 1
                pause = min(2.0 ** (failures - 1), _LONGEST_PAUSE)
                self._reporter.report(Stage.FAILED, f"{reason}\nRay starts again in {pause:.0f} s.", log=log)
                await self._publish(trouble=reason)
                await asyncio.sleep(pause)
        finally:
            self._http_port = None
            self._reporter.report(Stage.STOPPED, "stopped, nothing is left of it")

    async def _live_until_end(self) -> tuple[bool, str, Path | None]:
        """One life; return whether it ever served, why it ended and where its logs are."""
        try:
            spec = await self._valid_spec()
            self._reporter.report(Stage.STARTING_RAY, "starting Ray")
            async with node_process.started(
                self._machine, spec, cluster=self._cluster_name, http_port=self.wanted_http_port
            ) as node:
                return await self._live(node)
        except LocalRunError as error:
            return False, str(error), None

    async def _valid_spec(self) -> Mapping[str, Any]:
        while True:
            self._changed.clear()
            try:
                spec = ray_node.cluster_spec(self._service)
                ray_node.resources(spec)
                ray_node.serve_config(self._service, http_port=0)
            except InvalidManifestError as error:
                await self._refuse(error)
                await self._changed.wait()
            else:
                return spec

    async def _live(self, node: NodeProcess) -> tuple[bool, str, Path | None]:
        self._http_port = node.ports.http
        async with Dashboard(
            dashboard_port=node.ports.dashboard, http_port=node.ports.http, token=self._machine.run.token
        ) as dashboard:
            life = _Life(node, dashboard)
            ended = asyncio.create_task(node.ended())
            follow = asyncio.create_task(self._follow(life))
            try:
                await asyncio.wait({ended, follow}, return_when=asyncio.FIRST_COMPLETED)
                # A defect in `_follow` surfaces here; else one of the two says why this life is over.
                reason = ended.result() if ended.done() else follow.result()
                return life.served, reason, self._keep_logs(node)
            except asyncio.CancelledError:
                logs = self._keep_logs(node) if self._reporter.stage is Stage.FAILED else None
                self._reporter.report(Stage.STOPPING, "stopping Ray", log=logs)
                raise
            finally:
                for task in (ended, follow):
                    task.cancel()
                await asyncio.gather(ended, follow, return_exceptions=True)

    def _keep_logs(self, node: NodeProcess) -> Path:
        return self._machine.run.keep_logs(self._cluster_name, node.ray_logs)

    async def _follow(self, life: _Life) -> str:
        """Submit and observe until the node cannot be used; return why."""
        await self._publish()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _START_SECONDS
        while True:
            self._changed.clear()
            try:
                await self._observe(life)
            except DashboardUnavailableError as error:
                # KubeRay keeps its last status too; `ended` says whether the node is dead.
                if not life.answered and loop.time() > deadline:
                    return f"Ray has not come up in {_START_SECONDS:.0f} s: {error}"
            except InvalidManifestError as error:
                await self._refuse(error)
            pause = _POLL_SERVING if self.endpoint else _POLL_LOADING if life.answered else _POLL_STARTING
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    async def _observe(self, life: _Life) -> None:
        applications = await life.dashboard.applications()
        life.answered = True
        config = ray_node.serve_config(self._service, http_port=life.node.ports.http)
        text = self._service["spec"]["serveConfigV2"]
        if text != life.submitted or (not applications and config["applications"] and not life.refusal):
            self._reporter.report(Stage.SUBMITTING_CONFIG, "submitting the Serve config", log=life.node.ray_logs)
            life.refusal = ""
            try:
                await life.dashboard.deploy(config)
            except ConfigRefusedError as error:
                life.refusal = f"Ray refused the Serve config: {error}"
            life.submitted = text
            applications = await life.dashboard.applications()
        strangers = await self._healthy_or_strangers(life)
        trouble = life.refusal or _trouble(applications)
        if isinstance(strangers, str):
            trouble = strangers
        await self._publish(applications, healthy=strangers is True, trouble=trouble)
        life.served = life.served or self.endpoint is not None
        self._tell(life, applications, trouble)

    async def _healthy_or_strangers(self, life: _Life) -> bool | str:
        """Whether our own proxy answers; a text if another process does on the same port."""
        if not await life.dashboard.proxy_is_healthy():
            life.verified = False
            return False
        if not life.verified:
            strangers = await life.node.strangers()
            if strangers:
                return (
                    f"port {life.node.ports.http} is answered by other processes too ({sorted(strangers)}); "
                    "stop them or choose another port"
                )
            life.verified = True
        return True

    def _tell(self, life: _Life, applications: Sequence[ApplicationState], trouble: str) -> None:
        url = None if self.endpoint is None else f"http://{LOOPBACK}:{self.endpoint}"
        if trouble:
            stage, text = Stage.FAILED, trouble
        else:
            stage = Stage.LOADING_ENGINE if url is None else Stage.SERVING
            text = _replicas(applications)
        self._reporter.report(stage, text, url=url, log=life.node.ray_logs)

    async def _refuse(self, error: InvalidManifestError) -> None:
        self._reporter.report(Stage.FAILED, str(error))
        generation = _generation(self._service)
        await self._write(invalid_status(self._status, str(error), generation=generation, now=self._machine.clock()))

    async def _publish(
        self, applications: Sequence[ApplicationState] = (), *, healthy: bool = False, trouble: str = ""
    ) -> None:
        seen = Observation(
            generation=_generation(self._service),
            cluster_name=self._cluster_name,
            applications=applications,
            proxy_healthy=healthy,
            trouble=trouble,
        )
        await self._write(next_status(self._status, seen, now=self._machine.clock()))

    async def _write(self, status: dict[str, Any]) -> None:
        if status == self._status:
            return
        before, self._status = self.endpoint, status
        # It was deleted: the watch reports that to `runtime`, which cancels us.
        with contextlib.suppress(NotFoundError):
            await self._machine.kube.apply_status(kinds.identity(self._service) | {"status": status})
        if self.endpoint != before:
            self._on_endpoint()


def _generation(ray_service: Object) -> int:
    return int(ray_service["metadata"].get("generation") or 0)


def _trouble(applications: Sequence[ApplicationState]) -> str:
    """What Serve says about applications that failed: the end of each message, which has the exception."""
    return "\n".join(
        f"application {app.name} is {app.status}: {_last_line(app.message)}"
        for app in applications
        if app.status in ENGINE_FAILED
    )


def _last_line(message: str) -> str:
    lines = _COLOR.sub("", message).strip().splitlines()
    return lines[-1] if lines else "Serve gives no reason"


def _replicas(applications: Sequence[ApplicationState]) -> str:
    """How far each deployment is: `LLMServer:tiny 0/1 (1 starting), OpenAiIngress 1/1`."""
    parts = []
    for app in applications:
        for deployment in app.deployments:
            running = deployment.replica_states.get("RUNNING", 0)
            others = ", ".join(
                f"{count} {state.lower()}"
                for state, count in sorted(deployment.replica_states.items())
                if state != "RUNNING"
            )
            parts.append(
                f"{deployment.name} {running}/{deployment.target_replicas}" + (f" ({others})" if others else "")
            )
    return ", ".join(parts) or "building the application"

"""Carries the reports of engine replicas and ingresses to the status board, a small Ray actor on the head.

Called by `server` and `ingress`. The board's process imports neither vLLM nor `ray.serve.llm`.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Final

import ray
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import DeploymentDetails, ReplicaState, ServeInstanceDetails

from llama_serving.autoscaling import RayStore, ScalingRecord, record_key
from llama_serving.board.status import ReplicaCount, StatusBoard, state_of
from llama_serving.contract.status import ReplicaReport, ScalingState
from llama_serving.head_actor import head_actor
from llama_serving.licenses.files import LicenseFile

REPORT_SECONDS: Final = 1.0
"""Time between two reports of one sender."""

_SERVING: Final = frozenset({ReplicaState.RUNNING, ReplicaState.UPDATING, ReplicaState.PENDING_MIGRATION})
"""States in which a replica serves: also while it gets a changed setting, and while another one is started for it on another node."""

_ACTOR = "llama-status-board"
_LOGGER = logging.getLogger("ray.serve")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class BoardClient:
    """Talks to the board, which the first client creates. For use in a process that Ray runs."""

    def __init__(self) -> None:
        self._board: Any = None

    def send(self, method: str, *arguments: object) -> None:
        """Call a method of the board and do not wait; a report that is lost is followed by the next one."""
        try:
            getattr(self._actor(), method).remote(*arguments)
        except ray.exceptions.RayError:
            _LOGGER.warning("The status board cannot be reached", exc_info=True)
            self._board = None

    async def snapshot(self) -> tuple[tuple[ReplicaReport, ...], int]:
        """Return `StatusBoard.snapshot`; nothing if the board has just died (Ray restarts it)."""
        try:
            reports: tuple[tuple[ReplicaReport, ...], int] = await self._actor().snapshot.remote()
        except ray.exceptions.RayError:
            _LOGGER.warning("The status board cannot be reached", exc_info=True)
            self._board = None
            return (), 0
        return reports

    async def licenses(self) -> tuple[LicenseFile, ...] | None:
        """Return `StatusBoard.licenses`; None also if the board has just died."""
        return await self._texts("licenses")

    async def guard_licenses(self) -> tuple[LicenseFile, ...] | None:
        """Return `StatusBoard.guard_licenses`; None also if the board has just died."""
        return await self._texts("guard_licenses")

    async def _texts(self, method: str) -> tuple[LicenseFile, ...] | None:
        try:
            texts: tuple[LicenseFile, ...] | None = await getattr(self._actor(), method).remote()
        except ray.exceptions.RayError:
            _LOGGER.warning("The status board cannot be reached", exc_info=True)
            self._board = None
            return None
        return texts

    def _actor(self) -> Any:
        if self._board is None:
            self._board = head_actor(StatusBoard, _ACTOR)
        return self._board


class ReplicaCounts:
    """How many replicas of a deployment run and are wanted, as Serve's controller says.

    Asks it at most once a second: anyone who reaches the status endpoint could keep it busy otherwise.
    """

    def __init__(self, application: str, deployment: str) -> None:
        self._application = application
        self._deployment = deployment
        self._asked = -math.inf
        self._answer: ReplicaCount | None = None
        self._read = -math.inf
        self._scaling: ScalingState | None = None

    async def read(self) -> ReplicaCount | None:
        """Return how many there are; None if the controller does not know them, as after its own restart, or does not answer."""
        if time.monotonic() - self._asked >= REPORT_SECONDS:
            self._asked = time.monotonic()
            self._answer = await asyncio.to_thread(self._count)
        return self._answer

    async def scaling(self) -> ScalingState | None:
        """Return what the policy wrote about its last decision; None if there is none, or it cannot be read."""
        if time.monotonic() - self._read >= REPORT_SECONDS:
            self._read = time.monotonic()
            self._scaling = await asyncio.to_thread(self._record)
        return self._scaling

    def _record(self) -> ScalingState | None:
        try:
            return state_of(ScalingRecord.from_json(RayStore().read(record_key(self._application, self._deployment))))
        except Exception:
            _LOGGER.warning("What the autoscaler decided cannot be read", exc_info=True)
            return None

    def _count(self) -> ReplicaCount | None:
        try:
            return self._ask()
        except Exception:
            # It is being restarted, say. What it said last may be wrong by now.
            _LOGGER.warning("Serve's controller does not say how many replicas there are", exc_info=True)
            return None

    def _ask(self) -> ReplicaCount | None:
        client = _get_global_client(raise_if_no_controller_running=False)
        if client is None:
            return None
        # As `serve.status()` does, which leaves the target out. Replicas that live are not it: one may have just died.
        application = ServeInstanceDetails(**client.get_serve_details()).applications.get(self._application)
        deployment = application.deployments.get(self._deployment) if application is not None else None
        if deployment is None:
            return None
        return counted(deployment)


def counted(deployment: DeploymentDetails) -> ReplicaCount:
    """Count the replicas of what Serve says of a deployment."""
    return ReplicaCount(
        serving=sum(replica.state in _SERVING for replica in deployment.replicas),
        target=deployment.target_num_replicas,
        recovering=frozenset(
            replica.replica_id for replica in deployment.replicas if replica.state == ReplicaState.RECOVERING
        ),
    )


class OpenRequests:
    """How many requests an ingress has accepted and not answered; reports while there are any."""

    def __init__(self) -> None:
        self._count = 0
        self._board = BoardClient()
        self._reporter: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Count one request for as long as the context is open."""
        self._count += 1
        if self._reporter is None or self._reporter.done():
            self._reporter = asyncio.get_running_loop().create_task(self._report_until_idle())
        try:
            yield
        finally:
            self._count -= 1
            if self._count == 0:
                self._report()

    async def _report_until_idle(self) -> None:
        while self._count > 0:
            self._report()
            await asyncio.sleep(REPORT_SECONDS)

    def _report(self) -> None:
        self._board.send("report_ingress", serve.get_replica_context().replica_id.unique_id, self._count)


class CountOpenRequests:
    """Pure ASGI middleware that counts the requests which ask an engine for something."""

    def __init__(self, app: ASGIApp, *, requests: OpenRequests) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counted if it is for an engine."""
        if scope["type"] == "http" and scope["method"] == "POST":
            with self._requests.opened():
                await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, send)

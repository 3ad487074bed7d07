"""Typed client of the part of Ray's dashboard API that KubeRay uses: read the Serve applications, put a config.

Called by `cluster`. It speaks to one address on this machine's loopback, chosen by us and never by a manifest, with
the run's bearer token.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

import aiohttp

from llama_operator.local.ports import LOOPBACK

_READ_SECONDS = 10.0
_WRITE_SECONDS = 120.0
"""The first PUT starts Serve's controller before it answers."""
_HEALTH_SECONDS = 2.0


class DashboardUnavailableError(Exception):
    """No usable answer: Ray is starting, overloaded or gone. Asking again may help."""


class ConfigRefusedError(Exception):
    """Ray refused the Serve config; the message is Ray's. Only another config helps."""


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """One Serve deployment.

    Attributes:
        name: Its name within the application.
        status: Serve's word: UPDATING, HEALTHY, UNHEALTHY, UPSCALING, DOWNSCALING or DEPLOY_FAILED.
        message: Serve's explanation, often empty.
        target_replicas: Replicas that Serve wants now.
        replica_states: How many replicas are in which state (STARTING, RUNNING, ...).
    """

    name: str
    status: str
    message: str
    target_replicas: int
    replica_states: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ApplicationState:
    """One Serve application: `status` is NOT_STARTED, DEPLOYING, RUNNING, DEPLOY_FAILED, DELETING or UNHEALTHY."""

    name: str
    status: str
    message: str
    deployments: tuple[DeploymentState, ...]


class Dashboard:
    """A connection to one cluster's dashboard and to its Serve proxy. Use as an async context manager."""

    def __init__(self, *, dashboard_port: int, http_port: int, token: str) -> None:
        self._applications_url = f"http://{LOOPBACK}:{dashboard_port}/api/serve/applications/"
        self._health_url = f"http://{LOOPBACK}:{http_port}/-/healthz"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # trust_env stays False: a proxy of the environment must not see the token.
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use Dashboard as an async context manager")
        return self._session

    async def applications(self) -> tuple[ApplicationState, ...]:
        """Read all applications that were deployed by config, as KubeRay does.

        Raises:
            DashboardUnavailableError: No answer, or one that is not 200.
        """
        timeout = aiohttp.ClientTimeout(total=_READ_SECONDS)
        try:
            async with self._open.get(
                self._applications_url, params={"api_type": "declarative"}, headers=self._headers, timeout=timeout
            ) as response:
                if response.status != HTTPStatus.OK:
                    raise DashboardUnavailableError(f"the Ray dashboard answered {response.status}")
                return parse_applications(await response.json())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise DashboardUnavailableError(f"the Ray dashboard does not answer: {error!r}") from error

    async def deploy(self, config: Mapping[str, Any]) -> None:
        """Put a whole Serve config; applications that it does not name are deleted by Serve.

        Raises:
            ConfigRefusedError: Ray answered 400.
            DashboardUnavailableError: Any other failure.
        """
        timeout = aiohttp.ClientTimeout(total=_WRITE_SECONDS)
        try:
            async with self._open.put(
                self._applications_url, json=config, headers=self._headers, timeout=timeout
            ) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise DashboardUnavailableError(f"the Ray dashboard does not answer: {error!r}") from error
        if response.status == HTTPStatus.BAD_REQUEST:
            raise ConfigRefusedError(text)
        if response.status != HTTPStatus.OK:
            raise DashboardUnavailableError(f"the Ray dashboard answered {response.status}: {text[:2000]}")

    async def proxy_is_healthy(self) -> bool:
        """Whether Serve's HTTP proxy answers its health check with 200."""
        timeout = aiohttp.ClientTimeout(total=_HEALTH_SECONDS)
        try:
            async with self._open.get(self._health_url, timeout=timeout) as response:
                return response.status == HTTPStatus.OK
        except (aiohttp.ClientError, TimeoutError):
            return False


def parse_applications(body: Mapping[str, Any]) -> tuple[ApplicationState, ...]:
    """Read the answer of GET /api/serve/applications/; fields that are absent become empty.

    Raises:
        ValueError: It is not such an answer.
    """
    try:
        return tuple(
            ApplicationState(
                name=name or "default",
                status=str(application.get("status", "")),
                message=str(application.get("message", "")),
                deployments=tuple(
                    _parse_deployment(deployment, details)
                    for deployment, details in (application.get("deployments") or {}).items()
                ),
            )
            for name, application in body["applications"].items()
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"the Ray dashboard sent something unexpected: {error!r}") from error


def _parse_deployment(name: str, details: Mapping[str, Any]) -> DeploymentState:
    states: dict[str, int] = {}
    for replica in details.get("replicas") or []:
        state = str(replica.get("state", ""))
        states[state] = states.get(state, 0) + 1
    return DeploymentState(
        name=name,
        status=str(details.get("status", "")),
        message=str(details.get("message", "")),
        target_replicas=int(details.get("target_num_replicas") or 0),
        replica_states=states,
    )

"""Reads the status endpoint of the serving pods through the deployment's Service. Wired in by the CLI and `main`.

The only HTTP that the operator speaks besides the Kubernetes API. The host is the Service's own, never something that a
user wrote; an answer that cannot be had or read is no answer, and nothing is scaled or restarted because of it.
"""

from http import HTTPStatus

import aiohttp
from pydantic import ValidationError

from llama_operator.observe.unreadable import Unreadable
from llama_serving.config import HTTP_PORT, STATUS_PATH
from llama_serving.contract.status import ServingStatus

_TIMEOUT_SECONDS = 2.0
_ANSWER_LIMIT = 1 << 20


class HttpServingReader:
    """Reads `ServingStatus` over HTTP; one connection pool for all deployments."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        cluster_domain: str = "cluster.local",
        unreadable: Unreadable | None = None,
    ) -> None:
        self._session = session
        self._domain = cluster_domain
        self._unreadable = unreadable or Unreadable()

    async def read(self, *, namespace: str, service: str, address: str) -> ServingStatus | None:
        """Return what the pods behind `service` say about themselves, or None when they cannot be asked."""
        host = address or f"{service}.{namespace}.svc.{self._domain}:{HTTP_PORT}"
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
        try:
            async with self._session.get(
                f"http://{host}{STATUS_PATH}", timeout=timeout, allow_redirects=False
            ) as answer:
                if answer.status != HTTPStatus.OK:
                    return None
                body = bytearray()
                # One read returns what has arrived: with ten replicas that is a part of the answer.
                async for part in answer.content.iter_any():
                    body += part
                    if len(body) > _ANSWER_LIMIT:
                        return None
        except (aiohttp.ClientError, TimeoutError, UnicodeError):
            # UnicodeError: a name that no resolver takes, as with a part of more than 63 letters.
            return None
        return read_answer(bytes(body), f"{namespace}/{service}", self._unreadable)


def read_answer(body: bytes, name: str, unreadable: Unreadable) -> ServingStatus | None:
    """Read what pods say about themselves; None if it cannot be read, or is no number that a replica can have.

    Args:
        body: The answer, as it came.
        name: The Service that was asked, with its namespace.
        unreadable: Takes an answer that cannot be read.
    """
    try:
        return ServingStatus.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        unreadable.leave_out(ServingStatus.__name__, name, f"{where}: {first['msg']}".removeprefix(": "))
        return None

"""HTTP to an API server: one connection pool, credentials that renew themselves, and bounded retries.

Only `client` and `watching` call it. The official client library gives what is hard: kubeconfigs, credential plugins, TLS, and
the retry rules of client-go. Requests then go to its aiohttp session as bytes, past its API classes, because these do not

- tell a 409 that is a lost race from one that names the owner of a field;
- bound a `Retry-After` that asks for minutes;
- keep a watch over a connection that is open and silent;
- name the right that is missing;
- let one contract suite hold the server and the in-memory twin to the same behavior.

Time is the smallest reason: the library spends 0.11 ms on sanitizing a RayService of 5 KB, beside 0.05 ms of json.dumps.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.utils.retry import Backoff, on_retry_after_error, retry_after_seconds
from typing_extensions import override
from yarl import URL

from llama_operator.kube.port import KubeError, Object, UnavailableError
from llama_operator.kube.server import answers

NO_QUERY: Final[Mapping[str, str]] = MappingProxyType({})
_JSON: Final = "application/json"
_RETRIES: Final = Backoff(steps=5, duration=0.1, factor=3.0, jitter=0.5, cap=10.0)
"""0.1, 0.3, 0.9 and 2.7 s between tries, or what the server asks for."""
_LONGEST_RETRY_AFTER: Final = 30.0
"""In seconds. If a server asks for a longer wait, the next reconcile sends the next request."""
_REQUEST_TIMEOUT: Final = aiohttp.ClientTimeout(total=35, sock_connect=5)
"""A little more than an API server takes for one request (`--request-timeout` is for long ones, writes end in 34 s)."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        method: HTTP method.
        path: Path, already quoted.
        what: What it is, for error messages.
        query: Parameters of the query.
        body: Sent as JSON.
        content_type: Media type of the body.
        accept: Media type of the answer.
        repeatable: Whether doing it twice is the same as once, so that it may be sent again after a connection broke.
    """

    method: str
    path: str
    what: str
    query: Mapping[str, str] = field(default_factory=lambda: NO_QUERY)
    body: Any = None
    content_type: str = _JSON
    accept: str = _JSON
    repeatable: bool = True


class RefusedError(Exception):
    """An answer that is not a success, with the facts that a retry needs."""

    def __init__(self, status: int, answer: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        self.status = status
        self.answer = answer
        self.headers = headers
        super().__init__(f"HTTP status {status}")


class Transport:
    """Sends requests to one API server.

    Args:
        configuration: Where it is and who we are; the library's own.
        renew: Loads the credentials again, when the server refuses those that we have.
        sleep: Waits between tries.
    """

    def __init__(
        self,
        configuration: Configuration,
        renew: Callable[[], Awaitable[None]],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._configuration = configuration
        self._renew = renew
        self.sleep = sleep
        """Waits; watches wait with it as well."""
        self._session = _Pool(configuration).session()
        self._options = _options(configuration)

    @property
    def server(self) -> str:
        """Address of the API server."""
        return str(self._configuration.host)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def send(self, request: Request) -> Object:
        """Send a request and return the answer's JSON.

        Raises:
            KubeError: The subclass that the answer stands for; `UnavailableError` when there is none after all tries.
        """
        try:
            return await self.exchange(request)
        except RefusedError as refused:
            raise answers.error(refused.status, refused.answer, request.what) from None

    async def text(self, request: Request) -> str:
        """Send a request whose answer is text, once; raises as `send` does."""
        try:
            return (await self._attempt(request, None)).decode(errors="replace")
        except RefusedError as refused:
            raise answers.error(refused.status, refused.answer, request.what) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._silent(request.what, error) from error

    async def exchange(self, request: Request) -> Object:
        """Send a request as `send` does, but leave a refusal to be judged by the caller.

        Raises:
            RefusedError: If the server refuses it, also after the tries that are left to it.
            UnavailableError: If there is no answer.
        """

        def worth_another_try(error: Exception) -> bool:
            if isinstance(error, RefusedError):
                return _is_passing(error, repeatable=request.repeatable)
            return request.repeatable and isinstance(error, aiohttp.ClientError | TimeoutError)

        body = None if request.body is None else json.dumps(request.body, separators=(",", ":")).encode()
        try:
            content = await on_retry_after_error(
                _RETRIES, worth_another_try, lambda: self._attempt(request, body), sleep_func=self.sleep
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._silent(request.what, error) from error
        answer: Object = json.loads(content)
        return answer

    @asynccontextmanager
    async def stream(self, request: Request, silence: float) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open an answer that goes on, without retries.

        Args:
            request: The request.
            silence: Seconds without a byte after which reading raises `TimeoutError`.

        Raises:
            KubeError: If the server refuses it.
            UnavailableError: If it does not answer.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=silence)
        try:
            answer = await self._open(request, None, limits)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._silent(request.what, error) from error
        try:
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise answers.error(answer.status, _status(await answer.read()), request.what)
            yield answer
        finally:
            _drop(answer)

    async def _attempt(self, request: Request, body: bytes | None) -> bytes:
        answer = await self._open(request, body, _REQUEST_TIMEOUT)
        try:
            content = await answer.read()
        except BaseException:
            _drop(answer)
            raise
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise RefusedError(answer.status, _status(content), answer.headers)
        return content

    async def _open(
        self, request: Request, body: bytes | None, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        answer = await self._ask(request, body, limits)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            # A token that expired, or one that was rotated before its time.
            answer.release()
            await self._renew()
            answer = await self._ask(request, body, limits)
        return answer

    async def _ask(self, request: Request, body: bytes | None, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        headers = {"Accept": request.accept, "Accept-Encoding": "identity"}
        if body is not None:
            headers["Content-Type"] = request.content_type
        if authorization := await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization"):
            headers["Authorization"] = authorization.strip()
        query = f"?{urlencode(request.query)}" if request.query else ""
        url = URL(f"{self._configuration.host}{request.path}{query}", encoded=True)
        return await self._session.request(
            request.method, url, data=body, headers=headers, timeout=limits, allow_redirects=False, **self._options
        )

    def _silent(self, what: str, error: BaseException) -> UnavailableError:
        reason = str(error) or type(error).__name__
        return UnavailableError(
            f"{what}: no answer from the API server at {self.server} ({reason}); check that it runs"
        )


class _Pool(RESTClientObject):  # type: ignore[misc]
    """The library's TLS and proxy settings, with a session that does less for each request."""

    def session(self) -> aiohttp.ClientSession:
        """Make the session."""
        session: aiohttp.ClientSession = self._create_pool_manager()
        return session

    @override
    def _create_pool_manager(self) -> aiohttp.ClientSession:
        # Without `trust_env`, which reads ~/.netrc in a thread for each request; the proxy of the environment is
        # looked up once, below.
        return aiohttp.ClientSession(
            connector=self._create_connector(), cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=2**20
        )


def _options(configuration: Configuration) -> dict[str, Any]:
    """Options of every request that come from the configuration and the environment."""
    options: dict[str, Any] = {}
    if configuration.tls_server_name:
        options["server_hostname"] = configuration.tls_server_name
    proxy = configuration.proxy or _environment_proxy(URL(configuration.host))
    if proxy:
        options["proxy"] = proxy
        if configuration.proxy_headers:
            options["proxy_headers"] = configuration.proxy_headers
    return options


def _environment_proxy(server: URL) -> str | None:
    return None if proxy_bypass(server.host or "") else getproxies().get(server.scheme)


def _is_passing(refused: RefusedError, *, repeatable: bool) -> bool:
    """Whether the same request may succeed in a moment.

    A server has not begun a request that it answers with 429, or with a wish to wait; so these may be sent again in any case.
    """
    asked = retry_after_seconds(refused)
    if answers.is_untyped(refused.answer):
        return False
    if asked is not None and asked > _LONGEST_RETRY_AFTER:
        return False
    if refused.status == HTTPStatus.TOO_MANY_REQUESTS:
        return True
    return refused.status >= HTTPStatus.INTERNAL_SERVER_ERROR and (repeatable or asked is not None)


def _drop(answer: aiohttp.ClientResponse) -> None:
    """End an answer that was not read to its end, at once.

    TLS would wait for the server's farewell, and nothing would wait for TLS: closing the session does not know of connections
    that were given back before. The connection would still be open when the event loop ends.
    """
    if answer.connection is not None and (transport := answer.connection.transport) is not None:
        transport.abort()
    answer.close()


def _status(content: bytes) -> Mapping[str, Any]:
    try:
        status = json.loads(content)
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}


def decode(line: bytes) -> tuple[str, dict[str, Any]]:
    """Type and object of one line of a watch.

    Raises:
        KubeError: If it is no event.
    """
    try:
        event = json.loads(line)
        return event["type"], event["object"]
    except (ValueError, KeyError, TypeError) as error:
        raise KubeError(f"a watch sent a line that is no event ({error}); watch again") from error

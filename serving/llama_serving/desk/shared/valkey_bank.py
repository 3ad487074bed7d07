"""Reaches the ledger in a Valkey or Redis server. `engine.direct` makes it where the deployment names a server.

`leases` does what follows when the server is away: it serves within the last lease and this replica's share of a minute, and refuses what
has a budget. The server's own time counts for minutes, so clocks of nodes may differ.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import valkey.asyncio as valkey
from typing_extensions import override
from valkey.credentials import CredentialProvider
from valkey.exceptions import ValkeyError

from llama_serving.contract.tenants import StoreSettings
from llama_serving.desk.amounts import Answer, Moment, Reply, Statement
from llama_serving.desk.leases import LedgerAwayError
from llama_serving.desk.ledger import LEARNING_SECONDS
from llama_serving.desk.shared.messages import SCRIPT, answer_of, keys_of, message_of

_CONNECT_SECONDS: Final = 0.5
_ANSWER_SECONDS: Final = 0.9
"""Less than `leases` waits, so that a connection that hangs is dropped and not used again."""
_TENANTS: Final = 32
"""In one script: the server does nothing else meanwhile."""


class _Files(CredentialProvider):
    """Reads the credentials anew for each connection: the Secret may change while the replica runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @override
    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return user and password as the client takes them."""
        user, password = (_text(self._folder / name) for name in ("username", "password"))
        return (user, password) if user else (password,)


class ValkeyBank:
    """A `leases.Bank`.

    Args:
        settings: Where the server is.
        clock: Returns now; only the calendar counts.
        learning_seconds: For this long a server that knows nothing lends nothing of budgets.
    """

    def __init__(
        self, settings: StoreSettings, *, clock: Callable[[], Moment], learning_seconds: float = LEARNING_SECONDS
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._learning_seconds = learning_seconds
        self._client: Any = None
        self._script: Any = None
        self._told: dict[str, Statement] = {}

    async def exchange(self, replica: str, statements: dict[str, Statement]) -> Answer:
        """Do `Ledger.exchange`."""
        self._told |= statements
        return await self._run(replica, statements)

    async def leave(self, replica: str) -> None:
        """Do `Ledger.leave`, and close the connections; never raises."""
        with contextlib.suppress(LedgerAwayError):
            await self._run(replica, self._told, leaves=True)
        await self._close()

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(ValkeyError, OSError):
                await client.aclose()

    async def _run(self, replica: str, statements: dict[str, Statement], *, leaves: bool = False) -> Answer:
        replies: dict[str, Reply] = {}
        replicas = 1
        names = list(statements)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                # Once at least: a replica without tenants is one, too.
                for first in range(0, max(1, len(names)), _TENANTS):
                    some, moment = names[first : first + _TENANTS], self._clock()
                    message = message_of(
                        replica,
                        [statements[name] for name in some],
                        moment,
                        learning_seconds=self._learning_seconds,
                        leaves=leaves,
                    )
                    encoded = await self._called(keys_of(self._settings.scope, some), message)
                    answer = answer_of(encoded, some, moment)
                    replies |= answer.replies
                    replicas = answer.replicas
        except (ValkeyError, OSError, TimeoutError) as error:
            if self._settings.tls:
                # A client keeps the authority that it has read once, and the one in the Secret may be another now.
                await self._close()
            raise LedgerAwayError(f"{self._settings.address}: {str(error) or 'no answer in time'}") from error
        return Answer(replies=replies, replicas=replicas)

    async def _called(self, keys: list[str], message: bytes) -> bytes:
        if self._client is None:
            self._client = _client(self._settings)
            self._script = self._client.register_script(SCRIPT)
        answer: bytes = await self._script(keys=keys, args=[message])
        return answer


def _client(settings: StoreSettings) -> Any:
    host, _, port = settings.address.rpartition(":")
    folder = None if settings.folder is None else Path(settings.folder)
    authority = None if folder is None else folder / "ca.crt"
    asks = folder is not None and (folder / "password").exists()
    more: dict[str, Any] = {"credential_provider": _Files(folder)} if asks and folder is not None else {}
    if settings.tls:
        more |= {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True}
        more |= {"ssl_ca_certs": str(authority)} if authority is not None and authority.exists() else {}
    return valkey.Valkey(
        host=host,
        port=int(port),
        socket_connect_timeout=_CONNECT_SECONDS,
        socket_timeout=_ANSWER_SECONDS,
        # A step that may have been taken is not taken again: what a replica says is whole, and is said again anyway.
        retry=None,
        retry_on_timeout=False,
        **more,
    )


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8").strip() if file.exists() else ""

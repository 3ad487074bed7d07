"""Reads what the cluster can do: every authenticated user may ask for it. Called by `process` and by the CLI, once each."""

from collections.abc import Mapping
from typing import Protocol

from llama_operator.decide.platform import Platform
from llama_operator.kube.port import ForbiddenError, NotFoundError


class Server(Protocol):
    """An API server that tells about itself; `KubernetesCluster` does."""

    async def server_version(self) -> str:
        """Return its version, as in `v1.37.0`."""
        ...

    async def served_kinds(self) -> Mapping[str, tuple[str, ...]] | None:
        """Return served versions by `plural.group`; None if it does not tell."""
        ...


async def read_platform(server: Server) -> Platform:
    """Read versions and kinds; what the server refuses to tell is not known.

    Raises:
        KubeError: If it does not answer.
    """
    kubernetes, kinds = "", None
    try:
        kubernetes = await server.server_version()
        kinds = await server.served_kinds()
    except (ForbiddenError, NotFoundError):
        # Some distributions close these addresses.
        pass
    return Platform(kubernetes=kubernetes, kinds=kinds)

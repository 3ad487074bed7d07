"""Reads what the cluster can do: every authenticated user may ask for it. Called by `process` and by the CLI, once each."""

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from llama_operator.decide.platform import Platform
from llama_operator.kube.port import KubeError


class Server(Protocol):
    """An API server that tells about itself; `KubernetesCluster` does."""

    async def server_version(self) -> str:
        """Return its version, as in `v1.37.0`."""
        ...

    async def served_kinds(self) -> Mapping[str, tuple[str, ...]] | None:
        """Return served versions by `plural.group`; None if it does not tell."""
        ...


async def read_platform(server: Server) -> Platform:
    """Read versions and kinds; what the server does not tell is not known."""
    platform = Platform()
    # Nothing ends because of it: a server that does not answer fails what matters too.
    with contextlib.suppress(KubeError):
        platform = replace(platform, kubernetes=await server.server_version())
        platform = replace(platform, kinds=await server.served_kinds())
    return platform

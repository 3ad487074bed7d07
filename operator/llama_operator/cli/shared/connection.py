"""Opens the cluster that a command works on, and turns what fails there into words that help. Called by the verbs.

Everything goes through the port `Cluster`, so every command runs on the in-memory twin as on a real API server.
"""

import argparse
import asyncio
import difflib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias, TypeVar

from llama_operator.api.meta import GROUP
from llama_operator.cli.shared.options import Options, filled
from llama_operator.decide.platform import Platform
from llama_operator.errors import LlamaOperatorError
from llama_operator.kube.port import (
    Cluster,
    ForbiddenError,
    Kind,
    KubeError,
    Listing,
    NotFoundError,
    Object,
    PodLogs,
    Ref,
    Right,
    Services,
    UnavailableError,
)
from llama_operator.observe.platform import read_platform
from llama_operator.observe.unreadable import Unreadable

FIELD_MANAGER = "kubectl-llama"
"""Under which name `rollback` and `key` write, as managedFields show it."""

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Access:
    """Which cluster, as the command line says it."""

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something that could not be read: an answer of its own, never the same as "there is none"."""

    why: str
    no_such_kind: bool = False
    """Whether the cluster does not even know the kind: what brings it is not installed."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An open cluster, and what a command needs beside it."""

    cluster: Cluster
    logs: PodLogs
    services: Services
    namespace: str
    """What `-n` says, else the namespace of the context."""
    now: Callable[[], datetime]
    platform: Callable[[], Awaitable[Platform]]
    """What the cluster can do; asked for once."""


Connector: TypeAlias = Callable[[Access], AbstractAsyncContextManager[Connection]]
"""Opens a connection; tests give one that opens the in-memory twin."""


class ClusterError(LlamaOperatorError):
    """The cluster cannot do what the command needs; the message says what to do next."""


def on_cluster(
    arguments: argparse.Namespace, connector: Connector | None, body: Callable[[Connection], Awaitable[int]]
) -> int:
    """Run `body` on the cluster that a command line names; returns its exit code.

    Args:
        arguments: The parsed command line.
        connector: Opens the cluster; None for the one of the kubeconfig.
        body: The command.

    Raises:
        ClusterError: If the cluster cannot be reached, lacks our CRDs, or refuses.
    """
    access = Access(arguments.kubeconfig, arguments.context, getattr(arguments, "namespace", None))
    return asyncio.run(_run(access, connector or from_kubeconfig, body))


def runner(
    command: Callable[[Connection, Options], Awaitable[int]], kind: type[Options]
) -> Callable[[argparse.Namespace, Connector | None], int]:
    """Make the `run` of a verb from its command; the fields of `kind` are filled from the arguments of the same names."""

    def run(arguments: argparse.Namespace, connector: Connector | None) -> int:
        return on_cluster(arguments, connector, lambda cluster: command(cluster, filled(kind, arguments)))

    return run


async def _run(access: Access, connector: Connector, body: Callable[[Connection], Awaitable[int]]) -> int:
    try:
        async with connector(access) as connection:
            return await body(connection)
    except KubeError as error:
        raise ClusterError(explained(error)) from error


async def read_if_permitted(reading: Awaitable[T]) -> T | Unknown:
    """Return what was read, or that it may not be; anything else that fails ends the command."""
    try:
        return await reading
    except ForbiddenError as error:
        return Unknown(missing_right(error))


def missing_right(error: ForbiddenError) -> str:
    """Return who lacks which right.

    Raises:
        ForbiddenError: The same, if it names no right: the credentials are refused, and nothing can be read with them.
    """
    if error.missing is None:
        raise error
    return _lacks(error.missing)


async def read_if_possible(reading: Awaitable[T]) -> T | Unknown:
    """Return what was read, or why it cannot be: a missing right, or a kind that the cluster does not have."""
    try:
        return await read_if_permitted(reading)
    except NotFoundError as error:
        return Unknown(explained(error), no_such_kind=True)


async def list_facts(
    cluster: Cluster,
    kind: Kind,
    read: Callable[[Object], T | None],
    namespace: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> tuple[T, ...] | Unknown:
    """List a kind and read each item; those that say nothing, and those that cannot be read, are left out.

    A missing right is an answer too: what a command can do without must not end it.
    """
    listing = await read_if_possible(cluster.list(kind, namespace=namespace, labels=labels or {}))
    if isinstance(listing, Unknown):
        return listing
    return Unreadable().all(listing.items, read)


def value_or(reading: T | Unknown, default: U) -> T | U:
    """Return what was read, or `default` if it could not be read."""
    return default if isinstance(reading, Unknown) else reading


def explained(error: KubeError) -> str:
    """Say what a refusal of the API server means, and what to do about it."""
    text = " ".join(str(error).split())
    if isinstance(error, UnavailableError):
        return f"{text}; see that --kubeconfig and --context name the cluster that you mean"
    missing = error.missing if isinstance(error, ForbiddenError) else None
    if missing is None:
        return text or type(error).__name__
    where = f"-n {missing.namespace}" if missing.namespace else "-A"
    name = f"/{missing.name}" if missing.name else ""
    part = f" --subresource={missing.subresource}" if missing.subresource else ""
    return (
        f"{_lacks(missing)}: an administrator has to grant it by a Role or ClusterRole "
        f"(check: kubectl auth can-i {missing.verb} {missing.target}{name}{part} {where})"
    )


def _lacks(missing: Right) -> str:
    where = f"in namespace {missing.namespace}" if missing.namespace else "in all namespaces"
    part = f"the {missing.subresource} of " if missing.subresource else ""
    name = f" {missing.name}" if missing.name else ""
    return f"{missing.user} may not {missing.verb} {part}{missing.target}{name} {where}"


async def get_or_explain(cluster: Cluster, ref: Ref) -> Object:
    """Read one of our objects.

    Raises:
        ClusterError: If it does not exist, with the names that do; or if the cluster does not know its kind.
    """
    try:
        return await cluster.get(ref)
    except NotFoundError:
        listing = await list_or_explain(cluster, ref.kind, ref.namespace)
    names = [item["metadata"]["name"] for item in listing.items]
    near = difflib.get_close_matches(ref.name, names, n=3) or names[:3]
    hint = f"did you mean {', '.join(near)}?" if near else f"there is none in namespace {ref.namespace}; see -n and -A"
    raise ClusterError(f"no {ref} exists: {hint}")


async def list_or_explain(cluster: Cluster, kind: Kind, namespace: str | None) -> Listing:
    """List a kind of ours, in all namespaces when `namespace` is None.

    Raises:
        ClusterError: If the cluster does not know the kind.
    """
    try:
        return await cluster.list(kind, namespace=namespace)
    except NotFoundError as error:
        raise ClusterError(
            f"this cluster has no {kind.plural}.{GROUP}: llama-operator is not installed here, or another version of "
            f"it; `kubectl llama doctor` says what is missing"
        ) from error


@asynccontextmanager
async def from_kubeconfig(access: Access) -> AsyncIterator[Connection]:
    """Open the cluster that the kubeconfig names, or the one around us where we run in a pod.

    Raises:
        ClusterError: If there is no such configuration or context.
    """
    try:
        from llama_operator.kube.server.client import connect
    except ImportError as error:
        raise ClusterError(
            f"{error.name} is not installed: commands on a cluster need the Kubernetes client, which comes with "
            "`pip install 'llama-operator[cli]'`"
        ) from error

    async with connect(kubeconfig=access.kubeconfig, context=access.context, field_manager=FIELD_MANAGER) as cluster:
        known: list[Platform] = []

        async def platform() -> Platform:
            if not known:
                known.append(await read_platform(cluster))
            return known[0]

        yield Connection(
            cluster=cluster,
            logs=cluster,
            services=cluster,
            namespace=access.namespace or cluster.namespace,
            now=lambda: datetime.now(UTC),
            platform=platform,
        )

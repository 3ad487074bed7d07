"""Where the API server is and who we are to it: a kubeconfig, or the service account of the pod.

Called by `client.connect` and by kopf's login handler. The official library reads kubeconfigs, credential plugins and the token
of a service account. This module calls it and turns its errors into ours.
"""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from llama_operator.kube.port import KubeError

_IN_CLUSTER: Final = "KUBERNETES_SERVICE_HOST"
_NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DEFAULT_NAMESPACE: Final = "default"


class CredentialsError(KubeError):
    """No way to the API server is configured, or it cannot be read."""


@dataclass(frozen=True, slots=True)
class Access:
    """The way to one API server.

    Attributes:
        configuration: The library's configuration; it reloads a service account's token by itself each minute.
        namespace: Namespace of requests that name none.
        renew: Loads the credentials again into `configuration`.
    """

    configuration: Configuration
    namespace: str
    renew: Callable[[], Awaitable[None]]


async def load(kubeconfig: Path | None, context: str | None) -> Access:
    """Load credentials as kubectl does, but prefer the service account when running in a pod.

    Args:
        kubeconfig: A file; None for the service account where there is one, else `KUBECONFIG` or `~/.kube/config`.
        context: A context of the file; None for its current one. Naming one means a file, also in a pod.

    Raises:
        CredentialsError: If there are none, or they cannot be read.
    """
    configuration = Configuration()
    # From 3.13 on Python refuses certificates without an Authority Key Identifier, which many clusters have. Kubernetes' own clients take
    # them, and so did Python; chain, name and time are checked as before.
    configuration.disable_strict_ssl_verification = True
    if kubeconfig is None and context is None and _IN_CLUSTER in os.environ:
        return await _in_cluster(configuration)
    return await _from_file(configuration, kubeconfig, context)


async def _in_cluster(configuration: Configuration) -> Access:
    async def renew() -> None:
        try:
            load_incluster_config(client_configuration=configuration)
        except (ConfigException, OSError) as error:
            raise CredentialsError(f"the pod's service account cannot be read: {error}; mount its token") from error

    await renew()
    try:
        namespace = _NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    except OSError:
        namespace = ""
    return Access(configuration, namespace or _DEFAULT_NAMESPACE, renew)


async def _from_file(configuration: Configuration, kubeconfig: Path | None, context: str | None) -> Access:
    files = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    # If the file is missing, the library only logs, and goes on without a server.
    if not _exists(files):
        raise CredentialsError(f"no kubeconfig at {files}; name one with --kubeconfig or KUBECONFIG")
    namespace = _DEFAULT_NAMESPACE

    async def renew() -> None:
        nonlocal namespace
        try:
            loader = await load_kube_config(
                config_file=files, context=context, client_configuration=configuration, persist_config=False
            )
        except (ConfigException, OSError, ValueError, KeyError) as error:
            raise CredentialsError(f"kubeconfig {files} cannot be used: {error}; correct it") from error
        namespace = loader.current_context["context"].get("namespace") or _DEFAULT_NAMESPACE

    await renew()
    return Access(configuration, namespace, renew)


def _exists(files: str) -> bool:
    return any(Path(name).is_file() for name in files.split(os.pathsep) if name)

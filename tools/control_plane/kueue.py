"""Kueue, unmodified and under its own role, beside a control plane: queues with quota. Called by `make test-kueue`.

It runs as a process, so the API server reaches its webhooks on the loopback, and their certificate is of the control plane's own
authority. Only the integrations of Ray are on.
"""

import base64
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any, Final

import yaml

from control_plane import binaries
from control_plane.plane import ControlPlane
from control_plane.processes import answers, free_ports

USER: Final = "system:serviceaccount:kueue-system:kueue-controller-manager"
_NAME: Final = "kueue"
_NAMESPACE: Final = "kueue-system"
_CONFIGURATION: Final = Path(__file__).with_name("kueue") / "configuration.yaml"
_METRICS_CERTIFICATE: Final = "/etc/kueue/metrics/certs"
"""Where Kueue looks for it, whatever its configuration says."""
_WEBHOOKS: Final = ("kueue.x-k8s.io", "ray.io")
"""Groups whose webhooks are registered; others ask for integrations that are off."""
_OFF: Final = frozenset({"rayjobs"})


def missing() -> str:
    """Say why Kueue cannot run here; empty when it can."""
    if absent := binaries.missing((_NAME,)):
        return f"{absent[0]} is not built: make test-kueue"
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        return "Kueue reads a certificate from a fixed place, for which unshare and mount of util-linux are needed"
    return ""


def crds() -> Path:
    """Folder with the CRDs of Kueue, for `saved_planes.control_plane`.

    Raises:
        BuildError: Kueue is not built, and cannot be.
    """
    return binaries.ensure_apart(_NAME) / "manifests" / "crds"


def start(plane: ControlPlane) -> None:
    """Start Kueue with its role and webhooks on a control plane that has `crds`, and wait until it is ready.

    Raises:
        BuildError: Kueue is not built, and cannot be.
        PlaneError: It did not come up.
    """
    folder = binaries.ensure_apart(_NAME)
    manifests = folder / "manifests"
    plane.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}}, *_roles(manifests / "roles")
    )
    webhooks, metrics, probes = free_ports(3)
    certificates = _certificates(plane)
    configuration = plane.directory / "kueue.yaml"
    values = {"certificates": certificates, "metrics": metrics, "probes": probes, "webhooks": webhooks}
    configuration.write_text(Template(_CONFIGURATION.read_text(encoding="utf-8")).substitute(values))
    command: list[str | Path] = [
        *_with_certificate(certificates),
        *(folder / "kueue", f"--config={configuration}", f"--kubeconfig={plane.kubeconfig_for(USER)}"),
    ]
    plane.processes.start(_NAME, command)
    plane.processes.await_(_NAME, lambda: answers(f"http://127.0.0.1:{probes}/healthz"))
    plane.apply(*_configurations(manifests / "webhooks.yaml", webhooks, plane.authority_certificate))
    plane.processes.await_(_NAME, lambda: answers(f"http://127.0.0.1:{probes}/readyz"))


def _certificates(plane: ControlPlane) -> Path:
    """Folder with the certificate of the webhooks, under the names that Kueue looks for."""
    folder = plane.directory / "kueue-certificates"
    folder.mkdir(mode=0o700, exist_ok=True)
    pair = plane.certificate_on_loopback(_NAME)
    shutil.copyfile(pair.certificate, folder / "tls.crt")
    shutil.copyfile(pair.key, folder / "tls.key")
    return folder


def _with_certificate(folder: Path) -> Iterator[str | Path]:
    """Words before the program that let it see `folder` at the fixed place."""
    unshare = shutil.which("unshare") or "unshare"
    yield from (unshare, "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",)))
    yield from (sys.executable, "-I", "-S", Path(__file__).with_name("private_etc.py"), folder, _METRICS_CERTIFICATE)


def _configurations(path: Path, port: int, authority: Path) -> Iterator[Mapping[str, Any]]:
    """Kueue's own registrations of webhooks, for a process on the loopback."""
    bundle = base64.b64encode(authority.read_bytes()).decode()
    for found in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        hooks = [hook for hook in found["webhooks"] if _is_on(hook)]
        for hook in hooks:
            at = hook["clientConfig"]["service"]["path"]
            hook["clientConfig"] = {"url": f"https://127.0.0.1:{port}{at}", "caBundle": bundle}
        yield found | {"webhooks": hooks, "metadata": {"name": f"kueue-{found['metadata']['name']}"}}


def _is_on(hook: Mapping[str, Any]) -> bool:
    return all(set(rule["apiGroups"]) <= set(_WEBHOOKS) and not _OFF & {*rule["resources"]} for rule in hook["rules"])


def _roles(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Kueue's own roles, and that its account has them."""
    for path in sorted(folder.iterdir()):
        for role in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            # Their namespace is filled in where Kueue is installed.
            place = {"namespace": _NAMESPACE} if "namespace" in role["metadata"] else {}
            metadata = {"name": role["metadata"]["name"]} | place
            yield role | {"metadata": metadata}
            yield {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": f"{role['kind']}Binding",
                "metadata": metadata,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role["kind"], "name": metadata["name"]},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
            }

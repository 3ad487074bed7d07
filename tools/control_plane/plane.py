"""A Kubernetes control plane on loopback: etcd, API server, controllers, scheduler. The tests and `dev_cluster` start it.

It starts on free ports, with fresh keys, from an empty etcd or from a saved one (`saved_planes`).
"""

import datetime as dt
import functools
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from control_plane import binaries
from control_plane.api_client import ApiClient
from control_plane.identities import Authority, Pair
from control_plane.processes import PlaneError, Processes, answers, free_port, free_ports
from control_plane.simulated.dashboards import Dashboards

SERVICE_RANGE: Final = "10.96.0.0/16"
_MASTERS: Final = ("system:masters",)
_GRACE_SECONDS: Final = 3.0
_OWN_SECONDS: Final = 180.0
_POLICY: Final = Path(__file__).with_name("audit-policy.yaml")


class ControlPlane:
    """A control plane that runs while the context is open.

    Args:
        directory: Folder for its files and logs, which stay; None for a temporary one, which goes.
        saved: Folder of a saved etcd to start from a copy of; None for an empty one (see `saved_planes.control_plane`).
        audit: Whether to log writes (`audit_log`, read by `audit.writes`).
        bare: Whether only etcd and the API server run; then nothing is garbage collected, and no pod is bound.

    Attributes:
        directory: Folder of its files.
        kubeconfig: Kubeconfig of the administrator.
        server: URL of the API server.
        audit_log: The log of writes, if it was asked for.
        processes: The processes; parts that join the plane (KWOK, KubeRay) run among them.
        binaries: Folder with the programs.
        dashboards: Ray's dashboards, once `kuberay.start` simulates them.
    """

    directory: Path
    kubeconfig: Path
    server: str
    binaries: Path
    processes: Processes
    dashboards: Dashboards

    def __init__(
        self,
        directory: Path | None = None,
        *,
        saved: Path | None = None,
        audit: bool = False,
        bare: bool = False,
    ) -> None:
        self._asked, self._saved, self._audit, self._bare = directory, saved, audit, bare
        self._etcd = ""
        self._api_context: ssl.SSLContext | None = None
        self._api: ApiClient | None = None

    @property
    def api(self) -> ApiClient:
        """The administrator, in this process."""
        if self._api is None:
            if self._api_context is None:
                raise PlaneError("the control plane does not run yet")
            self._api = ApiClient(self.server, self._api_context)
        return self._api

    @property
    def audit_log(self) -> Path:
        """Where writes are logged if `audit` was asked for."""
        return self.directory / "audit.log"

    def __enter__(self) -> Self:
        """Start, and wait until everything is ready.

        Raises:
            PlaneError: A part did not come up; its log is named, and kept.
            BuildError: The programs are absent and cannot be built.
        """
        self.binaries = binaries.ensure()
        self.directory = (self._asked or Path(tempfile.mkdtemp(prefix="llama-plane-"))).absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.processes = Processes(self.directory)
        try:
            self._prepare()
            self._start_etcd(restored=self._saved is not None)
            self._start_api_server()
            if not self._bare:
                self._start_controllers()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything; a temporary folder goes."""
        self._stop()
        if self._asked is None:
            shutil.rmtree(self.directory, ignore_errors=True)

    def kubectl(
        self, *arguments: str | Path, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator.

        Args:
            arguments: Words after `kubectl`.
            stdin: Text for `-f -`.
            check: Whether a failure is an error.

        Raises:
            PlaneError: kubectl failed; the message has what it said.
        """
        command = [str(self.binaries / "kubectl"), f"--kubeconfig={self.kubeconfig}", *map(str, arguments)]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            raise PlaneError(f"kubectl {' '.join(map(str, arguments))}: {done.stderr or done.stdout}")
        return done

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects as the administrator, server-side, by force.

        Raises:
            PlaneError: One was refused.
        """
        for obj in objects:
            self.api.apply(obj)

    def kubeconfig_for(self, user: str, groups: tuple[str, ...] = (), server: str | None = None) -> Path:
        """Kubeconfig with a client certificate of `user`.

        Args:
            user: Name of the user.
            groups: Groups, which the certificate carries.
            server: URL to reach the API server at, if not directly.
        """
        pair = self._authority.client(user, tuple(groups))
        return self._authority.kubeconfig(pair.key.with_suffix(".kubeconfig"), pair, server or self.server)

    @property
    def authority_certificate(self) -> Path:
        """Certificate of the authority that signed what runs here."""
        return self._authority.pair.certificate

    def certificate_on_loopback(self, name: str) -> Pair:
        """Key and certificate for a server of `name` on the loopback, say for webhooks."""
        return self._authority.loopback(name)

    def stop_api_server_and_etcd(self) -> None:
        """Stop the store cleanly, so that its folder can be kept."""
        # An API server whose etcd is gone does not end when it is asked.
        self.processes.stop("kube-apiserver", _GRACE_SECONDS)
        self.processes.stop("etcd", _GRACE_SECONDS)

    def save_store(self, folder: Path) -> None:
        """Copy the store to `folder`; the API server is away meanwhile."""
        self._with_store_stopped(lambda: shutil.copytree(self.directory / "etcd", folder))

    def put_store_back(self, folder: Path) -> None:
        """Put an older copy in place of the store: versions of objects begin again where they were then."""

        def put() -> None:
            shutil.rmtree(self.directory / "etcd")
            shutil.copytree(folder, self.directory / "etcd")

        self._with_store_stopped(put)

    def _with_store_stopped(self, do: Callable[[], object]) -> None:
        self.stop_api_server_and_etcd()
        if self._api is not None:
            self._api.close()
            self._api = None
        do()
        self._start_etcd(restored=True)
        self._start_api_server()

    def _prepare(self) -> None:
        keys = self.directory / "keys"
        shutil.rmtree(keys, ignore_errors=True)
        keys.mkdir(mode=0o700)
        shutil.rmtree(self.directory / "etcd", ignore_errors=True)
        if self._saved is not None:
            shutil.copytree(self._saved, self.directory / "etcd")
        self._authority = Authority(keys, dt.datetime.now(dt.UTC))
        port = free_port()
        self.server = f"https://127.0.0.1:{port}"
        admin = self._authority.client("admin", _MASTERS)
        self.kubeconfig = self._authority.kubeconfig(self.directory / "admin.kubeconfig", admin, self.server)
        self._api_context = ssl.create_default_context(cafile=self._authority.pair.certificate)
        self._api_context.load_cert_chain(admin.certificate, admin.key)

    def _start_etcd(self, *, restored: bool) -> None:
        client, peer = free_ports(2)
        self._etcd = f"http://127.0.0.1:{client}"
        peers = f"http://127.0.0.1:{peer}"
        command: list[str | Path] = [
            self.binaries / "etcd",
            "--name=plane",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={self._etcd}",
            f"--advertise-client-urls={self._etcd}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=plane={peers}",
            "--unsafe-no-fsync",
            "--log-level=warn",
            # The saved one knows itself under another port.
            *(["--force-new-cluster"] if restored else []),
        ]
        self.processes.start("etcd", command)
        self.processes.await_("etcd", lambda: answers(f"{self._etcd}/readyz"))

    def _start_api_server(self) -> None:
        certificate = self._authority.server()
        kubelet = self._authority.client("kube-apiserver-kubelet-client", _MASTERS)
        self._signing = self._authority.signing_pair()
        audit = [f"--audit-policy-file={_POLICY}", f"--audit-log-path={self.audit_log}"] if self._audit else []
        command: list[str | Path] = [
            self.binaries / "kube-apiserver",
            f"--etcd-servers={self._etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            # Endpoints of the loopback are refused, so the `kubernetes` Service stays without.
            "--endpoint-reconciler-type=none",
            f"--secure-port={self.server.rpartition(':')[2]}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            f"--cert-dir={self.directory / 'keys'}",
            f"--tls-cert-file={certificate.certificate}",
            f"--tls-private-key-file={certificate.key}",
            f"--client-ca-file={self._authority.pair.certificate}",
            f"--kubelet-client-certificate={kubelet.certificate}",
            f"--kubelet-client-key={kubelet.key}",
            "--kubelet-preferred-address-types=InternalIP,Hostname",
            f"--service-account-key-file={self._signing.certificate}",
            f"--service-account-signing-key-file={self._signing.key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--profiling=false",
            *audit,
        ]
        # Memory for time: with Go's own setting a fifth of the server's work is collecting garbage.
        self.processes.start("kube-apiserver", command, {"GOGC": "400"})
        self.processes.await_("kube-apiserver", lambda: answers(f"{self.server}/readyz", self._api_context))

    def _start_controllers(self) -> None:
        manager_port, scheduler_port = free_ports(2)
        manager = self.kubeconfig_for("system:kube-controller-manager")
        authority = self._authority.pair
        own = [
            f"--service-account-private-key-file={self._signing.key}",
            f"--root-ca-file={authority.certificate}",
            f"--cluster-signing-cert-file={authority.certificate}",
            f"--cluster-signing-key-file={authority.key}",
            "--use-service-account-credentials=true",
            "--allocate-node-cidrs=false",
            "--controllers=*",
            # With the default of 20 a namespace waits seconds for its service account.
            "--kube-api-qps=400",
            "--kube-api-burst=800",
        ]
        scheduler = self.kubeconfig_for("system:kube-scheduler")
        parts: tuple[tuple[str, Path, int, list[str]], ...] = (
            ("kube-controller-manager", manager, manager_port, own),
            ("kube-scheduler", scheduler, scheduler_port, []),
        )
        for name, kubeconfig, port, flags in parts:
            common = [
                *(f"--{kind}kubeconfig={kubeconfig}" for kind in ("", "authentication-", "authorization-")),
                *("--bind-address=127.0.0.1", f"--secure-port={port}"),
                *(f"--cert-dir={self.directory / 'keys' / name}", "--leader-elect=false", "--profiling=false"),
            ]
            self.processes.start(name, [self.binaries / name, *common, *flags])
        for name, _, port, _ in parts:
            # Each signs its own certificate, so there is nothing to verify it with.
            context = ssl._create_unverified_context()  # noqa: S323, SLF001
            url = f"https://127.0.0.1:{port}/healthz"
            self.processes.await_(name, functools.partial(answers, url, context))
        self._await_service_account()

    def _await_service_account(self) -> None:
        def there() -> bool:
            time.sleep(0.1)
            return self.api.find("serviceaccount", "default", namespace="default") is not None

        self.processes.await_("kube-controller-manager", there, _OWN_SECONDS)

    def _stop(self) -> None:
        processes = getattr(self, "processes", None)
        if processes is None:
            return
        if self._api is not None:
            self._api.close()
            self._api = None
        joined = [name for name in processes.names() if name not in {"kube-apiserver", "etcd"}]
        processes.stop_together(joined, _GRACE_SECONDS)
        self.stop_api_server_and_etcd()

"""Autoscalers of others on the operator's number: Kubernetes' own HorizontalPodAutoscaler, for real, on the manifest that we ship.

What serves the metric here stands in for Prometheus and its adapter: it answers what they would.
"""

import datetime as dt
import json
import re
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from llama_operator.telemetry.metrics import WANTED_REPLICAS

pytestmark = pytest.mark.control_plane
FOLDER = Path(__file__).resolve().parents[3] / "manifests" / "autoscaling"
GROUP = "/apis/external.metrics.k8s.io/v1beta1"


class Metrics(ThreadingHTTPServer):
    """The API of external metrics, with one metric; None for no value, as while pods do not answer."""

    value: int | None = None
    asked: tuple[str, ...] = ()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path, _, query = self.path.partition("?")
        body = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "external.metrics.k8s.io/v1beta1"}
        body["resources"] = [{"name": "*", "namespaced": True, "kind": "ExternalMetricValueList", "verbs": ["get"]}]
        if "/namespaces/" in path:
            self.server.asked = (path.rsplit("/", 1)[1], query)
            now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            value = {"metricName": WANTED_REPLICAS.prometheus_name, "metricLabels": {}, "timestamp": now}
            items = [] if self.server.value is None else [value | {"value": str(self.server.value)}]
            body = {"kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1", "items": items}
            body["metadata"] = {}
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        """Nothing."""


def certificate(folder: Path) -> tuple[Path, Path]:
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
    )
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=9)).sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "tls.key").write_bytes(plain)
    (folder / "tls.crt").write_bytes(made.public_bytes(pem))
    return folder / "tls.crt", folder / "tls.key"


@pytest.fixture
def metrics(plane, namespace, tmp_path):
    server = Metrics(("127.0.0.1", 0), _Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(tmp_path))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # A name instead of an address: no pod of this cluster has one that answers.
    outside = {"type": "ExternalName", "externalName": "localhost"}
    meta = {"name": "metrics", "namespace": namespace}
    plane.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": outside})
    service = {"name": "metrics", "namespace": namespace, "port": server.server_port}
    spec = {"service": service, "group": "external.metrics.k8s.io", "version": "v1beta1", "insecureSkipTLSVerify": True}
    spec |= {"groupPriorityMinimum": 100, "versionPriority": 100}
    name = "v1beta1.external.metrics.k8s.io"
    plane.apply(
        {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": name}, "spec": spec}
    )
    yield server
    plane.kubectl("delete", "apiservice", name, "--wait=false")
    server.shutdown()
    server.server_close()


def scaler(namespace):
    text = (FOLDER / "hpa.yaml").read_text(encoding="utf-8").replace("team-a", namespace)
    return yaml.safe_load(text)


@pytest.mark.nightly
def test_kubernetes_own_autoscaler_takes_the_policys_number_at_once_and_keeps_it_while_there_is_none(
    plane, namespace, user, metrics, eventually
):
    user.apply("tiny-cpu", "chat-8b", scaling={"mode": "External", "maxReplicas": 4})
    status = {"replicas": 2, "readyReplicas": 2, "selector": "llama-operator.io/deployment=chat-8b"}
    user.kubectl(
        "patch", "lld", "chat-8b", "--subresource=status", "--type=merge", "-p", json.dumps({"status": status})
    )
    metrics.value = 7
    plane.apply(scaler(namespace))

    def replicas():
        return user.one("lld", "chat-8b")["spec"].get("replicas")

    def says(kind, **words):
        found = user.one("hpa", "chat-8b").get("status", {}).get("conditions", [])
        return any(one["type"] == kind and words.items() <= one.items() for one in found)

    eventually(
        lambda: says("AbleToScale", status="False", reason="FailedGetScale"), "it cannot read /scale without a number"
    )
    assert replicas() is None
    # As docs/autoscaling.md and `explain` say it.
    user.kubectl("scale", "llamadeployment", "chat-8b", "--replicas=2")

    eventually(lambda: replicas() == 7, "the autoscaler has written the wanted number")
    name, query = metrics.asked
    assert name == WANTED_REPLICAS.prometheus_name
    assert "deployment" in query
    assert namespace in query
    status = {"replicas": 7, "readyReplicas": 2}
    user.kubectl(
        "patch", "lld", "chat-8b", "--subresource=status", "--type=merge", "-p", json.dumps({"status": status})
    )
    metrics.value = None

    eventually(lambda: says("ScalingActive", status="False"), "the autoscaler says that it has no number")
    assert replicas() == 7, "a number that is missing is no zero"
    metrics.value = 3
    eventually(lambda: replicas() == 3, "and fewer, without waiting five minutes")

    # Back, as docs/autoscaling.md says it.
    user.kubectl("delete", "hpa", "chat-8b")
    mode = {"scaling": {"mode": "QueueDepth"}}
    back = json.dumps({"spec": mode | {"replicas": None}})
    refused = user.kubectl("patch", "lld", "chat-8b", "--type=merge", "-p", json.dumps({"spec": mode}), check=False)
    assert "kubectl patch llamadeployment NAME --type merge" in refused.stderr
    user.kubectl("patch", "lld", "chat-8b", "--type=merge", "-p", back)
    assert replicas() is None


@pytest.mark.parametrize("file", ["hpa.yaml", "keda.yaml"])
def test_shipped_manifests_name_metrics_that_exist(file):
    text = (FOLDER / file).read_text(encoding="utf-8")
    assert set(re.findall(r"llama_operator_\w+", text)) == {WANTED_REPLICAS.prometheus_name}

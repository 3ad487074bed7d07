"""Keys, certificates and kubeconfigs of a control plane, and of servers in its pods. Used by `plane`, and by tests/two_nodes for a store."""

import base64
import datetime as dt
import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID: Final = dt.timedelta(days=30)
_EARLIER: Final = dt.timedelta(minutes=5)
SERVICE_ADDRESS: Final = "10.96.0.1"
"""Cluster address of the API server: the first of the range that the API server is given."""
_NAMES: Final = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A private key and what is public of it, both PEM."""

    key: Path
    certificate: Path


class Authority:
    """A certificate authority with EC keys.

    Args:
        folder: Existing folder; all files go there.
        now: Time from which the certificates hold.
    """

    def __init__(self, folder: Path, now: dt.datetime) -> None:
        self._folder, self._now = folder, now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "llama-operator development")])
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = self._builder(self._name, self._key.public_key()).add_extension(usage, critical=True)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.pair = self._write("ca", self._key, builder)

    def server(self, *addresses: str) -> Pair:
        """Certificate of the API server, for its names in the cluster and the addresses given."""
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in _NAMES]
        names += [x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", SERVICE_ADDRESS, *addresses)]
        return self._leaf("apiserver", "kube-apiserver", (), ExtendedKeyUsageOID.SERVER_AUTH, names)

    def loopback(self, name: str) -> Pair:
        """Certificate of another server on the loopback; `name` names its files."""
        addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return self._leaf(f"loopback-{name}", name, (), ExtendedKeyUsageOID.SERVER_AUTH, addresses)

    def service(self, name: str, namespace: str) -> Pair:
        """Certificate of the pods behind a Service; `name` names its files."""
        names = [x509.DNSName(f"{name}.{namespace}.svc")]
        return self._leaf(f"service-{name}", name, (), ExtendedKeyUsageOID.SERVER_AUTH, list[x509.GeneralName](names))

    def client(self, user: str, groups: tuple[str, ...] = ()) -> Pair:
        """Certificate with which a client is `user` in `groups`."""
        name = "-".join((user, *groups)).replace(":", "-").replace("/", "-")
        return self._leaf(f"client-{name}", user, groups, ExtendedKeyUsageOID.CLIENT_AUTH, [])

    def signing_pair(self) -> Pair:
        """Key that signs service account tokens, and its public half."""
        key = ec.generate_private_key(ec.SECP256R1())
        public = self._folder / "service-accounts.pub"
        public.write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        return Pair(self._write_key("service-accounts", key), public)

    def kubeconfig(self, path: Path, pair: Pair, server: str) -> Path:
        """Write a kubeconfig, readable by its owner alone; returns its path."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "plane",
            "clusters": [
                {
                    "name": "plane",
                    "cluster": {"server": server, "certificate-authority-data": _encoded(self.pair.certificate)},
                }
            ],
            "users": [
                {
                    "name": "user",
                    "user": {
                        "client-certificate-data": _encoded(pair.certificate),
                        "client-key-data": _encoded(pair.key),
                    },
                }
            ],
            "contexts": [{"name": "plane", "context": {"cluster": "plane", "user": "user", "namespace": "default"}}],
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")
        return path

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _EARLIER)
            .not_valid_after(self._now + _VALID)
        )

    def _leaf(
        self,
        name: str,
        user: str,
        groups: tuple[str, ...],
        usage: x509.ObjectIdentifier,
        names: list[x509.GeneralName],
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, user, _validate=False)])
        builder = self._builder(subject, key.public_key())
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return self._write(name, key, builder)

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, builder: x509.CertificateBuilder) -> Pair:
        certificate = self._folder / f"{name}.crt"
        certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return Pair(self._write_key(name, key), certificate)

    def _write_key(self, name: str, key: ec.EllipticCurvePrivateKey) -> Path:
        path = self._folder / f"{name}.key"
        path.touch(mode=0o600)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return path


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()

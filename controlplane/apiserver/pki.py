"""The cluster's certificate authority and the keys under it, made when absent. Files are readable by their owner only.

Kubernetes' conventions: a client certificate's common name is the user, its organizations are the groups.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mesh.durable import write_private
from mesh.errors import Terminal

_CA_LIFE = timedelta(days=3650)
_LIFE = timedelta(days=365)
_RENEW_BEFORE = timedelta(days=30)
_SKEW = timedelta(minutes=5)

ADMIN = "kubernetes-admin"
MASTERS = "system:masters"


@dataclass(frozen=True, slots=True)
class Pki:
    """Where the files of `ensure` are."""

    directory: Path

    @property
    def ca_cert(self) -> Path:
        """The authority's certificate, which clients trust."""
        return self.directory / "ca.crt"

    @property
    def server_cert(self) -> Path:
        """The API server's certificate."""
        return self.directory / "server.crt"

    @property
    def server_key(self) -> Path:
        """Its key."""
        return self.directory / "server.key"

    @property
    def admin_cert(self) -> Path:
        """The administrator's client certificate."""
        return self.directory / "admin.crt"

    @property
    def admin_key(self) -> Path:
        """Its key."""
        return self.directory / "admin.key"

    @property
    def service_account_key(self) -> Path:
        """Signs service account tokens."""
        return self.directory / "service-account.key"

    def server_context(self) -> ssl.SSLContext:
        """TLS for the API server: client certificates are checked when offered, and not demanded."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.ca_cert))
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_cert_chain(self.server_cert, self.server_key)
        context.set_alpn_protocols(["http/1.1"])
        return context


def ensure(directory: Path, names: Sequence[str], now: datetime) -> Pki:
    """Make what is missing in `directory`, and what no longer serves: a server certificate that lacks one of `names`
    (DNS names and addresses), certificates near their end. Raises `Terminal` when files cannot be used."""
    pki = Pki(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        ca, ca_key = _authority(pki, now)
        if not _serves(pki.server_cert, pki.server_key, ca, names, now):
            subject = _subject("kube-apiserver")
            _issue(pki.server_cert, pki.server_key, ca, ca_key, subject, now=now, alternative_names=names)
        if not _serves(pki.admin_cert, pki.admin_key, ca, (), now):
            _issue(pki.admin_cert, pki.admin_key, ca, ca_key, _subject(ADMIN, MASTERS), now=now)
        if not pki.service_account_key.exists():
            write_private(pki.service_account_key, _pem(ec.generate_private_key(ec.SECP256R1())))
    except (OSError, ValueError) as error:
        raise Terminal(f"cannot use the certificates and keys in {directory}: {error}") from error
    return pki


def server_names(advertise_address: str, service_cidrs: Sequence[str], cluster_domain: str) -> list[str]:
    """Under which names and addresses clients reach the API server."""
    service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{cluster_domain}"]
    first = [str(ipaddress.ip_network(cidr)[1]) for cidr in service_cidrs]
    return list(dict.fromkeys(["localhost", "127.0.0.1", "::1", advertise_address, *first, *service]))


def issue_client(pki: Pki, name: str, groups: Sequence[str], now: datetime) -> tuple[bytes, bytes]:
    """A client certificate and its key, both as PEM, for user `name` in `groups`."""
    ca, ca_key = _authority(pki, now)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _signed(key, ca, ca_key, _subject(name, *groups), now=now)
    return certificate.public_bytes(serialization.Encoding.PEM), _pem(key)


def _authority(pki: Pki, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key_file = pki.directory / "ca.key"
    if pki.ca_cert.exists():
        return x509.load_pem_x509_certificate(pki.ca_cert.read_bytes()), _load_key(key_file)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject("covey-ca")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(key_file, _pem(key))
    write_private(pki.ca_cert, certificate.public_bytes(serialization.Encoding.PEM))
    return certificate, key


def _serves(cert: Path, key: Path, ca: x509.Certificate, names: Sequence[str], now: datetime) -> bool:
    """Whether the certificate exists, goes with its key (a crash may have come between writing them), is this
    authority's, lasts a while yet and covers `names`."""
    if not (cert.exists() and key.exists()):
        return False
    certificate = x509.load_pem_x509_certificate(cert.read_bytes())
    if certificate.issuer != ca.subject or certificate.not_valid_after_utc - now < _RENEW_BEFORE:
        return False
    if certificate.public_key() != _load_key(key).public_key():
        return False
    authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    if authority.key_identifier != x509.SubjectKeyIdentifier.from_public_key(ca.public_key()).digest:
        return False
    if not names:
        return True
    covered = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(_general_names(names)) <= set(covered)


def _issue(
    cert: Path,
    key_file: Path,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    subject: x509.Name,
    *,
    now: datetime,
    alternative_names: Sequence[str] = (),
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _signed(key, ca, ca_key, subject, now=now, alternative_names=alternative_names)
    write_private(key_file, _pem(key))
    write_private(cert, certificate.public_bytes(serialization.Encoding.PEM))


def _signed(
    key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    subject: x509.Name,
    *,
    now: datetime,
    alternative_names: Sequence[str] = (),
) -> x509.Certificate:
    use = ExtendedKeyUsageOID.SERVER_AUTH if alternative_names else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
            critical=False,
        )
    )
    if alternative_names:
        builder = builder.add_extension(x509.SubjectAlternativeName(_general_names(alternative_names)), critical=False)
    return builder.sign(ca_key, hashes.SHA256())


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def _subject(name: str, *groups: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Terminal(f"{path} is not an elliptic curve key")
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

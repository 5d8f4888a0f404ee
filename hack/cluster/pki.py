"""Certificates: one authority, and a certificate for each who must prove a name."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hack.cluster.state import State

_LIFETIME = dt.timedelta(days=3650)


@dataclass(frozen=True)
class Pair:
    """The files of a certificate and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """Issues certificates into the state directory, each once.

    Attributes:
        state: The cluster's state.
        name: Names its files, and itself in the certificates.
    """

    state: State
    name: str = "ca"

    @property
    def certificate(self) -> Path:
        """The authority's own certificate."""
        return self._pair.certificate

    @property
    def key(self) -> Path:
        """The authority's key."""
        return self._pair.key

    @cached_property
    def _pair(self) -> Pair:
        pair = _files(self.state, self.name)
        if not pair.key.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            subject = _subject(f"pykaito-{self.name}", "")
            builder = (
                _builder(subject, subject, key)
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
                .add_extension(_key_usage(authority=True), True)
            )
            _save(pair, key, builder.sign(key, hashes.SHA256()))
        return pair

    def issue(
        self, name: str, *, user: str, group: str = "", hosts: Sequence[str] = ()
    ) -> Pair:
        """The certificate `name`, made on first use.

        Args:
            name: Names its files.
            user: The user it proves (CN).
            group: The group it proves (O).
            hosts: The host names and addresses it serves; a client has none.
        """
        pair = _files(self.state, name)
        if pair.key.exists():
            return pair
        ca = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        ca_key = serialization.load_pem_private_key(self.key.read_bytes(), None)
        if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{self.key} holds no elliptic curve key")
        key = ec.generate_private_key(ec.SECP256R1())
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if hosts:
            uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
        builder = (
            _builder(_subject(user, group), ca.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .add_extension(_key_usage(authority=False), True)
            .add_extension(x509.ExtendedKeyUsage(uses), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key()),  # type: ignore[arg-type]
                False,
            )
        )
        if hosts:
            names = x509.SubjectAlternativeName([general_name(host) for host in hosts])
            builder = builder.add_extension(names, False)
        _save(pair, key, builder.sign(ca_key, hashes.SHA256()))
        return pair


def signing_key(state: State, name: str) -> Pair:
    """A key pair without a certificate, for ServiceAccount tokens."""
    pair = Pair(state.pki / f"{name}.pub", state.pki / f"{name}.key")
    if not pair.key.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        _write(pair, key, public)
    return pair


def general_name(host: str) -> x509.GeneralName:
    """How a certificate names a host: an address as one, anything else as DNS."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _files(state: State, name: str) -> Pair:
    return Pair(state.pki / f"{name}.crt", state.pki / f"{name}.key")


def _subject(user: str, group: str) -> x509.Name:
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A clock set back a little must not make a new certificate invalid.
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
        )
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not authority,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _save(
    pair: Pair, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate
) -> None:
    _write(pair, key, certificate.public_bytes(serialization.Encoding.PEM))


def _write(pair: Pair, key: ec.EllipticCurvePrivateKey, public: bytes) -> None:
    pair.key.parent.mkdir(parents=True, exist_ok=True)
    pair.certificate.write_bytes(public)
    pair.key.touch(mode=0o600)
    # The key last: its presence means that both are there.
    pair.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )

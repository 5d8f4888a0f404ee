"""Certificates for a webhook: made here, renewed here, and never untrusted.

Each certificate has an authority of its own, whose key is thrown away once it has
signed: what is stored can serve, and can sign nothing. So a renewal brings a new
authority, which the API server must trust before anybody serves by it:

    certified   one certificate is served, its authority is trusted
    staged      due for renewal: the next one is stored, both authorities are
                trusted, the old certificate is still served
    certified   the next one is served; the old authority stays trusted as long as
                a replica may not have noticed

All of it is one value, `Certificates`, that replicas keep in a Secret; `renewed`
is the only way from one to the next, and a pure function but for the keys.
"""

import contextlib
import os
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=365)

#: Clocks may disagree by this much: a certificate is valid from before its making.
SKEW = timedelta(hours=1)

#: How long a staged certificate waits at least. API servers learn of a changed
#: webhook configuration by a watch, each for itself.
STAGED = timedelta(minutes=10)

_RENEW_AFTER = LIFETIME * 2 / 3
_MAX_AUTHORITIES = 4

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
)

CERTIFICATE, KEY, AUTHORITIES = "tls.crt", "tls.key", "ca.crt"
NEXT_CERTIFICATE, NEXT_KEY = "next.crt", "next.key"


class UnusableError(ValueError):
    """What is stored cannot be served; the message says why."""


@final
@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, in PEM."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "KeyPair(…)"  # never a key in a log

    @property
    def expires(self) -> datetime:
        """When the certificate ends, in UTC."""
        return x509.load_pem_x509_certificate(self.certificate).not_valid_after_utc

    @property
    def issued(self) -> datetime:
        """When the certificate was made, in UTC."""
        loaded = x509.load_pem_x509_certificate(self.certificate)
        return loaded.not_valid_before_utc + SKEW

    def load_into(self, context: ssl.SSLContext) -> None:
        """Let the context serve with this pair, from the next handshake on.

        The key passes through memory only: ssl reads files, and a container's
        root file system may be read-only.

        Raises:
            ssl.SSLError: the key is not the certificate's.
        """
        descriptor = os.memfd_create("webhook-certificate")
        with os.fdopen(descriptor, "wb") as file:
            file.write(self.certificate + self.key)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")


@final
@dataclass(frozen=True, slots=True)
class Certificates:
    """What is served, what will be, and who is to be trusted.

    Attributes:
        current: what is served.
        authorities: in PEM; that of `current` first.
        upcoming: what will be served once its authority is trusted everywhere;
            None when no renewal is under way.
    """

    current: KeyPair
    authorities: tuple[bytes, ...]
    upcoming: KeyPair | None = None

    @property
    def bundle(self) -> bytes:
        """Every authority to trust, as one PEM text."""
        return b"".join(self.authorities)

    def to_data(self) -> dict[str, bytes]:
        """Return it as the data of a Secret of type `kubernetes.io/tls`."""
        data = {
            CERTIFICATE: self.current.certificate,
            KEY: self.current.key,
            AUTHORITIES: self.bundle,
        }
        if self.upcoming is not None:
            data |= {
                NEXT_CERTIFICATE: self.upcoming.certificate,
                NEXT_KEY: self.upcoming.key,
            }
        return data

    @classmethod
    def from_data(
        cls, data: Mapping[str, bytes], *, host: str, now: datetime
    ) -> "Certificates":
        """Return what a Secret holds.

        A next certificate that cannot be used is left out: another is made.

        Raises:
            UnusableError: the certificate that should be served cannot be.
        """
        authorities = authorities_in(data.get(AUTHORITIES, b""), now)
        current = KeyPair(data.get(CERTIFICATE, b""), data.get(KEY, b""))
        first = check(current, authorities, host=host, now=now)
        upcoming: KeyPair | None = None
        if NEXT_CERTIFICATE in data:
            upcoming = KeyPair(data[NEXT_CERTIFICATE], data.get(NEXT_KEY, b""))
            try:
                check(upcoming, authorities, host=host, now=now)
            except UnusableError:
                upcoming = None
        others = [other for other in authorities if other != first]
        return cls(current, (first, *others), upcoming)


def renewed(
    stored: Mapping[str, bytes],
    *,
    host: str,
    now: datetime,
    served: Certificates | None = None,
    published: bytes | None = None,
) -> Certificates:
    """Return the certificates that follow from what is stored.

    Args:
        stored: the data of the Secret, empty when there is none.
        host: the name that the API server calls the webhook by.
        now: the time.
        served: what was stored when last looked at; if it is lost, this one is
            served until the API server trusts another.
        published: the authorities that the API server trusts; None when there is
            no configuration that could say.
    """
    try:
        found = Certificates.from_data(stored, host=host, now=now)
    except UnusableError:
        return _replaced(stored, host=host, now=now, served=served)
    if found.upcoming is not None:
        return _promoted(found, found.upcoming, host=host, now=now, published=published)
    if now < found.current.issued + _RENEW_AFTER:
        return found
    return _staged(found, host=host, now=now)


def _staged(found: Certificates, *, host: str, now: datetime) -> Certificates:
    """Return the certificates with a new one to be served next."""
    upcoming, authority = issue(host, now)
    kept = found.authorities[: _MAX_AUTHORITIES - 1]
    return Certificates(found.current, (*kept, authority), upcoming)


def _promoted(
    found: Certificates,
    upcoming: KeyPair,
    *,
    host: str,
    now: datetime,
    published: bytes | None,
) -> Certificates:
    """Return the certificates with the next one served, if the time has come."""
    authority = check(upcoming, found.authorities, host=host, now=now)
    known = published is None or authority in authorities_in(published, now)
    if not known or now < upcoming.issued + STAGED:
        return found
    others = [other for other in found.authorities if other != authority]
    return Certificates(upcoming, (authority, *others))


def _replaced(
    stored: Mapping[str, bytes],
    *,
    host: str,
    now: datetime,
    served: Certificates | None,
) -> Certificates:
    """Return certificates in the place of what cannot be served."""
    remembered = served.to_data() if served else {}
    bundle = remembered.get(AUTHORITIES, b"") + b"\n" + stored.get(AUTHORITIES, b"")
    data = {**remembered, AUTHORITIES: bundle}
    with contextlib.suppress(UnusableError):
        found = Certificates.from_data(data, host=host, now=now)
        return _staged(found, host=host, now=now)
    upcoming = KeyPair(stored.get(NEXT_CERTIFICATE, b""), stored.get(NEXT_KEY, b""))
    known = authorities_in(bundle, now)
    try:
        authority = check(upcoming, known, host=host, now=now)
    except UnusableError:
        upcoming, authority = issue(host, now)
    others = [other for other in known if other != authority]
    return Certificates(upcoming, (authority, *others[: _MAX_AUTHORITIES - 1]))


def check(
    pair: KeyPair, authorities: Iterable[bytes], *, host: str, now: datetime
) -> bytes:
    """Return the authority of a pair that can be served.

    A certificate of the future is taken: some other replica's clock is ahead, and
    replacing each other's certificates would help nobody.

    Raises:
        UnusableError: it cannot be served as `host`, and why.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        key = serialization.load_pem_private_key(pair.key, None)
        names = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value.get_values_for_type(x509.DNSName)
        matches = key.public_key() == certificate.public_key()
    except _UNREADABLE as error:
        raise UnusableError(f"cannot be read: {error}") from None
    if not matches:
        raise UnusableError("the key is not the certificate's")
    if host not in names:
        raise UnusableError(f"is for {', '.join(names)}, not for {host}")
    if certificate.not_valid_after_utc <= now:
        raise UnusableError(f"expired at {certificate.not_valid_after_utc}")
    for authority in authorities:
        try:
            certificate.verify_directly_issued_by(
                x509.load_pem_x509_certificate(authority)
            )
        except (*_UNREADABLE, InvalidSignature):
            continue
        return authority
    raise UnusableError("none of the stored authorities signed it")


def authorities_in(bundle: bytes, now: datetime) -> tuple[bytes, ...]:
    """Return the authorities in PEM that can still be trusted, each once.

    What is no certificate, or that of no authority, is left out.
    """
    found: list[bytes] = []
    for block in _blocks(bundle):
        try:
            certificate = x509.load_pem_x509_certificate(block)
            constraints = certificate.extensions.get_extension_for_class(
                x509.BasicConstraints
            ).value
        except _UNREADABLE:
            continue
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        if constraints.ca and certificate.not_valid_after_utc > now:
            found.append(pem)
    return tuple(dict.fromkeys(found))


def _blocks(bundle: bytes) -> Iterable[bytes]:
    end = b"-----END CERTIFICATE-----"
    return [block + end for block in bundle.split(end)[:-1]]


def issue(host: str, now: datetime) -> tuple[KeyPair, bytes]:
    """Return a new certificate for the host, and the authority that signed it.

    Both use ECDSA on P-256, end at the same time, and begin before `now` by what
    clocks may differ.
    """
    now = now.astimezone(UTC)
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    serial = x509.random_serial_number()
    # The number makes authorities of one host differ by their name, too.
    issuer = _name(f"webhook-ca-{serial:x}"[:64])
    authority = (
        _builder(issuer, issuer, ca_key.public_key(), now)
        .serial_number(serial)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    certificate = (
        _builder(_name("webhook"), issuer, key.public_key(), now)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )
    pair = KeyPair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    return pair, authority.public_bytes(serialization.Encoding.PEM)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .not_valid_before(now - SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False
        )
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )

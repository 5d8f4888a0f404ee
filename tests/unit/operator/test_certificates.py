"""Certificates on their own: what follows from what is stored, at any time."""

import itertools
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from pykaito.operator.certificates import (
    LIFETIME,
    SKEW,
    STAGED,
    Certificates,
    KeyPair,
    UnusableError,
    authorities_in,
    check,
    issue,
    renewed,
)

HOST = "pykaito-webhook.pykaito-system.svc"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DUE = LIFETIME * 2 / 3

# Making keys is what these tests spend their time on.
FIRST = renewed({}, host=HOST, now=NOW)
STAGING = renewed(FIRST.to_data(), host=HOST, now=NOW + DUE)


def after(
    found: Certificates, now: datetime, published: bytes | None = None
) -> Certificates:
    return renewed(found.to_data(), host=HOST, now=now, published=published)


def trusts(bundle: bytes, pair: KeyPair, now: datetime) -> bool:
    """Whether a client that trusts the bundle accepts the pair."""
    try:
        check(pair, authorities_in(bundle, now), host=HOST, now=now)
    except UnusableError:
        return False
    return True


def shakes_hands(bundle: bytes, pair: KeyPair) -> str:
    """Connect in memory, as strictly as OpenSSL can, and return the version."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair.load_into(server_side)
    client_side = ssl.create_default_context(cadata=bundle.decode())
    client_side.verify_flags |= ssl.VERIFY_X509_STRICT
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(down, up, server_hostname=HOST)
    server = server_side.wrap_bio(up, down, server_side=True)
    ends = itertools.cycle((client, server))
    left = {client, server}
    for end in itertools.islice(ends, 20):
        try:
            end.do_handshake()
            left.discard(end)
        except ssl.SSLWantReadError:
            pass
        if not left:
            break
    return str(client.version())


def test_the_first_certificate_convinces_a_strict_client() -> None:
    pair, authority = issue(HOST, datetime.now(UTC))
    assert shakes_hands(authority, pair) == "TLSv1.3"


def test_a_client_that_calls_another_name_refuses() -> None:
    pair, authority = issue("other.default.svc", datetime.now(UTC))
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        shakes_hands(authority, pair)


def test_keys_are_on_p256_and_authorities_sign_nothing_but_certificates() -> None:
    certificate = x509.load_pem_x509_certificate(FIRST.current.certificate)
    assert getattr(certificate.public_key(), "curve").name == "secp256r1"  # noqa: B009
    authority = x509.load_pem_x509_certificate(FIRST.authorities[0])
    usage = authority.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign
    assert not usage.digital_signature


def test_no_key_that_could_sign_is_stored() -> None:
    stored = FIRST.to_data()
    assert stored.keys() == {"tls.crt", "tls.key", "ca.crt"}
    authority = x509.load_pem_x509_certificate(stored["ca.crt"])
    certificate = x509.load_pem_x509_certificate(stored["tls.crt"])
    assert authority.public_key() != certificate.public_key()


def test_a_key_is_in_no_log() -> None:
    assert "KEY" not in repr(FIRST)


def test_a_certificate_is_valid_an_hour_before_it_was_made() -> None:
    for pem in (FIRST.current.certificate, FIRST.authorities[0]):
        certificate = x509.load_pem_x509_certificate(pem)
        assert certificate.not_valid_before_utc == NOW - SKEW
        assert certificate.not_valid_after_utc == NOW + LIFETIME


@pytest.mark.parametrize("age", [timedelta(), DUE - timedelta(seconds=1)])
def test_nothing_changes_before_two_thirds_of_its_life(age: timedelta) -> None:
    assert after(FIRST, NOW + age).to_data() == FIRST.to_data()


def test_a_replica_whose_clock_is_behind_keeps_a_certificate_of_the_future() -> None:
    assert after(FIRST, NOW - timedelta(days=2)).to_data() == FIRST.to_data()


def test_a_renewal_is_trusted_before_it_is_served() -> None:
    assert STAGING.current == FIRST.current
    assert STAGING.upcoming is not None
    assert trusts(STAGING.bundle, STAGING.upcoming, NOW + DUE)
    assert trusts(STAGING.bundle, FIRST.current, NOW + DUE)


def test_the_next_certificate_waits_until_its_authority_is_published() -> None:
    late = NOW + DUE + timedelta(days=30)
    assert after(STAGING, late, published=FIRST.bundle) == STAGING
    assert after(STAGING, late, published=b"") == STAGING
    assert after(STAGING, late, published=STAGING.bundle).current == STAGING.upcoming


def test_the_next_certificate_waits_for_servers_that_learn_late() -> None:
    early = NOW + DUE + STAGED - timedelta(seconds=1)
    assert after(STAGING, early, published=STAGING.bundle) == STAGING
    on_time = after(STAGING, NOW + DUE + STAGED, published=STAGING.bundle)
    assert on_time.current == STAGING.upcoming
    assert on_time.upcoming is None


def test_the_old_authority_stays_trusted_after_the_renewal() -> None:
    now = NOW + DUE + STAGED
    done = after(STAGING, now, published=STAGING.bundle)
    assert trusts(done.bundle, FIRST.current, now)


def test_an_authority_goes_when_it_expired() -> None:
    done = after(STAGING, NOW + DUE + STAGED, published=STAGING.bundle)
    assert len(after(done, NOW + LIFETIME - SKEW).authorities) == 2
    assert len(after(done, NOW + LIFETIME).authorities) == 1


def test_ten_years_pass_and_at_no_moment_is_what_is_served_untrusted() -> None:
    found, published, now = FIRST, FIRST.bundle, NOW
    for _ in range(10 * 52):
        before = found.current
        found = after(found, now, published)
        # One replica serves the old one yet, another the new one already.
        assert trusts(published, before, now)
        assert trusts(published, found.current, now)
        assert len(found.authorities) <= 3
        published = found.bundle
        now += timedelta(weeks=1)
    assert found.current != FIRST.current


def test_an_operator_that_slept_through_the_end_serves_the_staged_certificate() -> None:
    late = after(STAGING, NOW + LIFETIME + timedelta(days=1))
    assert late.current == STAGING.upcoming


def test_an_expired_certificate_is_replaced() -> None:
    now = NOW + LIFETIME
    late = after(FIRST, now)
    assert late.current != FIRST.current
    assert trusts(late.bundle, late.current, now)


def test_a_service_of_another_name_gets_another_certificate() -> None:
    other = renewed(FIRST.to_data(), host="other.default.svc", now=NOW)
    assert other.current != FIRST.current


@pytest.mark.parametrize("lost", ["tls.crt", "tls.key", "ca.crt"])
def test_what_is_lost_is_replaced(lost: str) -> None:
    stored = {k: v for k, v in FIRST.to_data().items() if k != lost}
    found = renewed(stored, host=HOST, now=NOW)
    assert found.current != FIRST.current
    assert trusts(found.bundle, found.current, NOW)
    assert after(found, NOW) == found


@pytest.mark.parametrize("lost", ["tls.crt", "tls.key", "ca.crt"])
def test_what_is_lost_and_still_served_is_served_until_another_is_trusted(
    lost: str,
) -> None:
    stored = {k: v for k, v in FIRST.to_data().items() if k != lost}
    found = renewed(stored, host=HOST, now=NOW, served=FIRST)
    assert found.current == FIRST.current
    assert found.upcoming is not None
    assert trusts(found.bundle, found.upcoming, NOW)
    assert after(found, NOW) == found


def test_what_is_still_served_and_has_expired_is_replaced_at_once() -> None:
    now = NOW + LIFETIME
    found = renewed({}, host=HOST, now=now, served=FIRST)
    assert found.current != FIRST.current
    assert trusts(found.bundle, found.current, now)


def test_a_key_of_another_certificate_is_noticed() -> None:
    other, _ = issue(HOST, NOW)
    stored = {**FIRST.to_data(), "tls.key": other.key}
    found = renewed(stored, host=HOST, now=NOW)
    assert found.current.certificate != FIRST.current.certificate


def test_a_next_certificate_that_is_broken_is_made_again() -> None:
    stored = {**STAGING.to_data(), "next.key": b"broken"}
    found = renewed(stored, host=HOST, now=NOW + DUE)
    assert found.current == FIRST.current
    assert found.upcoming not in {None, STAGING.upcoming}


@settings(deadline=None)
@given(
    key=st.sampled_from(sorted(STAGING.to_data())),
    position=st.floats(0, 1, exclude_max=True),
    junk=st.binary(max_size=40),
)
def test_whatever_is_stored_something_usable_follows_and_stays(
    key: str, position: float, junk: bytes
) -> None:
    stored = STAGING.to_data()
    at = int(position * len(stored[key]))
    stored[key] = stored[key][:at] + junk + stored[key][at + len(junk) :]
    now = NOW + DUE
    found = renewed(stored, host=HOST, now=now)
    assert trusts(found.bundle, found.current, now)
    assert after(found, now).to_data() == found.to_data()

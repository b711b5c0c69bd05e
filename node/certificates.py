"""Certificates: who one says its owner is, and whether those of this node are good for a while.

A caller or destination is bound to a certificate by its SHA-256 fingerprint, or by a name in it: its common name, or a DNS name or IP
address among its alternative names, whole and without wildcards, in capitals or not. Whether an authority vouches for it is decided
before that, by the TLS handshake. A certificate that cannot be read has a fingerprint only.
"""

from __future__ import annotations

import datetime
import hashlib
import stat
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from node.errors import CertificateError
from node.settings import Settings, Tls
from node.tls_settings import fingerprint_in


@dataclass(frozen=True)
class Identity:
    """Who a certificate says its owner is: a SHA-256 fingerprint in hexadecimal digits, and names in small letters."""

    fingerprint: str
    names: tuple[str, ...]

    def has(self, binding: str) -> bool:
        """Is it the certificate that the settings name?"""
        wanted = fingerprint_in(binding)
        return self.fingerprint == wanted if wanted else binding.strip().lower() in self.names

    def __str__(self) -> str:
        return f"{', '.join(self.names) or 'no name'} (sha256:{self.fingerprint})"


def identity_of(der: bytes) -> Identity:
    """The owner of a certificate as it came over the network."""
    fingerprint = hashlib.sha256(der).hexdigest()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Identity(fingerprint, _names(x509.load_der_x509_certificate(der)))
    except (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return Identity(fingerprint, ())


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    found = [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    try:
        others = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found += [str(one) for kind in (x509.DNSName, x509.IPAddress) for one in others.get_values_for_type(kind)]
    except x509.ExtensionNotFound:
        pass
    return tuple(dict.fromkeys(name.strip().lower() for name in found if name.strip()))


def certificates_in(path: Path) -> list[x509.Certificate]:
    """All certificates of a PEM file, at least one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise CertificateError(f"certificates: {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise CertificateError(f"certificates: {path} holds no certificate that can be read; it must be a PEM file") from None


def first_in(path: Path) -> Identity:
    """The owner of the first certificate of a PEM file: who shows the file."""
    return identity_of(certificates_in(path)[0].public_bytes(Encoding.DER))


def warning_of(rules: Tls, now: datetime.datetime) -> str | None:
    """What there is to say of the node's own certificate, where it ends soon or ended; None where all is well."""
    right, sentence = _said(lambda: _own("tls", rules.certificate, now, datetime.timedelta(days=rules.warn_days)))
    return None if right else sentence


def verdicts(settings: Settings, now: datetime.datetime) -> Iterator[tuple[bool | None, str]]:
    """For `betz check`: is each thing right (None: not for long), and a sentence about it. `now` is in UTC."""
    warn = datetime.timedelta(days=settings.tls.warn_days)
    for what, certificate, key in _shown(settings):
        yield _said(lambda what=what, path=certificate: _own(what, path, now, warn))
        yield _said(lambda what=what, certificate=certificate, key=key: _key(what, key, certificate))
    for what, path in _believed(settings):
        yield _said(lambda what=what, path=path: _authorities(what, path, now, warn))


def _said(check: Callable[[], tuple[bool | None, str]]) -> tuple[bool | None, str]:
    try:
        return check()
    except CertificateError as error:
        return False, str(error)


def _shown(settings: Settings) -> Iterator[tuple[str, Path, Path]]:
    """Every certificate that the node shows, with its key: what for, and the files."""
    if settings.tls.is_on:
        yield "tls", settings.tls.certificate, settings.tls.key
    if settings.audit.host and (certificate := settings.audit.certificate):
        yield "audit", certificate, settings.audit.key or certificate
    for peer in settings.destination:
        if certificate := peer.client_certificate:
            yield f"destination {peer.name}", certificate, peer.client_key or certificate


def _believed(settings: Settings) -> Iterator[tuple[str, Path]]:
    named = [("tls", settings.tls.authorities), ("audit", settings.audit.ca if settings.audit.host else None)]
    named += [(f"destination {peer.name}", peer.authorities) for peer in settings.destination]
    yield from ((what, path) for what, path in named if path is not None)


def _own(what: str, path: Path, now: datetime.datetime, warn: datetime.timedelta) -> tuple[bool | None, str]:
    certificates = certificates_in(path)
    first = min(certificates, key=lambda one: one.not_valid_after_utc)
    begins = max(one.not_valid_before_utc for one in certificates)
    if now > first.not_valid_after_utc:
        raise CertificateError(f"{what}: the certificate {_named(first)} ended on {_day(first)}; every peer refuses it, put a new one "
                               f"into {path}")
    if now < begins:
        raise CertificateError(f"{what}: the certificate {_named(first)} begins on {begins:%Y-%m-%d %H:%M} UTC; is the clock right?")
    return _ends(f"{what}: the certificate", first, now, warn)


def _authorities(what: str, path: Path, now: datetime.datetime, warn: datetime.timedelta) -> tuple[bool | None, str]:
    certificates = certificates_in(path)
    good = [one for one in certificates if one.not_valid_after_utc >= now]
    if not good:
        raise CertificateError(f"{what}: every authority in {path} ended, so no peer is believed")
    if len(good) < len(certificates):
        ended = next(one for one in certificates if one not in good)
        return None, f"{what}: the authority {_named(ended)} ended on {_day(ended)}; take it out of {path}"
    return _ends(f"{what}: the authority", min(good, key=lambda one: one.not_valid_after_utc), now, warn)


def _ends(what: str, first: x509.Certificate, now: datetime.datetime, warn: datetime.timedelta) -> tuple[bool | None, str]:
    left = first.not_valid_after_utc - now
    said = f"{what} {_named(first)} ends on {_day(first)}, in {left.days} days"
    return (None, f"{said}; see to a new one") if left < warn else (True, said)


def _key(what: str, path: Path, certificate: Path) -> tuple[bool, str]:
    try:
        mode, content = path.stat().st_mode, path.read_bytes()
        own = load_pem_private_key(content, None).public_key()
    except OSError as error:
        raise CertificateError(f"{what}: the key {path} cannot be read: {error.strerror}") from None
    except TypeError:
        raise CertificateError(f"{what}: the key {path} has a password; the node needs it without one, readable by its user only") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(f"{what}: {path} holds no private key that can be read; it must be a PEM file") from None
    if _bytes(own) != _bytes(certificates_in(certificate)[0].public_key()):
        raise CertificateError(f"{what}: {path} is not the key of the certificate in {certificate}")
    if mode & stat.S_IRWXO:
        raise CertificateError(f"{what}: every user of this machine can read the key {path}; run: chmod 600 {path}")
    return True, f"{what}: the key {path} belongs to the certificate, and others cannot read it"


def _bytes(key) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _named(certificate: x509.Certificate) -> str:
    return (_names(certificate) or (certificate.subject.rfc4514_string() or "a certificate without a name",))[0]


def _day(certificate: x509.Certificate) -> str:
    return f"{certificate.not_valid_after_utc:%Y-%m-%d}"

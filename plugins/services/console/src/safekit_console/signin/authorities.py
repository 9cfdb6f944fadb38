"""The authorities whose certificates let people in, and what they have revoked: the operator's files, read again when
they have changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final, Generic, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256

from safekit_sdk import ConfigError

T = TypeVar("T")
FILE_BYTES: Final = 16 << 20
_LISTS: Final = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)
_READER: Final = "the console's user has to be able to read it"


class File(Generic[T]):
    """What is in a file of PEM blocks; none is an error, too."""

    def __init__(self, path: Path, parse: Callable[[bytes], list[T]]) -> None:
        self._path = path
        self._parse = parse
        self._stamp: tuple[int, int, int] | None = None
        self._found: list[T] = []

    def read(self) -> list[T]:
        """ConfigError when it cannot be read."""
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                self._found, self._stamp = self._parsed(status.st_size), stamp
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", where=str(self._path), hint=_READER) from None
        return self._found

    def _parsed(self, size: int) -> list[T]:
        try:
            found = self._parse(self._path.read_bytes()) if size <= FILE_BYTES else []
        except ValueError as error:
            raise ConfigError(f"is no PEM file of the right kind: {error}", where=str(self._path)) from None
        if not found:
            wrong = f"has nothing of the right kind in PEM, or is larger than {FILE_BYTES >> 20} MiB"
            raise ConfigError(
                wrong, where=str(self._path), hint="`openssl crl -inform DER` turns a list in DER into PEM"
            )
        return found


def authorities(path: Path) -> File[x509.Certificate]:
    return File(path, x509.load_pem_x509_certificates)


def issuer_of(certificate: x509.Certificate, known: list[x509.Certificate]) -> x509.Certificate | None:
    return next((one for one in known if _issued(one, certificate)), None)


def _issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


class RevocationList:
    """Read once, as a list may be of many megabytes: each request asks."""

    def __init__(self, data: bytes) -> None:
        self._list = x509.load_pem_x509_crl(data)
        self._revoked = frozenset(one.serial_number for one in self._list)
        self._issuers: dict[bytes, bool] = {}

    def is_of(self, issuer: x509.Certificate) -> bool:
        key = issuer.fingerprint(SHA256())
        if key not in self._issuers:
            self._issuers[key] = _is_of(self._list, issuer)
        return self._issuers[key]

    def is_current(self, now: datetime) -> bool:
        until = self._list.next_update_utc
        return self._list.last_update_utc <= now and until is not None and now <= until

    def has(self, certificate: x509.Certificate) -> bool:
        return certificate.serial_number in self._revoked


class Revocations:
    """Lists of an authority. One that is too old says nothing any more, so nobody of that authority is let in."""

    def __init__(self, path: Path) -> None:
        self._file = File(path, lambda data: [RevocationList(one) for one in _LISTS.findall(data)])

    def has(self, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> bool:
        """ConfigError where nothing is known of it."""
        lists = [one for one in self._file.read() if one.is_of(issuer) and one.is_current(now)]
        if not lists:
            raise ConfigError(
                f"the revocation list of '{issuer.subject.rfc4514_string()}' is missing or out of date",
                hint="put a new one into the file SAFEKIT_CONSOLE_CLIENT_CRL",
            )
        return any(one.has(certificate) for one in lists)


def _is_of(one: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Signed by it, and whole: a list with a critical extension is of some certificates only."""
    try:
        whole = not any(extension.critical for extension in one.extensions)
        key = issuer.public_key()
        return whole and one.issuer == issuer.subject and one.is_signature_valid(key)  # type: ignore[arg-type]
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False

"""When certificates end that a module's settings name: any absolute path in them to a PEM file with certificates.

The date is read out of the DER by its place: Certificate, TBSCertificate, validity, notAfter (RFC 5280, section 4.1);
the standard library has no public reader of it."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from safekit.diagnosis.facts import CertificateFacts

MAX_BYTES: Final = 1 << 20
MAX_FILES: Final = 100
BEGIN: Final = "-----BEGIN CERTIFICATE-----"
END: Final = "-----END CERTIFICATE-----"
_EXPLICIT_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17


def certificates(module: str, settings: Iterable[Any]) -> Iterator[CertificateFacts]:
    """Of each file the first date at which one of its certificates ends. What cannot be read is no certificate here:
    the plugin that needs it says so itself."""
    paths = dict.fromkeys(path for value in settings for path in _paths(value))
    for path in list(paths)[:MAX_FILES]:
        ends = list(_ends(Path(path)))
        if ends:
            yield CertificateFacts(path=path, module=module, expires=min(ends))


def _paths(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.removeprefix("file:").startswith("/"):
        yield value.removeprefix("file:")
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _paths(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _paths(inner)


def _ends(path: Path) -> Iterator[float]:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
            return
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return
    for part in text.split(BEGIN)[1:]:
        try:
            yield not_after(ssl.PEM_cert_to_DER_cert(f"{BEGIN}{part.partition(END)[0]}{END}"))
        except ValueError:
            continue


def not_after(der: bytes) -> float:
    """Unix time; ValueError when these are not the bytes of a certificate."""
    certificate = _value(der, 0)[0]
    tbs = _value(certificate, 0)[0]
    place = _value(tbs, 0)[1] if tbs[:1] == bytes([_EXPLICIT_VERSION]) else 0
    for _ in ("serial number", "signature algorithm", "issuer"):
        place = _value(tbs, place)[1]
    validity = _value(tbs, place)[0]
    place = _value(validity, 0)[1]
    tag, text = validity[place : place + 1], _value(validity, place)[0].decode("ascii")
    if tag == bytes([_UTC_TIME]):
        text = f"{'19' if text[:2] >= '50' else '20'}{text}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _value(data: bytes, place: int) -> tuple[bytes, int]:
    """The content of the tag-length-value at this place, and where the next one begins."""
    if place + 2 > len(data):
        raise ValueError("it ends too early")
    length, start = data[place + 1], place + 2
    if length & 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(data[start : start + count], "big"), start + count
    if start + length > len(data):
        raise ValueError("it ends too early")
    return data[start : start + length], start + length

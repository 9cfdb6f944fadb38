"""The key by which the other node's data path knows this one, and TLS contexts that let in its key and no other.

What is told to the other node (`place`) is the Ed25519 public key. Each side builds from it an authority of its own
making, which is all that its TLS context trusts: a certificate signed by that key is let in, whatever else it says."""

from __future__ import annotations

import base64
import binascii
import datetime
import os
import ssl
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from safekit_sdk import ConfigError, PeerError

KEY: Final = "key.pem"
CERTIFICATE: Final = "certificate.pem"
KEY_BYTES: Final = 32
_BEGIN: Final = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
_END: Final = datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC)
"""A key is replaced by telling another, never by time: the clocks of the nodes may be wrong."""


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


_AUTHORITY: Final = _name("safekit rfs authority")
_NODE: Final = _name("safekit rfs node")
_PIN: Final = _name("safekit rfs pin")


def _issue(
    subject: x509.Name, issuer: x509.Name, public: Ed25519PublicKey, signer: Ed25519PrivateKey, *, authority: bool
) -> bytes:
    """A certificate, PEM."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(1)
        .not_valid_before(_BEGIN)
        .not_valid_after(_END)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    if not authority:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = builder.add_extension(identifier, critical=False)
    return builder.sign(signer, None).public_bytes(Encoding.PEM)


class Identity:
    """The node's own key and certificate for one resource, made at the first use and kept in `directory`, 0600."""

    def __init__(self, directory: Path) -> None:
        self._key_path = directory / KEY
        self._certificate_path = directory / CERTIFICATE
        self._key = self._load() or self._make()
        certificate = _issue(_NODE, _AUTHORITY, self._key.public_key(), self._key, authority=False)
        _write(self._certificate_path, certificate)

    def _load(self) -> Ed25519PrivateKey | None:
        try:
            key = load_pem_private_key(self._key_path.read_bytes(), None)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"{self._key_path} is not a private key: {error}", hint="remove the file; a new one is made"
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError(f"{self._key_path} is not an Ed25519 key", hint="remove the file; a new one is made")
        return key

    def _make(self) -> Ed25519PrivateKey:
        key = Ed25519PrivateKey.generate()
        _write(self._key_path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return key

    @property
    def public(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def context(self, peer: bytes, *, server: bool) -> ssl.SSLContext:
        """TLS 1.3, both sides prove their key; the other's is `peer`."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        made.minimum_version = ssl.TLSVersion.TLSv1_3
        made.check_hostname = False
        made.verify_mode = ssl.CERT_REQUIRED
        made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        made.load_cert_chain(self._certificate_path, self._key_path)
        public = Ed25519PublicKey.from_public_bytes(peer)
        made.load_verify_locations(cadata=_issue(_AUTHORITY, _PIN, public, self._key, authority=True).decode())
        if server:
            made.num_tickets = 0
        return made


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, readable by root only."""
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    part.replace(path)


def write_place(port: int, public: bytes, claim: str = "") -> str:
    """What the other node has to know, to be told with `tell_place`: at most 86 characters."""
    return f"{port}:{base64.b64encode(public).decode()}:{claim}"


def read_place(text: str) -> tuple[int, bytes, str]:
    """Port, public key, and what it says of its data. PeerError when it is something else."""
    number, _, rest = text.partition(":")
    encoded, _, claim = rest.partition(":")
    try:
        port, public = int(number), base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        port, public = 0, b""
    if not 1 <= port <= 65535 or len(public) != KEY_BYTES:
        raise PeerError(f"'{text[:100]}' does not say where the other node's data path is", hint="upgrade that node")
    return port, public, claim

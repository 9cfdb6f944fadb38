"""An authority that issues people's certificates, good and bad ones, and revokes them."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from safekit_console import certificate
from safekit_console.signin.certificates import fingerprint

PEM = serialization.Encoding.PEM
BY_CLIENTS, BY_SERVERS = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


class Card:
    """A certificate and its key, in one file as browsers and curl take it."""

    def __init__(self, file: Path, made: x509.Certificate) -> None:
        self.file = file
        self.made = made
        self.fingerprint = fingerprint(made.public_bytes(serialization.Encoding.DER))

    def trust(self, ca: Path | None = None) -> ssl.SSLContext:
        """Of a client that shows it."""
        found = ssl.create_default_context(cafile=str(ca) if ca else None)
        found.load_cert_chain(self.file)
        return found


class Authority:
    def __init__(self, place: Path, name: str = "people") -> None:
        self._place = place
        shared = certificate._new_authority(name)
        self.file = place / f"{name}.pem"
        self.file.write_text(shared["certificate"])
        self.own = x509.load_pem_x509_certificate(shared["certificate"].encode())
        key = serialization.load_pem_private_key(shared["key"].encode(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        self._made = 0

    def card(self, *common: str, names: Any = (), days: tuple[float, float] = (-1, 30), use: Any = BY_CLIENTS) -> Card:
        """With these common names and alternative ones, valid from and to so many days from now."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one) for one in common])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.own.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        made = builder.sign(self._key, hashes.SHA256())
        self._made += 1
        file = self._place / f"{self.file.stem}-{self._made}.pem"
        plain = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file.write_bytes(made.public_bytes(PEM) + plain)
        return Card(file, made)

    def revoke(self, *cards: Card, days: tuple[float, float] = (-1, 7)) -> bytes:
        """Its list of these."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.own.subject)
        builder = builder.last_update(now + timedelta(days=days[0])).next_update(now + timedelta(days=days[1]))
        for one in cards:
            gone = x509.RevokedCertificateBuilder().serial_number(one.made.serial_number)
            builder = builder.add_revoked_certificate(gone.revocation_date(now - timedelta(days=1)).build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(PEM)

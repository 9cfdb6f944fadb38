"""Key pairs that sign modules: Ed25519 in PEM, as `openssl genpkey -algorithm ed25519` makes them."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from safekit_sdk import ConfigError, RefusedError

MAX_KEY_BYTES: Final = 16 << 10
_PURPOSE: Final = b"safekit module manifest 1\n"
"""Before what is signed, so that a signature of anything else that the key signs is none of a module."""


def make_pair(path: Path) -> Path:
    """The private key at `path`, for its owner only, and the public one beside it, which is returned. RefusedError
    when one of the files exists."""
    public = path.with_name(f"{path.name}.pub")
    for file in (path, public):
        if file.exists() or file.is_symlink():
            raise RefusedError("a file is there already", where=str(file), hint="take another name for the key")
    key = Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    _write_new(path, key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()), 0o600)
    told = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    _write_new(public, told, 0o644)
    return public


def private_key(path: Path) -> Ed25519PrivateKey:
    """ConfigError for a file that is no such key, or that others may read."""
    data, mode = _read(path)
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError("others may read this private key", where=str(path), hint=f"chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _no_key(path, "private key without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "private key without a password")
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    data, _ = _read(path)
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise _no_key(path, "public key") from None
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, "public key")
    return key


def spelled(key: Ed25519PublicKey) -> str:
    """Its 32 bytes in base64: how a person compares two keys."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.b64encode(raw).decode()


def sign(data: bytes, key: Ed25519PrivateKey) -> bytes:
    return key.sign(_PURPOSE + data)


def is_signed(data: bytes, signature: bytes, key: Ed25519PublicKey) -> bool:
    try:
        key.verify(signature, _PURPOSE + data)
    except InvalidSignature:
        return False
    return True


def _no_key(path: Path, what: str) -> ConfigError:
    return ConfigError(
        f"this is no Ed25519 {what} in PEM", where=str(path), hint="`safekit module keygen` makes a pair"
    )


def _read(path: Path) -> tuple[bytes, int]:
    try:
        with path.open("rb") as file:
            return file.read(MAX_KEY_BYTES), os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise ConfigError(f"the key cannot be read: {error.strerror}", where=str(path)) from None


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        raise ConfigError(f"the key cannot be written: {error.strerror}", where=str(path)) from None

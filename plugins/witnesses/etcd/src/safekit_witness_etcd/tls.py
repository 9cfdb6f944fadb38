"""The TLS side of the settings: which certificates are believed, and which is shown."""

from __future__ import annotations

import ssl
from pathlib import Path

from safekit_sdk import ConfigError
from safekit_witness_etcd.config import EtcdConfig


def make_context(config: EtcdConfig) -> ssl.SSLContext:
    """ConfigError when a file is not there, not readable, not PEM, or the key is not the certificate's."""
    try:
        context = ssl.create_default_context(cafile=config.ca)
    except (OSError, ssl.SSLError) as error:
        raise _unusable("CA certificates", config.ca, error) from None
    if config.certificate and config.key:
        _readable(config.certificate)
        _readable(config.key)
        try:
            context.load_cert_chain(config.certificate, config.key, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise _unusable("certificate and key", config.certificate, error) from None
    return context


def _no_password() -> str:
    """Instead of OpenSSL's question at the terminal."""
    raise ValueError("the key is encrypted")


def _readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint="copy the file to this node") from None


def _unusable(what: str, path: Path | None, error: Exception) -> ConfigError:
    why = error.strerror if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else str(error)
    return ConfigError(f"the {what} in {path} cannot be used: {why}", hint="give PEM files that this process can read")


def problems(config: EtcdConfig) -> list[str]:
    """What of the files and the secret is wrong on this machine, for people."""
    found = []
    try:
        make_context(config)
    except ConfigError as error:
        found.append(f"{error.message}; {error.hint}")
    if config.key and config.key.is_file() and config.key.stat().st_mode & 0o077:
        found.append(f"the private key {config.key} is open to others; chmod 600 {config.key}")
    try:
        if config.password and not config.password.reveal():
            found.append(f"the password in {config.password.reference} is empty; write it there")
    except ConfigError as error:
        found.append(f"{error.message}; {error.hint or 'put the password there'}")
    return found

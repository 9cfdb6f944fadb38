"""TLS as the configuration asks for it, and what a certificate shows."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any

from safekit_checker_http.config import HttpConfig
from safekit_sdk.connect import OwnTroubleError

_DAY_S = 86400.0


def context(config: HttpConfig) -> ssl.SSLContext:
    """It reads files: not for the event loop. OwnTroubleError when one of them cannot be used."""
    try:
        made = ssl.create_default_context(cafile=str(config.verify) if isinstance(config.verify, Path) else None)
        if config.client_certificate is not None:
            made.load_cert_chain(config.client_certificate)
    except (OSError, ssl.SSLError) as error:
        raise OwnTroubleError(f"the certificates cannot be used: {error}") from None
    if config.verify is False:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def days_left(certificate: dict[str, Any] | None) -> float | None:
    """Until it expires; None when it was not verified, and so not read."""
    until = (certificate or {}).get("notAfter")
    return None if until is None else (ssl.cert_time_to_seconds(until) - time.time()) / _DAY_S


def in_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    return f"TLS fails: {(error.reason or str(error)).replace('_', ' ').lower()}"

"""What an operator can set; environment variables SAFEKIT_METRICS_…"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from safekit_sdk import ConfigError


class MetricsSettings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="SAFEKIT_METRICS_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    address: str = "127.0.0.1"
    """The address to listen on. Another one than this machine's own needs `certificate`, `key` and `token`."""
    port: Annotated[int, Field(ge=0, le=65535)] = 9454
    """The port; 0: any that is free."""
    certificate: Path | None = None
    """A PEM file with the certificate and its chain."""
    key: Path | None = None
    """Its private key, a PEM file."""
    token: Path | None = None
    """A file with the word that who asks has to know; at least 16 characters, readable by its owner alone."""
    user: str = "safekit-metrics"
    """The user that it runs as when root starts it."""
    group: str = "safekit-console"
    """The group that may reach safekitd."""
    socket: Path = Path("/run/safekit/control.sock")
    """Where safekitd listens."""

    @property
    def is_local(self) -> bool:
        """ConfigError when the address is none."""
        try:
            return ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            raise ConfigError(
                f"'{self.address}' is no address", hint="SAFEKIT_METRICS_ADDRESS=127.0.0.1, or another of this machine"
            ) from None

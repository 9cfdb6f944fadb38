"""What an operator can set by environment variables SAFEKIT_NOTIFY_…; who is told of what is in the file `config`."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class NotifySettings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="SAFEKIT_NOTIFY_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    config: Path = Path("/etc/safekit/notify.yaml")
    """Who is told, and of what."""
    user: str = "safekit-notify"
    """The user that it runs as when root starts it."""
    group: str = "safekit-console"
    """The group that may reach safekitd."""
    var: Path = Path("/var/lib/safekit-notify")
    """What is still to be sent, and what was sent."""
    socket: Path = Path("/run/safekit/control.sock")
    """Where safekitd listens."""

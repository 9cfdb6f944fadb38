"""Where a node keeps its things. Environment variables move them, which the lab and the tests use."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SAFEKIT_", frozen=True, extra="ignore", use_attribute_docstrings=True)

    etc: Path = Path("/etc/safekit")
    """cluster.yaml, the node's key, modules/NAME/."""
    var: Path = Path("/var/lib/safekit")
    """Durable facts, history, earlier configurations, plugins' state."""
    run: Path = Path("/run/safekit")
    """Sockets and locks."""
    log: Path = Path("/var/log/safekit")
    """What safekitd and the hosts print."""
    host_memory_mib: int = 512
    """A module's host that grows beyond this is killed and counts as lost."""
    host_silent_s: float = 5.0
    """A host whose loop has not turned for this long hangs; it is killed and counts as lost."""
    realtime: bool = True
    """Real-time priority and locked memory where the system allows it."""

    @property
    def cluster_file(self) -> Path:
        return self.etc / "cluster.yaml"

    @property
    def key_file(self) -> Path:
        return self.etc / "node.key"

    @property
    def control_socket(self) -> Path:
        return self.run / "control.sock"

    @property
    def host_socket(self) -> Path:
        return self.run / "hosts.sock"

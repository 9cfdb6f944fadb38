"""Where a node keeps its things. Environment variables move them, which the lab and the tests use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
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
    log_mib: Annotated[int, Field(ge=1, le=4096)] = 16
    """Where the log is a file: it is begun anew at this size, and the four before it are kept beside it."""
    host_memory_mib: int = 512
    """A module's host that grows beyond this is killed and counts as lost."""
    host_silent_s: float = 5.0
    """A host whose loop has not turned for this long hangs; it is killed and counts as lost."""
    watchdog: Literal["off", "automatic", "required"] = "automatic"
    """Whether the hardware watchdog resets a node whose primary has no right to run any more and was not stopped;
    `automatic`: where there is the device; `required`: `safekit status` shows an alarm where there is none."""
    watchdog_device: Path = Path("/dev/watchdog")
    """The watchdog; no other program may use it."""
    self_fence: Literal["none", "reboot"] = "none"
    """What safekitd does with the node in that case by itself: `reboot` asks the kernel to reset it at once."""
    sysrq: Path = Path("/proc/sysrq-trigger")
    """Where the kernel is asked."""
    console_group: str = "safekit-console"
    """Members of this group may ask safekitd on this node: the console's user, whose first group it is, as far as
    `console_may` says; others, such as the exporter of metrics, only look. Empty, or no such group: root alone."""
    console_may: Literal["nothing", "look", "operate", "configure"] = "configure"
    """The most that the console may ask for, whatever role it gives its users: `look` at all; `operate`: also start,
    stop and move modules; `configure`: also change modules, which is as much as being root on every node."""
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

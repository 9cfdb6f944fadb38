"""Which harm belongs to which order."""

from __future__ import annotations

from typing import Final

from safekit_rehearse.cutting import Cut
from safekit_rehearse.harm import DiskFull, Freeze, Harm, KillApp, KillDaemon
from safekit_rehearse.slowing import SlowDisk

HARMS: Final[dict[str, type[Harm]]] = {
    "none": Harm,
    "kill-app": KillApp,
    "kill-daemon": KillDaemon,
    "freeze": Freeze,
    "partition": Cut,
    "isolate": Cut,
    "disk-full": DiskFull,
    "slow-disk": SlowDisk,
}

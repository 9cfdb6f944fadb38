"""What on this machine would make a start fail, or a failover lose something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from safekit_postgresql import installation
from safekit_postgresql.config import PostgresqlConfig
from safekit_postgresql.question import LOSSES
from safekit_sdk import ConfigError
from safekit_sdk.installed import sentence
from safekit_sdk.replicated import is_covered, is_replicated

SYSTEMD_RUNS: Final = Path("/run/systemd/system")
WANTED: Final = Path("/etc/systemd/system/multi-user.target.wants")


def findings(config: PostgresqlConfig) -> list[str]:
    if not config.data.is_dir():
        return [f"{config.data} is not there; create it, owned by {config.user}, empty on the node that gets a copy"]
    if is_covered(config.data):
        return []
    if not any(config.data.iterdir()):
        return []
    try:
        return [*_of(installation.find(config)), *_started_elsewhere(config)]
    except ConfigError as error:
        return [sentence(error)]


def _of(found: installation.Installation) -> Iterator[str]:
    for name, harm in LOSSES.items():
        if found.setting(name) == "off":
            yield f"{name} is off: {harm}; set it on in postgresql.conf"
    yield from unreplicated(found.config)


def unreplicated(config: PostgresqlConfig) -> Iterator[str]:
    """Places of data that a failover would not find, while the data directory is replicated."""
    for what, place in installation.locations(config.data).items():
        mend = f"add `rfs: {{directory: {place}}}` before this step"
        if not place.is_dir():
            yield f"the {what} is in {place}, which is not there; {mend}"
        elif is_replicated(config.data) and not is_replicated(place):
            yield f"the {what} is in {place}, which is not replicated; {mend}"


def _started_elsewhere(config: PostgresqlConfig) -> Iterator[str]:
    """By systemd. Debian's own start asks a file for each cluster, and does not start those with `manual`."""
    units = [f"postgresql-{installation.version(config.data)}.service", "postgresql.service"]
    enabled = [unit for unit in units if (WANTED / unit).is_symlink()] if SYSTEMD_RUNS.is_dir() else []
    debian = config.config.with_name("start.conf") if config.config else None
    if enabled and debian is not None and debian.is_file():
        lines = (line.partition("#")[0].strip() for line in debian.read_text(encoding="utf-8").splitlines())
        if "auto" in lines:
            yield f"systemd starts this cluster by itself; write `manual` instead of `auto` into {debian}"
    elif enabled:
        yield f"systemd starts {enabled[0]} by itself; `systemctl disable --now {enabled[0].removesuffix('.service')}`"

"""The agents of this machine: which there are, where one is, and what it says of itself."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Final

from safekit_resource_ocf.metadata import LIMIT_BYTES, Metadata, parse
from safekit_sdk import ConfigError
from safekit_sdk.process import run

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SCRATCH: Final = Path("/run/resource-agents")
"""Where agents keep what is gone after a reboot (HA_RSCTMP); Debian's package makes it at each boot."""
METADATA_S: Final = 5.0
"""How long an agent may take to say what it is; those of Debian 12 take up to 0.5 s."""
_PACKAGES: Final = {"heartbeat": "resource-agents", "pacemaker": "pacemaker-resource-agents", "linbit": "drbd-utils"}


def installed(root: str) -> Iterator[str]:
    """`PROVIDER:TYPE` of each, in their order."""
    for path in sorted(Path(root, "resource.d").glob("[!.]*/[!.]*")):
        if path.is_file() and os.access(path, os.X_OK):
            yield f"{path.parent.name}:{path.name}"


def objection(path: Path) -> str:
    """Why the agent cannot be run on this machine, or nothing."""
    if not path.is_file():
        package = _PACKAGES.get(path.parent.name)
        install = f"install it (on Debian the package {package})" if package else "install it"
        return f"the agent {path} is not there; {install}, or correct `agent:`"
    if not os.access(path, os.X_OK):
        return f"the agent {path} is not executable; chmod 755 {path}"
    return ""


def identity(path: Path) -> dict[str, str]:
    """The part of an agent's environment that says who it is, by its path ROOT/resource.d/PROVIDER/TYPE."""
    return {
        "PATH": PATH,
        "HOME": os.environ.get("HOME", "/root"),
        "OCF_ROOT": str(path.parents[2]),
        "OCF_RA_VERSION_MAJOR": "1",
        "OCF_RA_VERSION_MINOR": "1",
        "OCF_RESOURCE_TYPE": path.name,
        "OCF_RESOURCE_PROVIDER": path.parent.name,
        "OCF_EXIT_REASON_PREFIX": "ocf-exit-reason:",
        "HA_RSCTMP": str(SCRATCH),
        "HA_LOGFACILITY": "none",
        "HA_debug": "0",
    }


async def read_metadata(path: Path) -> Metadata:
    """ConfigError when the agent cannot be run, or does not say in time what it is."""
    if trouble := objection(path):
        raise ConfigError(trouble)
    environment = {**identity(path), "OCF_RESOURCE_INSTANCE": path.name}
    done = await run(
        [str(path), "meta-data"],
        timeout_s=METADATA_S,
        env=environment,
        output_limit_bytes=LIMIT_BYTES,
        grace_s=0.0,
    )
    if done.timed_out:
        raise ConfigError(f"the agent {path} gives no meta-data: {done.why()[:300]}", hint=f"try `{path} meta-data`")
    try:
        return parse(done.output)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", hint=error.hint) from None


def known_metadata(path: Path) -> Metadata:
    """The same without a loop, and asked once while the file stays as it is."""
    found = _asked(path, path.stat().st_mtime_ns if path.is_file() else 0)
    if isinstance(found, ConfigError):
        raise found
    return found


@lru_cache(maxsize=256)
def _asked(path: Path, _changed_ns: int) -> Metadata | ConfigError:
    try:
        with ThreadPoolExecutor(1) as thread:  # the caller may have a loop that runs
            return thread.submit(asyncio.run, read_metadata(path)).result()
    except ConfigError as error:
        return error

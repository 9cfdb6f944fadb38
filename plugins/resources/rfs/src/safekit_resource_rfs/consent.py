"""Whether what is in this node's directory may be overwritten by the other's."""

from __future__ import annotations

import os
from typing import Final

from safekit_resource_rfs import plan
from safekit_resource_rfs.generations import Durable
from safekit_resource_rfs.mount import Mount
from safekit_resource_rfs.settings import Settings

GIVEN: Final = "may-overwrite"
"""A file in the state directory: the operator said that what is here may be overwritten."""


class Consent:
    def __init__(self, settings: Settings, mount: Mount) -> None:
        self._settings = settings
        self._mount = mount
        self._path = settings.state_dir / GIVEN

    def give(self) -> None:
        self._path.touch(mode=0o600)

    def why_not(self, durable: Durable) -> str:
        """A directory that was never synchronised and has content may be the wrong one; empty when it may be."""
        config = self._settings.config
        may = config.first_sync == "overwrite" or self._path.exists() or durable.generation.id
        if may or not self._has_content():
            return ""
        return (
            f"{config.directory} of this node was never synchronised and is not empty; look at it, then "
            f"`safekit rfs sync {self._settings.module} --from-primary` here lets it be overwritten"
        )

    def _has_content(self) -> bool:
        with os.scandir(f"/proc/self/fd/{self._mount.root_fd}") as entries:
            return any(entry.name not in (plan.OWN_FOLDER, "lost+found") for entry in entries)

"""A unit of systemd, through systemctl."""

from __future__ import annotations

import shutil
from typing import Final

from safekit_resource_service.form import Form
from safekit_sdk import ConfigError, ResourceState, Status
from safekit_sdk.process import Completed

SHARE: Final = 0.8
LOOK_S: Final = 10.0
_STATES: Final = {
    "active": ResourceState.STARTED,
    "reloading": ResourceState.STARTED,
    "inactive": ResourceState.STOPPED,
}


def findings(unit: str) -> list[str]:
    if shutil.which("systemctl") is None:
        return [f"there is no systemctl on this node, so {unit} cannot be started; use `command:`"]
    return []


class Unit(Form):
    @property
    def _unit(self) -> str:
        if self.config.unit is None:
            raise ConfigError("there is no unit", hint="set `unit:`")
        return self.config.unit

    async def _systemctl(self, *words: str, timeout_s: float) -> Completed:
        return await self.around.run(["systemctl", "--no-ask-password", *words, self._unit], words[0], timeout_s)

    async def start(self) -> None:
        done = await self._systemctl("start", timeout_s=self.config.start_timeout.seconds * SHARE)
        if not done.ok:
            raise ConfigError(f"{self._unit}: {done.why()}", hint=f"`journalctl -u {self._unit}` says more")

    async def stop(self, force: bool) -> None:
        limit_s = (self.config.force_stop_timeout if force else self.config.stop_timeout).seconds * SHARE
        if force and (await self.status()).state is not ResourceState.STOPPED:
            await self._systemctl("kill", "--signal=SIGKILL", timeout_s=limit_s / 2)
        done = await self._systemctl("stop", timeout_s=limit_s / 2 if force else limit_s)
        if not done.ok and (await self.status()).state is not ResourceState.STOPPED:
            raise ConfigError(f"{self._unit}: {done.why()}", hint=f"`systemctl status {self._unit}` says more")

    async def _property(self, name: str) -> str:
        done = await self._systemctl("show", f"--property={name}", "--value", timeout_s=LOOK_S)
        if not done.ok:
            raise ConfigError(f"{self._unit}: {done.why()}", hint="does systemd run on this node?")
        return done.output.strip()

    async def status(self) -> Status:
        shown = await self._property("ActiveState")
        return Status(_STATES.get(shown, ResourceState.FAILED), shown)

    async def main_pid(self) -> int | None:
        text = await self._property("MainPID")
        return int(text) if text.isdigit() and int(text) > 0 else None

    def watches_a_process(self) -> bool:
        return True

"""A resource of the network, for the suite in a namespace."""

from __future__ import annotations

from safekit_sdk import ConfigError, Resource, ResourceConfig, ResourceState, Status
from safekit_sdk.process import run


class AddressConfig(ResourceConfig):
    address: str
    """With its prefix length."""
    interface: str
    """Where it is added."""


class AddressResource(Resource[AddressConfig], api=1):
    """An address on an interface."""

    async def start(self) -> None:
        if not await self._is_there():
            await self._change("add")

    async def stop(self, force: bool) -> None:
        if await self._is_there():
            await self._change("delete")

    async def status(self) -> Status:
        return Status(ResourceState.STARTED if await self._is_there() else ResourceState.STOPPED)

    async def _is_there(self) -> bool:
        done = await run(["ip", "-o", "address", "show", "to", self.config.address], timeout_s=10)
        return self.config.address in done.output

    async def _change(self, verb: str) -> None:
        argv = ["ip", "address", verb, self.config.address, "dev", self.config.interface]
        done = await run(argv, timeout_s=10)
        if not done.ok:
            raise ConfigError(f"{self.config.address} on {self.config.interface}: {done.why()}")

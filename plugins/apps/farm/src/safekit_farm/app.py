"""A farm of services that safekit knows nothing of: it writes the module file, and existing steps do the work."""

from __future__ import annotations

from typing import Any

from safekit_sdk import ConfigError, ModuleRequest
from safekit_sdk.module_files import address_steps, sharing_step
from safekit_sdk.services import ServicesApp, ServicesConfig


class FarmConfig(ServicesConfig):
    """What `--set` takes. The module file that is made of it has steps of other plugins only."""


class FarmApp(ServicesApp[FarmConfig], api=1):
    """Any services on every node, which share the clients of one address."""

    no_step = "`farm` makes module files and is no step; write `nft-lb`, `vip` and `service`, or `module add` anew"

    @classmethod
    def module_file(cls, request: ModuleRequest) -> dict[str, Any]:
        """A farm, whatever kind was asked for: the command says `mirror` where nothing was."""
        services = FarmConfig.model_validate(dict(request.options)).steps()
        if not request.vips:
            raise ConfigError("a farm needs an address for its clients", hint="add --vip ADDRESS/PREFIX")
        pipeline = [sharing_step(request, request.port), *address_steps(request), *services]
        return {"kind": "farm", "pipeline": pipeline}

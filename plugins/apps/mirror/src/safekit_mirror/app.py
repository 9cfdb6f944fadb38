"""A mirror of services that safekit knows nothing of: it writes the module file, and existing steps do the work."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from safekit_sdk import ConfigError, ModuleRequest
from safekit_sdk.module_files import address_steps, require_address
from safekit_sdk.services import ServicesApp, ServicesConfig, listed

Directories = Annotated[
    tuple[Annotated[str, Field(pattern=r"^/[^\x00,]{1,1023}$")], ...], BeforeValidator(listed), Field(max_length=50)
]


class MirrorConfig(ServicesConfig):
    """What `--set` takes. The module file that is made of it has steps of other plugins only."""

    directories: Directories = ()
    """What is replicated, each with all below it."""


class MirrorApp(ServicesApp[MirrorConfig], api=1):
    """Any services on one of two nodes, with their address and their directories."""

    no_step = "`mirror` makes module files and is no step; write `service`, `vip` and `rfs` steps, or `module add` anew"

    @classmethod
    def module_file(cls, request: ModuleRequest) -> dict[str, Any]:
        """The isolation stays `safety`: whether these services may run twice is not known here."""
        config = MirrorConfig.model_validate(dict(request.options))
        _refuse(config, request)
        pipeline = [*_replicated(config.directories), *address_steps(request), *config.steps()]
        return {"kind": request.kind, "pipeline": pipeline}


def _refuse(config: MirrorConfig, request: ModuleRequest) -> None:
    """What cannot be meant, with what to do."""
    if request.kind == "farm":
        raise ConfigError("a mirror runs on one node, a farm on all", hint="--app farm")
    if request.kind == "light" and config.directories:
        raise ConfigError("a light module runs on each node for itself", hint="`--kind mirror` replicates directories")
    require_address(request, "services")
    if request.port is not None:
        raise ConfigError("the services have their ports in their own configuration", hint="leave --port out")


def _replicated(directories: tuple[str, ...]) -> list[dict[str, Any]]:
    """With names of their own where the last part of several is the same."""
    last = [PurePosixPath(directory).name for directory in directories]
    named = [{"name": f"data{number}"} if last.count(one) > 1 else {} for number, one in enumerate(last, 1)]
    return [{"rfs": {**name, "directory": place}} for name, place in zip(named, directories, strict=True)]

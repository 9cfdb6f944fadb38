"""The base of applications that only make module files, of services that safekit knows nothing of."""

from __future__ import annotations

import shlex
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BeforeValidator, Field

from safekit_sdk.app import App
from safekit_sdk.config import AppConfig
from safekit_sdk.errors import ConfigError
from safekit_sdk.plugin import ModuleKind
from safekit_sdk.resource import ResourceState, Status


def listed(value: object) -> object:
    """`a,b` as a command line has it, or a list already."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _words(value: object) -> object:
    return shlex.split(value) if isinstance(value, str) else value


Units = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9:_.@\\-]{1,255}$")], ...],
    BeforeValidator(listed),
    Field(max_length=50),
]
Argv = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_words), Field(max_length=256)]


class ServicesConfig(AppConfig):
    """What `--set` takes. The module file that is made of it has steps of other plugins only."""

    services: Units = ()
    """Units of systemd, in the order in which they are started."""
    command: Argv = ()
    """A program that stays in the foreground, instead of services or after them."""
    user: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Who runs the command; root when absent."""

    def steps(self) -> list[dict[str, Any]]:
        """The services as steps; ConfigError with what to do where they cannot be meant."""
        if not self.services and not self.command:
            asked = "add --set services=NAME,NAME or --set command='PROGRAM ARGUMENTS'"
            raise ConfigError("what is to run?", hint=asked)
        if self.user and not self.command:
            raise ConfigError("`user` is who runs the command; a unit says itself who runs it", hint="leave it out")
        units = [name if "." in name else f"{name}.service" for name in self.services]
        found: list[dict[str, Any]] = [{"service": {"unit": unit}} for unit in units]
        if self.command:
            own = {"user": self.user} if self.user else {}
            found.append({"service": {"command": list(self.command), **own}})
        return found


S = TypeVar("S", bound=ServicesConfig)


class ServicesApp(App[S]):
    """Gives `module_file`; it is itself no step."""

    no_step: ClassVar[str]
    """What to tell whoever writes it into a module file."""

    @classmethod
    def preflight(cls, config: S, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        return [cls.no_step]

    async def start(self) -> None:
        raise ConfigError(self.no_step)

    async def stop(self, force: bool) -> None:
        """Nothing was started."""

    async def status(self) -> Status:
        return Status(ResourceState.STOPPED)

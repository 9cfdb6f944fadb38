"""A virtual machine of libvirt as a mirror: it writes the module file, and existing steps do the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from safekit_kvm.inventory import Guest, find
from safekit_sdk import App, AppConfig, ConfigError, ModuleKind, ModuleRequest, ResourceState, Status

_PATH: Final = r"^/[^\x00,]{1,1023}$"
SYSTEM: Final = "qemu:///system"
BOOTED: Final = "2m"
"""From when on the check of the guest's address counts."""


class KvmConfig(AppConfig):
    """What `--set` takes. The module file that is made of it has steps of other plugins only."""

    domain: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,62}$")] | None = None
    """Its name in libvirt; the module's when absent."""
    directory: Annotated[str, Field(pattern=_PATH)] | None = None
    """What is replicated; where its disks are when absent, if nothing else is there."""
    uri: Annotated[str, Field(pattern=r"^(qemu|test)(\+unix)?:///[^\x00-\x20]{0,500}$")] = SYSTEM
    """Where libvirt is asked, on each node."""
    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$")] | None = None
    """The guest's own, to check that it answers; with `--port`."""
    priority: int = Field(default=0, ge=-1000, le=1000)
    """Of the guests that wait for their start on a node, the highest starts first."""


class KvmApp(App[KvmConfig], api=1):
    """A virtual machine on one of two nodes, with its disks and its definition."""

    @classmethod
    def preflight(cls, config: KvmConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        return [_NO_STEP]

    async def start(self) -> None:
        raise ConfigError(_NO_STEP)

    async def stop(self, force: bool) -> None:
        """Nothing was started."""

    async def status(self) -> Status:
        return Status(ResourceState.STOPPED)

    @classmethod
    def module_file(cls, request: ModuleRequest) -> dict[str, Any]:
        """The isolation stays `safety`: a guest must not run twice."""
        config = KvmConfig.model_validate(dict(request.options))
        _refuse(config, request)
        guest = find(config.uri, config.domain or request.name)
        directory = str(_directory(config, guest))
        step: dict[str, Any] = {"domain": guest.name, "directory": directory}
        if config.uri != SYSTEM:
            step["uri"] = config.uri
        if config.priority:
            step["priority"] = config.priority
        if guest.needs:
            step["needs"] = guest.needs
        pipeline = [{"rfs": {"directory": directory}}, {"kvm-vm": step}]
        return {"kind": request.kind, "pipeline": pipeline, **_checked(config, request.port)}


_NO_STEP = "`kvm` makes module files and is no step; write `rfs` and `kvm-vm` steps, or `module add` anew"


def _refuse(config: KvmConfig, request: ModuleRequest) -> None:
    if request.kind != "mirror":
        raise ConfigError("a virtual machine runs on one of two nodes: a mirror", hint="leave --kind out")
    if request.vips:
        raise ConfigError("the guest has its own address, which moves with it", hint="leave --vip out")
    if (config.address is None) != (request.port is None):
        raise ConfigError("the check of the guest needs both", hint="--set address=ADDRESS --port PORT, or neither")


def _directory(config: KvmConfig, guest: Guest) -> Path:
    if not guest.images:
        raise ConfigError(f"{guest.name} has no disk in a file", hint="only disks in files are replicated")
    if config.directory is not None:
        chosen = Path(config.directory)
        if outside := [image for image in guest.images if not image.is_relative_to(chosen)]:
            raise ConfigError(f"{outside[0]} is not in {chosen}", hint=_move(guest, chosen))
        return chosen
    places = {image.parent for image in guest.images}
    place = min(places)
    if len(places) > 1:
        shown = ", ".join(str(each) for each in sorted(places))
        raise ConfigError(f"the disks of {guest.name} are in several directories: {shown}", hint=_move(guest, place))
    own = {image.name for image in guest.images} | {f"{guest.name}.xml", f".{guest.name}.claim", ".safekit-rfs"}
    if others := sorted(entry.name for entry in place.iterdir() if entry.name not in own):
        raise ConfigError(
            f"{place} holds more than the disks of {guest.name}: {', '.join(others[:5])}",
            hint=f"{_move(guest, place / guest.name)}; or `--set directory={place}` replicates all of it",
        )
    return place


def _move(guest: Guest, place: Path) -> str:
    return (
        f"shut {guest.name} down, `mkdir -p {place}`, move its disks there, and correct their paths with "
        f"`virsh edit {guest.name}`"
    )


def _checked(config: KvmConfig, port: int | None) -> dict[str, Any]:
    if config.address is None:
        return {}
    check = {"name": "guest", "host": config.address, "port": port, "fall": 3, "start_after": BOOTED}
    return {"checkers": [{"tcp": check}]}

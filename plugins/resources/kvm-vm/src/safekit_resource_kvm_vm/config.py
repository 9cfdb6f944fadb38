"""What a module file says about a virtual machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from safekit_sdk import Duration, FailureAction, ResourceConfig
from safekit_sdk.config import Config

END_S: Final = 10.0
"""What QEMU may take to end after SIGTERM and SIGKILL, and libvirt to notice."""
OBSTACLE_S: Final = 20.0
"""For the questions before a move: to libvirt, to the other node."""
GO_ON_S: Final = 10.0
"""After a move that was given up."""
EDIT_S: Final = 10.0
"""For what was edited in libvirt, before the power button."""


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError(f"'{path}' is not an absolute path without '..'; begin it with /")
    return path


Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:+-]{1,64}$")]


class Needs(Config):
    """What `safekit plan` looks for on a node that has not got the guest's definition yet: the secondary."""

    type: Literal["kvm", "qemu"] = "kvm"
    """`qemu`: emulated, without virtualization."""
    machine: Word | None = None
    """QEMU's type of machine: `pc-q35-7.2`."""
    cpu: Word | None = None
    """A processor model, where the definition names one."""
    features: Annotated[tuple[Word, ...], Field(max_length=128)] = ()
    """What the definition requires of the processor beyond that model."""
    bridges: Annotated[tuple[Word, ...], Field(max_length=32)] = ()
    """Bridges of the machine that its cards are on."""
    networks: Annotated[tuple[Word, ...], Field(max_length=32)] = ()
    """libvirt's networks that its cards are on."""


class KvmVmConfig(ResourceConfig):
    """One domain of libvirt, with its disks and its definition in one directory."""

    domain: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,62}$")]
    """Its name in libvirt."""
    directory: Annotated[Path, AfterValidator(_absolute)]
    """Where its disks and its definition `DOMAIN.xml` are: the directory of the `rfs` step before it."""
    storage: Literal["replicated", "shared"] = "replicated"
    """`replicated`: refused while the directory is no primary `rfs`. `shared`: storage that both nodes see, which keeps
    QEMU's locks across nodes (NFS 4, a cluster file system)."""
    uri: Annotated[str, Field(pattern=r"^(qemu|test)(\+unix)?:///[^\x00-\x20]{0,500}$")] = "qemu:///system"
    """Where libvirt is asked, on this node."""
    needs: Needs | None = None
    """What of the definition the other node is asked for by `safekit plan`, before it has it."""
    shutdown: Duration = Duration(120)
    """How long the guest may take to obey the power button; then it is switched off."""
    move: Duration = Duration(60)
    """How long a swap may take to write the memory of the running guest before it is shut down and booted instead;
    `0s`: always so."""
    agent: bool = True
    """A guest agent that answered and then falls silent counts as a hung guest. One that was stopped does not."""
    interval: Duration = Duration(10)
    """Between two looks, and two questions to the guest agent. What libvirt tells by events is seen at once."""
    timeout: Duration = Duration(5)
    """How long the guest agent may take to answer."""
    fall: int = Field(default=3, ge=1, le=100)
    """So many silences of the guest agent in a row are a hung guest."""
    priority: int = Field(default=0, ge=-1000, le=1000)
    """Of those that wait for their turn to start on a node, the highest starts first."""
    at_once: int = Field(default=4, ge=1, le=1000)
    """So many guests of a node are in their start at one time."""
    booting: Duration = Duration(10)
    """How long a started guest keeps its turn, as booting is when it needs the most."""
    action: FailureAction = "restart"
    """What the generated rule does when the guest is down."""
    start_timeout: Duration = Duration(900)
    """A start that takes longer has failed. Waiting for its turn is part of it."""
    stop_timeout: Duration = Duration(240)
    """A stop that takes longer is followed by a forced one, which ends QEMU at once."""

    @property
    def definition(self) -> Path:
        return self.directory / f"{self.domain}.xml"

    @model_validator(mode="after")
    def _time_to_switch_off(self) -> KvmVmConfig:
        least = EDIT_S + self.shutdown.seconds + END_S
        if self.move.seconds:
            least += OBSTACLE_S + self.move.seconds + GO_ON_S
        if self.stop_timeout.seconds < least:
            raise ValueError(
                f"stop_timeout {self.stop_timeout} is too short for move {self.move} and shutdown {self.shutdown}; "
                f"at least {least:.0f}s"
            )
        return self

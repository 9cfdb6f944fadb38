"""What a module file says about containers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from safekit_podman.service import Image
from safekit_sdk import AppConfig, Duration
from safekit_sdk.installed import AbsolutePath
from safekit_sdk.services import Argv, listed

Volume = Annotated[str, Field(pattern=r"^/[^\x00,:]{1,1023}:/[^\x00,:]{0,1023}(:[A-Za-z,]{1,32})?$")]


class PodmanConfig(AppConfig):
    """One container, or those of a compose file, made anew at each start."""

    image: Image | None = None
    """What the container is made of; it has to be on the node, as nothing is fetched in a failover."""
    compose: AbsolutePath | None = None
    """A compose file, instead of `image`; the same on each node."""
    volumes: Annotated[tuple[Volume, ...], BeforeValidator(listed), Field(max_length=50)] = ()
    """Directories of the node that it sees: `/srv/shop:/var/lib/shop`. They have to be there."""
    options: Argv = ()
    """Other options of `podman create`, of each container: `--network=host`, `--env-file=/etc/shop/env`."""
    command: Argv = ()
    """What it runs, when that is not what the image says."""
    health: Argv = ()
    """A command in the container that succeeds while the application answers: `pg_isready`. Without one only its main
    process is watched."""
    engine: Annotated[Argv, Field(min_length=1)] = ("podman",)
    """The program, with its own options: `podman`, `docker`."""
    interval: Duration = Duration(5)
    """Time between two questions. The death of the container is seen at once, without a question."""
    timeout: Duration = Duration(5)
    """A question that is not answered within this time has failed."""
    fall: int = Field(default=3, ge=1, le=100)
    """So many failures in a row are down."""
    start_timeout: Duration = Duration(120)
    """A start that takes longer has failed."""
    stop_timeout: Duration = Duration(60)
    """A graceful stop that takes longer is followed by a forced one."""

    @model_validator(mode="after")
    def _one_or_many(self) -> Self:
        if (self.image is None) == (self.compose is None):
            raise ValueError("`image:` is one container, `compose:` a file of several; give one of them")
        own = [name for name in ("volumes", "command", "health") if getattr(self, name)]
        if self.compose and own:
            raise ValueError(f"`{own[0]}:` is in the compose file already; leave it out here")
        return self

    @property
    def places(self) -> list[Path]:
        """The node's directories that `volumes` names."""
        return [Path(volume.partition(":")[0]) for volume in self.volumes]

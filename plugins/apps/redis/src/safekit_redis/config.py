"""What a module file says about Redis, or Valkey."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from safekit_sdk import AppConfig, Duration, Secret
from safekit_sdk.installed import AbsolutePath

Name = Annotated[str, Field(pattern=r"^[^\s\x00-\x1f-][^\s\x00-\x1f]{0,62}$")]


class RedisConfig(AppConfig):
    """One server of Redis or Valkey; where its data are is said by its own configuration."""

    config: AbsolutePath | None = None
    """Its configuration file; the distribution's when absent."""
    program: AbsolutePath | None = None
    """The server; `redis-server`, then `valkey-server` is looked for when absent."""
    user: Name | None = None
    """Whose process it is; `redis`, or `valkey`, as the server is called, when absent."""
    durable: bool = True
    """What was acknowledged is on the disks: `appendonly yes` and `appendfsync always`, whatever the file says."""
    account: Name | None = None
    """Who asks, where the server has accounts; the default one when absent."""
    password: Secret | None = None
    """Of who asks: `file:/PATH`, a file of root's with mode 600."""
    key: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """A key that the check writes and reads. It only asks for a PING when absent."""
    interval: Duration = Duration(2)
    """Time between two questions. The death of the server is seen at once, without a question."""
    timeout: Duration = Duration(5)
    """A question that is not answered within this time has failed."""
    fall: int = Field(default=3, ge=1, le=100)
    """So many failures in a row are down."""
    start_timeout: Duration = Duration(600)
    """A start that takes longer has failed. Loading the data is part of it."""
    stop_timeout: Duration = Duration(60)
    """A graceful stop that takes longer is followed by a forced one."""

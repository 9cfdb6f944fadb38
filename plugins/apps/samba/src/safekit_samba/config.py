"""What a module file says about Samba."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from safekit_sdk import AppConfig, Duration
from safekit_sdk.installed import AbsolutePath


class SambaConfig(AppConfig):
    """One smbd; where its shares and its state are is said by its own configuration."""

    config: AbsolutePath | None = None
    """Its configuration file; `/etc/samba/smb.conf` when absent."""
    program: AbsolutePath | None = None
    """The server; `smbd` is looked for when absent."""
    server: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,15}$")] | None = None
    """Its `netbios name`, the same on both nodes; the module's name when absent."""
    share: Annotated[str, Field(pattern=r"^[^\s/\\\x00-\x1f-][^/\\\x00-\x1f]{0,79}$")] | None = None
    """A share whose directory the check reads; without one it opens a session, and no share."""
    credentials: AbsolutePath | None = None
    """A file of root's, mode 600, with `username = …` and `password = …`, for who reads the share."""
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:][A-Za-z0-9_.:-]{0,252}$")] = "127.0.0.1"
    """Whom the check asks: another address of this node, when Samba does not listen on 127.0.0.1."""
    interval: Duration = Duration(5)
    """Time between two questions. The death of the server is seen at once, without a question."""
    timeout: Duration = Duration(5)
    """A question that is not answered within this time has failed."""
    fall: int = Field(default=3, ge=1, le=100)
    """So many failures in a row are down."""
    start_timeout: Duration = Duration(60)
    """A start that takes longer has failed."""
    stop_timeout: Duration = Duration(30)
    """A graceful stop that takes longer is followed by a forced one."""

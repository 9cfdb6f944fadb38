"""What a module file says about MariaDB."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from safekit_sdk import AppConfig, Duration
from safekit_sdk.installed import AbsolutePath

Name = Annotated[str, Field(pattern=r"^[^\x00-\x1f-][^\x00-\x1f]{0,62}$")]


class MariadbConfig(AppConfig):
    """One MariaDB server; where its data are is said by its own configuration."""

    config: AbsolutePath | None = None
    """The only configuration file that is read; the distribution's when absent."""
    program: AbsolutePath | None = None
    """The server; `mariadbd` is looked for when absent."""
    user: Name = "mysql"
    """Whose process it is."""
    account: Name = "root"
    """Who asks, by a connection of root's that needs no password: Debian's root is let in by `unix_socket`."""
    client_config: AbsolutePath | None = None
    """A file with the section `[client]` and a password, where `account` needs one; readable by root only."""
    query: Annotated[str, Field(min_length=1, max_length=4096)] = "SELECT 1"
    """What is asked: something that is answered at once, and needs no lock that others hold."""
    interval: Duration = Duration(2)
    """Time between two questions. The death of the server is seen at once, without a question."""
    timeout: Duration = Duration(5)
    """A question that is not answered within this time has failed."""
    fall: int = Field(default=3, ge=1, le=100)
    """So many failures in a row are down."""
    start_timeout: Duration = Duration(600)
    """A start that takes longer has failed. The recovery after a crash is part of it."""
    stop_timeout: Duration = Duration(120)
    """A graceful stop that takes longer is followed by a forced one."""

"""What a module file says about Apache."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from safekit_sdk import AppConfig, Duration, Port
from safekit_sdk.installed import AbsolutePath

UrlPath = Annotated[str, Field(pattern=r"^/[^\s\x00-\x1f]{0,1023}$")]


class ApacheConfig(AppConfig):
    """Apache with the distribution's configuration, or one of your own."""

    config: AbsolutePath | None = None
    """The configuration file; the distribution's when absent."""
    program: AbsolutePath | None = None
    """Apache itself; `apache2` or `httpd` is looked for when absent."""
    port: Port = 80
    """Where the check asks, on this node."""
    path: UrlPath = "/"
    """What the check asks for; any answer below 500 is a good one."""
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,253}$")] = "127.0.0.1"
    """Whom the check asks: another address of this node, when Apache does not listen on 127.0.0.1."""
    graceful: Duration = Duration(5)
    """How long requests under way may take to finish when Apache is stopped."""
    start_timeout: Duration = Duration(30)
    """A start that takes longer has failed."""
    stop_timeout: Duration = Duration(30)
    """A graceful stop that takes longer is followed by a forced one; longer than `graceful`."""

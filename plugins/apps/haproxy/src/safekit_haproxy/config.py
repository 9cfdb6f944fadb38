"""What a module file says about HAProxy."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from safekit_sdk import AppConfig, Duration
from safekit_sdk.installed import AbsolutePath


class HaproxyConfig(AppConfig):
    """HAProxy with the distribution's configuration, or one of your own."""

    config: AbsolutePath | None = None
    """The configuration file; `/etc/haproxy/haproxy.cfg` when absent."""
    program: AbsolutePath | None = None
    """HAProxy itself; `haproxy` is looked for when absent."""
    reload: Annotated[str, Field(max_length=64)] = ""
    """Any text: when it changes, HAProxy reads its file again on every node, and no connection is lost."""
    interval: Duration = Duration(1)
    """Time between two questions. The death of the main process is seen at once, without a question."""
    timeout: Duration = Duration(2)
    """A question that is not answered within this time has failed."""
    fall: int = Field(default=2, ge=1, le=100)
    """So many failures in a row are down."""
    graceful: Duration = Duration(5)
    """How long connections may take to end when HAProxy is stopped."""
    start_timeout: Duration = Duration(30)
    """A start that takes longer has failed."""
    stop_timeout: Duration = Duration(30)
    """A graceful stop that takes longer is followed by a forced one; longer than `graceful`."""

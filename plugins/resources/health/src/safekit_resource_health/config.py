"""What a module file says about its health URL."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated

from pydantic import Field

from safekit_sdk import Duration, FailureAction, Port, ResourceConfig


class HealthConfig(ResourceConfig):
    """A URL that answers 200 when this node should get traffic, and 503 when not, for a load balancer elsewhere."""

    port: Port = 9010
    """Where it listens; one of its own for each module."""
    address: IPv4Address | IPv6Address | None = None
    """Only at this address of the node; at all of them when absent."""
    path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9_.~/-]{0,127}$")] = "/health"
    """What is asked for; anything else is answered with 404."""
    action: FailureAction = "none"
    """What follows when it cannot be served; the load balancer leaves the node out already."""
    start_timeout: Duration = Duration(15)
    """A start that takes longer has failed."""

"""What module files of applications have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from safekit_sdk.app import ModuleRequest
from safekit_sdk.errors import ConfigError


def address_steps(request: ModuleRequest) -> list[dict[str, Any]]:
    return [{"vip": {"address": vip}} for vip in request.vips]


def sharing_step(request: ModuleRequest, port: int | None) -> dict[str, Any]:
    """Of a farm; before the addresses, so that no packet finds one without the filter. Without a port all are shared
    by the client's address, which suits every protocol."""
    step: dict[str, Any] = {"addresses": [vip.partition("/")[0] for vip in request.vips]}
    if port is not None:
        step["rules"] = [{"port": port, "hash": "client_address" if request.sticky else "client_session"}]
    return {"nft-lb": step}


def require_address(request: ModuleRequest, application: str) -> None:
    if request.kind != "light" and not request.vips:
        raise ConfigError(
            f"a {request.kind} of {application} needs an address for its clients", hint="add --vip ADDRESS/PREFIX"
        )


def without_data(request: ModuleRequest, application: str, step: Mapping[str, Any], port: int | None) -> dict[str, Any]:
    """For an application of which nothing is replicated, and two that run harm nobody: `availability`."""
    require_address(request, application)
    content: dict[str, Any] = {"kind": request.kind}
    if request.kind != "light":
        content["heartbeat"] = {"interval": "100ms", "lost_after": "1s"}
    if request.kind == "mirror":
        content["isolation"] = "availability"
    sharing = [sharing_step(request, port)] if request.kind == "farm" else []
    content["pipeline"] = [*sharing, *address_steps(request), dict(step)]
    return content


def with_data(
    request: ModuleRequest, application: str, step: Mapping[str, Any], directories: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """For an application whose directories are replicated. These must not be written twice: the isolation stays
    `safety`. The directories are looked for only where they are needed, by iterating."""
    refuse_farm(request)
    require_address(request, application)
    if request.port is not None:
        raise ConfigError(f"the port is a setting of {application}", hint="set it there, and leave --port out")
    replicated = [{"rfs": dict(one)} for one in directories] if request.kind == "mirror" else []
    return {"kind": request.kind, "pipeline": [*replicated, *address_steps(request), dict(step)]}


def refuse_farm(request: ModuleRequest) -> None:
    if request.kind == "farm":
        raise ConfigError(
            "a farm runs on every node, and these would have different data", hint="`--kind mirror` replicates one"
        )

"""From one node to a cluster: what to type on the new node, until it is heard, and what there is to mend before the
first module."""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from safekit_console.access import Asker, Needs, form
from safekit_console.acting import Acting
from safekit_console.errors import HttpError
from safekit_console.pages.rendering import page, words_of
from safekit_console.parts import Console, console_of
from safekit_console.reading import Reading
from safekit_console.roles import Role
from safekit_sdk import SafekitError

router = APIRouter(include_in_schema=False)
Administers = Annotated[Asker, Depends(Needs(Role.ADMIN))]
TOKEN_S: Final = 3600.0
"""It takes a while to install a machine; whoever has the token may join with it once."""


@dataclass(frozen=True, slots=True)
class Invited:
    """A node that may come, and what is typed there."""

    node: str
    commands: tuple[str, ...]
    expires: float


@router.get("/cluster/grow")
async def growing(request: Request, asker: Administers) -> Response:
    return await _growing(request, asker, {})


@router.post("/cluster/grow")
async def invite(request: Request, asker: Administers) -> Response:
    """A token, and the commands for the node that is named."""
    console, given = console_of(request), await form(request)
    try:
        networks = await _networks(console)
        node, addresses = _checked(given, networks, console)
        issued = await Acting(console, asker).join_token(TOKEN_S)
    except HttpError as error:
        return await _growing(request, asker, given, error=words_of(request)(error.message), status=error.status)
    return await _growing(request, asker, given, invited=_invited(node, addresses, issued))


async def _networks(console: Console) -> dict[str, str]:
    """This node's own address on each."""
    said = await console.node.ask("ping", timeout_s=3.0)
    return {str(name): str(address) for name, address in dict(said["networks"]).items()}


def _checked(given: Mapping[str, str], networks: Mapping[str, str], console: Console) -> tuple[str, dict[str, str]]:
    node = given.get("node", "").strip()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", node):
        raise HttpError(422, "invalid", "give the new node a name of letters, digits and . _ -")
    if node in console.watch.snapshot.nodes:
        raise HttpError(422, "invalid", "there is a node of this name already")
    taken = {address for addresses in console.watch.addresses.values() for address in addresses}
    addresses = {}
    for network in networks:
        text = given.get(f"address:{network}", "").strip()
        try:
            addresses[network] = str(ipaddress.ip_address(text))
        except ValueError:
            raise HttpError(422, "invalid", "give the new node's own IP address on each network") from None
        if addresses[network] in taken:
            raise HttpError(422, "invalid", "another node has this address already")
    return node, addresses


def _invited(node: str, addresses: Mapping[str, str], issued: Mapping[str, Any]) -> Invited:
    places = [f"{network}={address}" for network, address in addresses.items()]
    if len(places) == 1:
        places = list(addresses.values())
    words = ["safekit", "cluster", "join", "-", "--node", node]
    words += [word for place in places for word in ("--address", place)]
    told = f"echo {shlex.quote(str(issued['token']))} | {shlex.join(words)}"  # no secret in the list of processes
    commands = (told, "safekit daemon start", "safekit console setup")
    return Invited(node, commands, float(issued.get("expires", 0.0)))


async def _growing(
    request: Request,
    asker: Asker,
    given: Mapping[str, str],
    *,
    invited: Invited | None = None,
    error: str = "",
    status: int = 200,
) -> Response:
    console = console_of(request)
    snapshot = console.watch.snapshot
    others = [seen for name, seen in snapshot.nodes.items() if name != snapshot.own]
    heard = bool(others) and all(seen.status and seen.status.hears_all for seen in snapshot.nodes.values())
    return page(
        request,
        "grow.html",
        asker,
        status,
        networks=await _networks(console),
        given=given,
        invited=invited,
        error=error,
        others=others,
        heard=heard,
        findings=await _findings(Reading(console, asker)) if heard else [],
    )


async def _findings(reading: Reading) -> list[dict[str, Any]]:
    """What is wrong with the nodes, their clocks and their links; not with modules."""
    try:
        report = await reading.diagnosis()
    except (SafekitError, TimeoutError) as error:
        return [{"severity": "warning", "what": str(error), "why": "", "mend": "", "nodes": []}]
    return [one for one in report["findings"] if not one["module"]]

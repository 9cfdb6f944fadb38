"""ICMP echo (RFC 792, RFC 4443): one address is asked until it answers, or the time is over."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
from typing import Any

from icmplib import (
    AsyncSocket,
    ICMPError,
    ICMPLibError,
    ICMPRequest,
    ICMPv4Socket,
    ICMPv6Socket,
    SocketAddressError,
    SocketPermissionError,
    TimeoutExceeded,
)

from safekit_sdk.connect import OwnTroubleError, SilentError, explain

LACKS_RIGHT = "this process may not send ICMP: run it as root, or widen net.ipv4.ping_group_range"
_WALL_CLOCK_S = 3600.0
"""What icmplib is given as its timeout: it goes by the wall clock, which can be set; the limits here do not."""


async def ask(host: str, count: int, patience_s: float, source: str | None) -> float:
    """Milliseconds from the request to its reply. SilentError when none of `count` requests, spread over the time,
    was answered; OwnTroubleError when it could not be asked."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + patience_s
    address = await _resolve(host, patience_s / 2)
    said = ""
    with AsyncSocket(_open(address, source)) as channel:
        for number in range(count):
            request = ICMPRequest(destination=address, id=secrets.randbelow(0x10000), sequence=number)
            try:
                async with asyncio.timeout((deadline_s - loop.time()) / (count - number)):
                    began_s = loop.time()
                    await _exchange(channel, request)
                    return (loop.time() - began_s) * 1000
            except SilentError as seen:
                said = str(seen)
                await asyncio.sleep(max((deadline_s - loop.time()) / (count - number), 0.0))
            except TimeoutError:
                said = said or "no answer"
    raise SilentError(f"{said} to {count} echo request{'s' if count > 1 else ''}" if said == "no answer" else said)


async def _exchange(channel: Any, request: ICMPRequest) -> None:
    try:
        channel.send(request)
        (await channel.receive(request, _WALL_CLOCK_S)).raise_for_status()
    except ICMPError as error:
        raise SilentError(str(error).lower().rstrip(".")) from None
    except TimeoutExceeded:
        raise TimeoutError from None
    except ICMPLibError as error:
        cause = error.__cause__ or error.__context__
        raise explain(cause) if isinstance(cause, OSError) else OwnTroubleError(str(error)) from None


def _open(address: str, source: str | None) -> Any:
    """With the right to raw sockets, or as Linux lets some groups do it without."""
    kind = ICMPv6Socket if ":" in address else ICMPv4Socket
    try:
        try:
            return kind(source, privileged=True)
        except SocketPermissionError:
            return kind(source, privileged=False)
    except SocketPermissionError:
        raise OwnTroubleError(LACKS_RIGHT) from None
    except SocketAddressError:
        raise OwnTroubleError(f"{source} is not an address of this node") from None
    except ICMPLibError as error:
        raise OwnTroubleError(str(error)) from None


async def _resolve(host: str, patience_s: float) -> str:
    """An address is not looked up."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        async with asyncio.timeout(patience_s):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error) or "no answer from the resolver"
        raise OwnTroubleError(f"the name {host} does not resolve ({why}); give an address") from None
    return str(found[0][4][0])


def may_ask(address: str) -> bool:
    """Whether this process has the right to."""
    try:
        _open(address, None).close()
    except OwnTroubleError:
        return False
    return True

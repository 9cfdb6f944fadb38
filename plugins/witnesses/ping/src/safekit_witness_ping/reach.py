"""Whether an address answers to ICMP echo (RFC 792, RFC 4443), and in what time."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import Final

from icmplib import ICMPLibError, ICMPv4Socket, ICMPv6Socket, async_ping

from safekit_sdk import ConfigError
from safekit_witness_ping.race import first

TRIES: Final = 3
"""Requests to an address in one call, spread over its time; each may be answered until the time is over."""
_FOREVER_S: Final = 3600.0
"""What icmplib is given as its limit: it goes by the wall clock, which can be set. The limit here is monotonic."""
_RIGHT: Final = "run it as root, or give it CAP_NET_RAW"


async def reach(address: str, patience_s: float) -> float | None:
    """Milliseconds from a request to its reply; None when there was none in time. ConfigError when this process
    cannot ask."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            return await first(_request(address, number * patience_s / TRIES) for number in range(TRIES))
    return None


async def _request(address: str, wait_s: float) -> float | None:
    """None at once when the network says that there is no way."""
    await asyncio.sleep(wait_s)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    try:
        host = await async_ping(address, count=1, timeout=_FOREVER_S, id=secrets.randbelow(0x10000))
    except ICMPLibError as error:
        raise ConfigError(f"this process may not ping {address}: {error}", hint=_RIGHT) from None
    return (loop.time() - began_s) * 1000 if host.is_alive else None


def trouble_with(address: str) -> str:
    """Why this process cannot ask the address, or nothing."""
    try:
        (ICMPv6Socket if ":" in address else ICMPv4Socket)(privileged=True).close()
    except ICMPLibError as error:
        return f"this process may not ping {address} ({error}); {_RIGHT}"
    return ""

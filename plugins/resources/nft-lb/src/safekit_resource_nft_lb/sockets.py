"""This server's sockets at an address or port, from /proc/net (proc(5))."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final

from safekit_resource_nft_lb.config import Address, Protocol

_ESTABLISHED, _ANSWERED, _LISTENING, _UNCONNECTED = "01", "03", "0A", "07"
_ANY: Final = {"tcp": _LISTENING, "udp": _UNCONNECTED}


def connections(addresses: Iterable[Address]) -> int:
    """How many established TCP connections this server has at these addresses."""
    wanted = set(addresses)
    return sum(state == _ESTABLISHED and address in wanted for address, _, state, _ in _sockets("tcp"))


def listens(protocol: Protocol, port: int) -> bool:
    return any(state == _ANY[protocol] and own == port for _, own, state, _ in _sockets(protocol))


def waits(addresses: Iterable[Address], ports: Iterable[int]) -> bool:
    """Whether a client has an answer of the kernel, and its connection is not accepted by the program yet."""
    wanted, listened = set(addresses), set(ports)
    return any(
        (state == _ANSWERED and address in wanted) or (state == _LISTENING and port in listened and queued)
        for address, port, state, queued in _sockets("tcp")
    )


def _sockets(protocol: Protocol) -> Iterator[tuple[Address, int, str, int]]:
    """Address, port, state and length of the receive queue of each; of one that listens that is how many connections
    wait to be accepted."""
    for name in (protocol, f"{protocol}6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/self/net/{name}").read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                text, _, port = fields[1].partition(":")
                yield _address(text), int(port, 16), fields[3], int(fields[4].partition(":")[2], 16)


def _address(text: str) -> Address:
    """Words of four bytes in this machine's order."""
    words = [struct.pack("=I", int(text[index : index + 8], 16)) for index in range(0, len(text), 8)]
    address = ip_address(b"".join(words))
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address

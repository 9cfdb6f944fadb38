"""Makes a network card receive what is sent to a virtual hardware address, for as long as this process lives."""

from __future__ import annotations

import socket
import struct
from typing import Final, Self

from safekit_sdk import ConfigError

_SOL_PACKET: Final = 263
_ADD_MEMBERSHIP: Final = 1
_MULTICAST, _UNICAST = 0, 3


class Reception:
    """packet(7): PACKET_ADD_MEMBERSHIP, which the kernel ends with the socket."""

    def __init__(self, interface: str, mac: str) -> None:
        address = bytes.fromhex(mac.replace(":", ""))
        kind = _MULTICAST if address[0] & 1 else _UNICAST
        request = struct.pack("@iHH8s", socket.if_nametoindex(interface), kind, len(address), address.ljust(8, b"\x00"))
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        try:
            self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, request)
        except OSError as error:
            self._socket.close()
            raise ConfigError(
                f"{interface} does not receive for another hardware address: {error.strerror}",
                hint="use `mode: directed`",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

"""Two machines on one wire; the second can say and do what it likes."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from safekit_sdk import arp, ndp
from safekit_sdk.testing import Namespace, network_namespace

V4, V6 = "10.7.0.100", "fd07::100"


@dataclass(frozen=True, slots=True)
class Network:
    here: Namespace
    there: Namespace

    def add(self, address: str, *, there: bool = False, options: tuple[str, ...] = ("nodad",)) -> None:
        self._address("add", address, there, options if ":" in address else ())

    def remove(self, address: str, *, there: bool = False) -> None:
        self._address("delete", address, there, ())

    def _address(self, verb: str, address: str, there: bool, options: tuple[str, ...]) -> None:
        whole = f"{address}/{64 if ':' in address else 24}"
        (self.there if there else self.here).command("ip", "address", verb, whole, "dev", "eth0", *options)

    @property
    def stranger(self) -> bytes:
        """The other machine's hardware address."""
        text = self.there.command("cat", "/sys/class/net/eth0/address").strip()
        return bytes.fromhex(text.replace(":", ""))

    def claim(self, address: str) -> None:
        """The other machine announces the address, whether it has it or not."""
        ip = ip_address(address)
        mac = self.stranger
        frames = arp.announcements(mac, ip) if isinstance(ip, IPv4Address) else ndp.announcements(mac, ip)
        with self.there.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as card:
            card.bind(("eth0", 0))
            for frame in frames:
                card.send(frame)

    @contextlib.contextmanager
    def advertising(self, address: str, hop_limit: int) -> Iterator[None]:
        """The other machine says all the time, to this one, that it has the IPv6 address."""
        message = struct.pack("!BBHI", ndp.ADVERTISEMENT, 0, 0, 0) + IPv6Address(address).packed
        message += struct.pack("!BB", 2, 1) + self.stranger
        with self.there.inside():
            card = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        card.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hop_limit)
        done = threading.Event()

        def speak() -> None:
            while not done.wait(0.005):
                card.sendto(message, ("fd07::1", 0))

        speaker = threading.Thread(target=speak)
        speaker.start()
        try:
            yield
        finally:
            done.set()
            speaker.join(10)
            card.close()


@contextlib.contextmanager
def two_machines() -> Iterator[Network]:
    """10.7.0.1 and fd07::1 here, .2 and ::2 there; the address itself on neither."""
    with network_namespace() as here, network_namespace() as there:
        here.command("ip", "link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", there.name)
        for number, namespace in enumerate((here, there), 1):
            namespace.command("ip", "link", "set", "eth0", "up")
            namespace.command("ip", "address", "add", f"10.7.0.{number}/24", "dev", "eth0")
            namespace.command("ip", "address", "add", f"fd07::{number}/64", "dev", "eth0", "nodad")
        yield Network(here, there)

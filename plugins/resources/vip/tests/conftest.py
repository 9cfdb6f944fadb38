"""A network of the test's own: `here`, where the address is taken, and `there`, a neighbour on the same wire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from safekit_sdk.testing import Namespace, network_namespace


@dataclass(frozen=True, slots=True)
class Wire:
    here: Namespace
    there: Namespace

    def holders(self, address: str) -> list[str]:
        """The lines of `ip address` in `here` with this address."""
        shown = self.here.command("ip", "-o", "address", "show")
        return [" ".join(line.split()[1:4]) for line in shown.splitlines() if f" {address}/" in line]

    def mac(self, namespace: Namespace) -> str:
        return namespace.command("cat", "/sys/class/net/eth0/address").strip()


@pytest.fixture
def wire() -> Iterator[Wire]:
    """10.5.0.1/24 and fd05::1/64 here, .2 and ::2 there."""
    with network_namespace() as here, network_namespace() as there:
        here.command("ip", "link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", there.name)
        for number, namespace in enumerate((here, there), 1):
            namespace.command("ip", "link", "set", "eth0", "up")
            namespace.command("ip", "address", "add", f"10.5.0.{number}/24", "dev", "eth0")
            namespace.command("ip", "address", "add", f"fd05::{number}/64", "dev", "eth0", "nodad")
        yield Wire(here, there)

"""A wire to a neighbour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from safekit_sdk.testing import Namespace, network_namespace


@dataclass(frozen=True, slots=True)
class Wire:
    """10.8.0.1 and fd08::1 are ours, .2 and ::2 the neighbour's."""

    here: Namespace
    there: Namespace

    def drop(self, *what: str) -> None:
        """The neighbour ignores such packets."""
        self.there.command("nft", "add", "table", "inet", "t")
        self.there.command("nft", "add", "chain", "inet", "t", "in", "{ type filter hook input priority 0; }")
        self.there.command("nft", "add", "rule", "inet", "t", "in", *what, "drop")

    def cut(self) -> None:
        self.there.command("ip", "link", "set", "eth0", "down")


@pytest.fixture
def wire() -> Iterator[Wire]:
    with network_namespace() as here, network_namespace() as there:
        for namespace in (here, there):
            namespace.command("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        here.command("ip", "link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", there.name)
        for number, namespace in enumerate((here, there), 1):
            namespace.command("ip", "link", "set", "eth0", "up")
            namespace.command("ip", "address", "add", f"10.8.0.{number}/24", "dev", "eth0")
            namespace.command("ip", "address", "add", f"fd08::{number}/64", "dev", "eth0")
        yield Wire(here, there)

"""What the kernel tells of interfaces, in a network of the test's own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from safekit_sdk.netlink import Changes
from safekit_sdk.testing import Namespace, network_namespace

LINKS = 0x1
"""RTMGRP_LINK."""
BOUND_S = 20.0


@pytest.fixture
def here() -> Iterator[Namespace]:
    with network_namespace() as namespace, namespace.inside():
        yield namespace


async def test_it_rings_when_something_has_changed_and_not_before(here: Namespace) -> None:
    with Changes(socket.NETLINK_ROUTE, LINKS) as changes:
        assert not await changes.wait(0.01)
        here.command("ip", "link", "add", "eth0", "type", "veth", "peer", "eth1")
        assert await changes.wait(BOUND_S)
        here.command("ip", "link", "set", "eth0", "up")
        assert await changes.wait(BOUND_S)


async def test_another_group_does_not_ring(here: Namespace) -> None:
    with Changes(socket.NETLINK_ROUTE, 0x10) as addresses:
        here.command("ip", "link", "add", "eth0", "type", "veth", "peer", "eth1")
        assert not await addresses.wait(0.05)
        here.command("ip", "address", "add", "10.5.0.1/24", "dev", "eth0")
        assert await addresses.wait(BOUND_S)


async def test_what_comes_at_once_rings_once_and_more_than_the_socket_holds_rings_too(here: Namespace) -> None:
    with Changes(socket.NETLINK_ROUTE, LINKS, settle_s=0.05) as changes:
        changes._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for number in range(20):
            here.command("ip", "link", "add", f"a{number}", "type", "veth", "peer", f"b{number}")
        assert await changes.wait(BOUND_S)
        assert not await changes.wait(0.01)
        here.command("ip", "link", "delete", "a0")
        assert await changes.wait(BOUND_S)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_nothing_is_left_open(here: Namespace) -> None:
    before = open_files()
    with Changes(socket.NETLINK_ROUTE, LINKS):
        assert open_files() == before + 1
    assert open_files() == before
    with pytest.raises(OSError, match="not supported"):
        Changes(31, LINKS)

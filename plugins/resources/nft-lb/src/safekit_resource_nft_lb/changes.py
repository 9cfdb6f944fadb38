"""Rings when anyone has changed the kernel's rules."""

from __future__ import annotations

from typing import Final

from safekit_sdk.netlink import Changes

_NETLINK_NETFILTER: Final = 12
_NFTABLES: Final = 1 << 6
"""NFNLGRP_NFTABLES, group 7."""
SETTLE_S: Final = 0.005
"""Changes that come one after the other are looked at together."""


def rule_changes() -> Changes:
    return Changes(_NETLINK_NETFILTER, _NFTABLES, SETTLE_S)

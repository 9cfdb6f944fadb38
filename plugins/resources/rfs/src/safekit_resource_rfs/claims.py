"""What a node says of its data beside its place, so that two nodes that both lost their memory can tell which of them
goes on: neither is primary then, and the data paths are not connected."""

from __future__ import annotations

import re
from typing import Final

from safekit_resource_rfs.generations import Durable, Generation, Standing

_LETTERS: Final = {Standing.UP: "u", Standing.DOUBT: "d", Standing.DOWN: "n"}
_LEFT: Final = "l"
"""For the letter of doubt."""
_CLAIM: Final = re.compile(r"([udnl])([ps])([0-9a-f]{0,32})")


def write_claim(durable: Durable) -> str:
    letter = _LEFT if durable.left and not durable.doubt else _LETTERS[durable.standing]
    return f"{letter}{'p' if durable.primary else 's'}{durable.generation.id}"


def read_claim(text: str) -> Durable | None:
    """What is known of the other node by it; its history is not. None when it says nothing."""
    found = _CLAIM.fullmatch(text)
    if not found:
        return None
    letter, role, identifier = found.groups()
    generation = Generation(identifier)
    is_up, is_primary = letter != "n", role == "p"
    return Durable(generation, up_to_date=is_up, doubt=letter == "d", left=letter == _LEFT, primary=is_primary)

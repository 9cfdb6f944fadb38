"""What does not fit together between the directories of two nodes: their owners, their space, what both hold. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from safekit_resource_rfs.config import RfsConfig

FACT: Final = "directory"
MAX_NAMES: Final = 1000
"""Users, and groups, that one node tells of itself."""


class Names(BaseModel):
    """Of users or of groups."""

    model_config = ConfigDict(frozen=True)

    owning: dict[str, int]
    """Those to whom something in the directory belongs."""
    known: dict[str, int]
    """Those that the node has; when `is_whole`, all of them."""
    is_whole: bool


class Side(BaseModel):
    """One node's directory before the module starts."""

    model_config = ConfigDict(frozen=True)

    entries: int
    size_bytes: int
    """On the disk; when the look was cut short, what was seen."""
    free_bytes: int
    was_synchronised: bool
    users: Names
    groups: Names


def confront(config: RfsConfig, facts: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    sides = {node: side for node, told in facts.items() if (side := _read(told.get(FACT, "")))}
    found: dict[str, list[str]] = {node: [] for node in sides}
    for (here, own), (there, other) in permutations(sides.items(), 2):
        if other.entries:
            found[here] += [*_of_owners(own, other, there), *_of_space(own, other, there)]
        if config.first_sync != "overwrite":
            found[here] += _of_both(own, other, there)
    return found


def _read(told: str) -> Side | None:
    """Another version may tell something else; then there is nothing to compare."""
    try:
        return Side.model_validate_json(told)
    except ValidationError:
        return None


def _of_owners(own: Side, other: Side, there: str) -> Iterator[str]:
    for what, mine, theirs in (("user", own.users, other.users), ("group", own.groups, other.groups)):
        for name, number in theirs.owning.items():
            belongs = f"files on {there} belong to the {what} {name}, {number} there"
            if name in mine.known and mine.known[name] != number:
                yield (
                    f"{belongs} and {mine.known[name]} here: the copy would be another {what}'s; give it one number on "
                    f"both (`{what}mod -{what[0]} {number} {name}`, and its files here) before the module starts"
                )
            elif name not in mine.known and mine.is_whole:
                yield (
                    f"{belongs}, and there is no such {what} here: install what brings it, with the same number "
                    f"(`{what}add -{what[0]} {number} {name}`)"
                )


def _of_space(own: Side, other: Side, there: str) -> Iterator[str]:
    if other.size_bytes > own.size_bytes + own.free_bytes:
        room = (own.size_bytes + own.free_bytes) / 1e9
        yield (
            f"{there} holds {other.size_bytes / 1e9:,.1f} GB and there is room for {room:,.1f} GB here: the first "
            "synchronisation would fill the disk; make room, or put the directory on a larger disk"
        )


def _of_both(own: Side, other: Side, there: str) -> Iterator[str]:
    if own.entries and other.entries and not (own.was_synchronised or other.was_synchronised):
        yield (
            f"files are here and on {there}, and the two were never synchronised: make the node with the data primary "
            "(`safekit module prim … --force`); the other one waits for `safekit rfs sync … --from-primary`, which "
            "keeps what it has aside"
        )

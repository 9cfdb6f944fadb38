"""Who may do what. What is not granted is denied."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Annotated, Final

from pydantic import Field

EVERYWHERE: Final = "*"
ModuleName = Annotated[str, Field(pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9_.-]{0,63})$")]
RoleWord = Annotated[str, Field(pattern="^(monitor|control|admin)$")]
Grants = Annotated[dict[ModuleName, RoleWord], Field(max_length=200)]
"""Module to role; `*` for the whole cluster. To be admin of one module is to be admin of that module's actions only."""


class Role(IntEnum):
    """Each may do what those before it may."""

    NONE = 0
    MONITOR = 1
    """Look at states and at the journal."""
    CONTROL = 2
    """Also start, stop and move modules."""
    ADMIN = 3
    """Also change modules, users and the cluster."""

    @property
    def word(self) -> str:
        return self.name.lower()


ROLES: Final = {role.word: role for role in Role if role}


def role_for(grants: Mapping[str, Role], module: str | None) -> Role:
    """The role on one module; on the cluster as a whole when no module is named."""
    whole = grants.get(EVERYWHERE, Role.NONE)
    return whole if module is None else max(whole, grants.get(module, Role.NONE))


def sees(grants: Mapping[str, Role], module: str) -> bool:
    return role_for(grants, module) >= Role.MONITOR


def both(grants: Mapping[str, Role], other: Mapping[str, Role]) -> dict[str, Role]:
    """What is granted by the one and by the other: a token can never do more than its user."""
    names = {*grants, *other} - {EVERYWHERE}
    found = {EVERYWHERE: min(role_for(grants, None), role_for(other, None))}
    return found | {name: min(role_for(grants, name), role_for(other, name)) for name in sorted(names)}

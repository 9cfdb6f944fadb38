"""Users and API tokens, in the records that all nodes share. Passwords are kept as argon2id hashes, tokens as SHA-256
of 256 random bits."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Mapping
from typing import Annotated, Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import BaseModel, ConfigDict, Field

from safekit_console.errors import HttpError, not_found
from safekit_console.records import Records
from safekit_console.roles import EVERYWHERE, ROLES, Grants, Role, both, role_for

UserName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
KnownName = Annotated[str, Field(pattern=r"^((oidc|ldap|cert):)?[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$", max_length=64)]
"""Also of who was vouched for; nobody can be made a local user of such a name."""
MIN_PASSWORD: Final = 12
MAX_PASSWORD: Final = 1024
MAX_USERS: Final = 500
MAX_TOKENS: Final = 1000
SETUP_S: Final = 86400.0
_AT_ONCE: Final = 1
"""Hashings at a time, of 64 MiB and about a tenth of a second each: they are not to take the machine."""


class User(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    name: KnownName
    password: str
    """A hash; empty for who signs in elsewhere."""
    grants: Grants
    generation: int = 1
    """Changes with the password and when all sessions are to end."""
    created: float = 0.0
    subject: str = ""
    """Who he is for the provider that vouched for him; empty for a local user."""
    until: float = 0.0
    """So long that counts."""

    @property
    def roles(self) -> dict[str, Role]:
        return {module: ROLES[word] for module, word in self.grants.items()}

    @property
    def is_admin(self) -> bool:
        """Of the local users: one who cannot be locked out by another service."""
        return not self.subject and role_for(self.roles, None) >= Role.ADMIN


class ApiToken(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    id: str
    digest: str
    user: str
    label: str
    grants: Grants
    expires: float
    created: float

    def roles(self, user: User) -> dict[str, Role]:
        return both(user.roles, {module: ROLES[word] for module, word in self.grants.items()})


class Accounts:
    def __init__(self, records: Records) -> None:
        self._records = records
        self._hasher = PasswordHasher()
        self._hashing = asyncio.Semaphore(_AT_ONCE)
        self._nobody = self._hasher.hash(secrets.token_hex())
        """What the password of a user who does not exist is compared with: it takes as long."""

    def users(self) -> list[User]:
        return [User.model_validate(one) for one in self._records.below("user/").values()]

    def user(self, name: str) -> User | None:
        found = self._records.get(f"user/{name}")
        user = User.model_validate(found) if found else None
        return None if user and user.subject and user.until < time.time() else user

    async def verify(self, name: str, password: str) -> User | None:
        """None when there is no such user, or it is not the password."""
        user = self.user(name)
        right = await self._compare(user.password if user and user.password else self._nobody, password[:MAX_PASSWORD])
        return user if user and user.password and right else None

    async def _compare(self, hashed: str, password: str) -> bool:
        async with self._hashing:
            try:
                return await asyncio.to_thread(self._hasher.verify, hashed, password)
            except (VerificationError, InvalidHashError):
                return False

    async def _hash(self, password: str) -> str:
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise HttpError(422, "invalid", f"a password has {MIN_PASSWORD} characters or more")
        async with self._hashing:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def add(self, name: str, password: str, grants: Mapping[str, str]) -> User:
        if self.user(name):
            raise HttpError(409, "conflict", f"there is a user '{name}' already")
        if len(self.users()) >= MAX_USERS:
            raise HttpError(409, "conflict", f"there are {MAX_USERS} users, and that is the limit")
        hashed = await self._hash(password)
        user = User(name=name, password=hashed, grants=dict(grants), created=time.time())
        await self._keep(user)
        return user

    async def arrive(self, name: str, subject: str, grants: Mapping[str, str], for_s: float) -> User:
        """A user who was vouched for, with the roles of his groups. Other roles end his sessions elsewhere; another
        person of the same name has none of the earlier one's sessions and tokens."""
        raw = self._records.get(f"user/{name}")
        known = User.model_validate(raw) if raw else None
        if known is None:
            await self._forget_gone()
        if known is not None and known.subject != subject:
            await self._revoke_all(name)
        same = known is not None and (known.subject, known.grants) == (subject, dict(grants))
        generation = known.generation + (not same) if known else 1
        now = time.time()
        user = User(
            name=name,
            password="",
            grants=dict(grants),
            generation=generation,
            created=known.created if known else now,
            subject=subject,
            until=now + for_s,
        )
        await self._keep(user)
        return user

    async def _forget_gone(self) -> None:
        """Room for one more."""
        if len(self.users()) >= MAX_USERS:
            for user in self.users():
                if user.subject and user.until < time.time():
                    await self._revoke_all(user.name)
                    await self._records.put(f"user/{user.name}", None)
        if len(self.users()) >= MAX_USERS:
            raise HttpError(409, "conflict", f"there are {MAX_USERS} users, and that is the limit")

    async def _revoke_all(self, name: str) -> None:
        for token in self.tokens(name):
            await self._records.put(f"token/{token.id}", None)

    async def change(self, name: str, *, password: str = "", grants: Mapping[str, str] | None = None) -> User:
        """What is changed ends the user's sessions, so that it is in force at once."""
        user = self.known(name)
        if user.subject:
            raise HttpError(422, "invalid", "the roles of this user are those of his groups elsewhere")
        changes: dict[str, Any] = {"generation": user.generation + 1}
        if password:
            changes["password"] = await self._hash(password)
        if grants is not None:
            changes["grants"] = dict(grants)
        changed = User.model_validate(user.model_dump() | changes)
        self._refuse_without_admin(changed if changed.is_admin else None, name)
        await self._keep(changed)
        return changed

    async def remove(self, name: str) -> None:
        if self._records.get(f"user/{name}") is None:
            raise not_found(f"there is no user '{name}'")
        self._refuse_without_admin(None, name)
        await self._revoke_all(name)
        await self._records.put(f"user/{name}", None)

    def known(self, name: str) -> User:
        if (user := self.user(name)) is None:
            raise not_found(f"there is no user '{name}'")
        return user

    def _refuse_without_admin(self, instead: User | None, name: str) -> None:
        if instead is None and not any(user.is_admin for user in self.users() if user.name != name):
            raise HttpError(409, "conflict", "somebody has to be administrator", hint="make another user one first")

    async def _keep(self, user: User) -> None:
        await self._records.put(f"user/{user.name}", user.model_dump())

    def tokens(self, user: str = "") -> list[ApiToken]:
        found = [ApiToken.model_validate(one) for one in self._records.below("token/").values()]
        return [token for token in found if user in ("", token.user)]

    async def issue(self, user: User, label: str, grants: Mapping[str, str], ttl_s: float) -> tuple[ApiToken, str]:
        """The token's description, and the token, which is nowhere else."""
        for old in self.tokens():
            if old.expires < time.time():
                await self._records.put(f"token/{old.id}", None)
        if len(self.tokens()) >= MAX_TOKENS:
            raise HttpError(409, "conflict", f"there are {MAX_TOKENS} tokens, and that is the limit")
        number, secret, now = secrets.token_hex(8), secrets.token_urlsafe(32), time.time()
        token = ApiToken(
            id=number,
            digest=digest(secret),
            user=user.name,
            label=label,
            grants=dict(grants),
            expires=now + ttl_s,
            created=now,
        )
        await self._records.put(f"token/{number}", token.model_dump())
        return token, f"sk_{number}_{secret}"

    def bearer(self, text: str) -> tuple[User, ApiToken] | None:
        """Whose token this is; None when it is none, has expired, or its user is gone."""
        parts = text.split("_", 2)
        found = self._records.get(f"token/{parts[1]}") if len(parts) == 3 and parts[0] == "sk" else None
        if found is None:
            return None
        token = ApiToken.model_validate(found)
        user = self.user(token.user)
        right = secrets.compare_digest(token.digest, digest(parts[2]))
        return (user, token) if right and user and token.expires > time.time() else None

    async def revoke(self, number: str) -> None:
        await self._records.put(f"token/{number}", None)

    async def open_setup(self) -> str:
        """A link's secret with which the first administrator is made, or one more; once, within a day."""
        secret = secrets.token_urlsafe(32)
        await self._records.put(_setup(secret), {"expires": time.time() + SETUP_S})
        return secret

    def is_setup(self, secret: str) -> bool:
        found = self._records.get(_setup(secret))
        return bool(found) and float(found["expires"]) > time.time()

    async def set_up(self, secret: str, name: str, password: str) -> User:
        """The administrator; an existing user of that name gets the password and becomes one."""
        if not self.is_setup(secret):
            raise HttpError(410, "gone", "this link was used, or is too old", hint="`safekit console link` prints one")
        whole = {EVERYWHERE: "admin"}
        if self.user(name):
            user = await self.change(name, password=password, grants=whole)
        else:
            user = await self.add(name, password, whole)
        for key in self._records.below("setup/"):
            await self._records.put(f"setup/{key}", None)
        return user


def _setup(secret: str) -> str:
    return f"setup/{digest(secret)}"


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

"""Signing in with the password of a directory: who it is, and in which groups."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from safekit_console.errors import HttpError
from safekit_console.settings import ConsoleSettings
from safekit_console.signin import Person, secret_of, usable_name
from safekit_console.signin.ldap import Connection, DirectoryError

ANSWER_S: Final = 8.0
AT_ONCE: Final = 4


class Directory:
    def __init__(self, settings: ConsoleSettings) -> None:
        self._settings = settings
        self._asking = asyncio.Semaphore(AT_ONCE)

    async def who(self, name: str, password: str) -> Person | None:
        """None when there is nobody of this name, or several, or it is not the password. HttpError 503 when the
        directory cannot be asked."""
        try:
            async with asyncio.timeout(ANSWER_S), self._asking, self._connection() as connection:
                return await self._who(connection, name, password)
        except (DirectoryError, OSError, EOFError, TimeoutError) as error:
            why = str(error) if isinstance(error, DirectoryError) else type(error).__name__
            raise HttpError(
                503, "directory", f"the directory cannot be asked: {why}", hint="local users can sign in all the same"
            ) from None

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """As the console's own account there, or as nobody."""
        known = self._settings
        host, _, port = known.ldap_host.rpartition(":") if ":" in known.ldap_host else (known.ldap_host, "", "636")
        trust = ssl.create_default_context(cafile=str(known.ldap_ca) if known.ldap_ca else None)
        connection = await Connection.open(host.strip("[]"), int(port), trust)
        try:
            if known.ldap_bind_dn and not await connection.bind(known.ldap_bind_dn, secret_of(known.ldap_secret_file)):
                raise DirectoryError("it does not take the console's own password")
            yield connection
        finally:
            connection.close()

    async def _who(self, connection: Connection, name: str, password: str) -> Person | None:
        """The password is tried last: from then on the connection is the user's, who may not see all groups."""
        known = self._settings
        if not name or not password:
            return None
        found = await connection.search(known.ldap_base, known.ldap_name, name, known.ldap_name, 2)
        if len(found) != 1:
            return None
        (entry,) = found
        called = next(iter(entry.values.get(known.ldap_name.lower(), ())), name)
        member = name if known.ldap_member.lower() == "memberuid" else entry.dn
        base = known.ldap_groups_base or known.ldap_base
        groups = await connection.search(base, known.ldap_member, member, "cn", 0)
        if not await connection.bind(entry.dn, password):
            return None
        names = [name for group in groups for name in group.values.get("cn", ())]
        return Person(usable_name(called, known.ldap_name), entry.dn[:255], names)

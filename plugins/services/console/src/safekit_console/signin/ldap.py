"""As much of LDAP (RFC 4511) as signing in needs: bind, and a search for one value. By TLS from the first byte on;
every message is bounded, no referral is followed, and a value is never a part of a filter's text."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pyasn1.codec.ber import decoder, encoder
from pyasn1.error import PyAsn1Error
from pyasn1_modules import rfc2251

MESSAGE_BYTES: Final = 1 << 20
ENTRIES: Final = 500
SUCCESS, WRONG_PASSWORD = 0, 49
SIZE_EXCEEDED: Final = 4


class DirectoryError(Exception):
    """The directory cannot be asked, or says what it should not."""


@dataclass(frozen=True, slots=True)
class Entry:
    dn: str
    values: dict[str, list[str]]
    """By the attribute's name in small letters."""


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._number = 0

    @classmethod
    async def open(cls, host: str, port: int, trust: ssl.SSLContext) -> Connection:
        return cls(*await asyncio.open_connection(host, port, ssl=trust))

    def close(self) -> None:
        self._writer.close()

    async def bind(self, dn: str, password: str) -> bool:
        """Whether it is the password. An empty one would be no proof: the protocol takes it for nobody's."""
        if not dn or not password:
            return False
        request = rfc2251.BindRequest()
        request["version"], request["name"] = 3, dn.encode()
        request["authentication"]["simple"] = password.encode()
        await self._send("bindRequest", request)
        code = int((await self._receive("bindResponse"))["resultCode"])
        if code not in {SUCCESS, WRONG_PASSWORD}:
            raise DirectoryError(f"it answers the sign-in with code {code}")
        return code == SUCCESS

    async def search(self, base: str, attribute: str, value: str, wanted: str, limit: int) -> list[Entry]:
        """Entries below `base` whose attribute has this value, with the wanted attribute."""
        request = rfc2251.SearchRequest()
        request["baseObject"], request["scope"], request["derefAliases"] = base.encode(), 2, 0
        request["sizeLimit"], request["timeLimit"], request["typesOnly"] = limit, 5, False
        request["filter"]["equalityMatch"]["attributeDesc"] = attribute.encode()
        request["filter"]["equalityMatch"]["assertionValue"] = value.encode()
        request["attributes"].extend([wanted.encode()])
        await self._send("searchRequest", request)
        found: list[Entry] = []
        while True:
            kind, body = await self._next()
            if kind == "searchResEntry" and len(found) < ENTRIES:
                found.append(_entry(body))
            elif kind == "searchResDone":
                code = int(body["resultCode"])
                if code not in {SUCCESS, SIZE_EXCEEDED}:
                    raise DirectoryError(f"it answers the search with code {code}")
                return found
            elif kind != "searchResRef":
                raise DirectoryError("it answers a search with something else, or with too much")

    async def _send(self, kind: str, body: Any) -> None:
        self._number += 1
        message = rfc2251.LDAPMessage()
        message["messageID"] = self._number
        message["protocolOp"][kind] = body
        self._writer.write(encoder.encode(message))
        await self._writer.drain()

    async def _receive(self, kind: str) -> Any:
        found, body = await self._next()
        if found != kind:
            raise DirectoryError("it answers with something else")
        return body

    async def _next(self) -> tuple[str, Any]:
        data = await self._read()
        try:
            message, rest = decoder.decode(data, asn1Spec=rfc2251.LDAPMessage())
        except (PyAsn1Error, ValueError, RecursionError):
            raise DirectoryError("it does not speak LDAP") from None
        if rest or int(message["messageID"]) != self._number:
            raise DirectoryError("it answers what was not asked")
        return str(message["protocolOp"].getName()), message["protocolOp"].getComponent()

    async def _read(self) -> bytes:
        head = await self._reader.readexactly(2)
        size = head[1]
        if size & 0x80:
            more = await self._reader.readexactly(min(size & 0x7F, 4))
            head, size = head + more, int.from_bytes(more, "big")
        if head[0] != 0x30 or size > MESSAGE_BYTES:
            raise DirectoryError("it does not speak LDAP, or says too much")
        return head + await self._reader.readexactly(size)


def _entry(body: Any) -> Entry:
    return Entry(_text(body["objectName"]), dict(_attributes(body["attributes"])))


def _attributes(found: Any) -> Iterator[tuple[str, list[str]]]:
    for attribute in found:
        yield _text(attribute["type"]).lower(), [_text(value) for value in attribute["vals"]]


def _text(value: Any) -> str:
    return bytes(value).decode(errors="replace")

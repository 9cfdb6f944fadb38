"""Records that every node keeps a copy of, for a service such as the console: its users and what it signs with.

Each record has a number that grows with its changes; of two copies the later one counts, everywhere the same. A node
that was away gets what it missed from the service, which asks all nodes and hands on what is newer.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from safekit.config.durable import replace_file
from safekit.daemon.operations import Args, Operations, Power
from safekit_sdk import ConfigError

MAX_RECORDS: Final = 5000
MAX_VALUE_CHARS: Final = 16384
Key = Annotated[str, Field(min_length=1, max_length=200)]


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    number: Annotated[int, Field(ge=1, lt=1 << 53)]
    value: Annotated[str, Field(max_length=MAX_VALUE_CHARS)]
    """Empty: the record was deleted. It stays, so that an old copy does not bring it back."""


class SharedArgs(Args):
    service: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


class ShareArgs(SharedArgs):
    records: Annotated[dict[Key, Record], Field(max_length=MAX_RECORDS)]


_RECORDS: Final = TypeAdapter(dict[Key, Record])


class Shared:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._one_at_a_time = asyncio.Lock()

    def register(self, operations: Operations) -> None:
        operations.add("shared", SharedArgs, self.shared, peers=True, needs=Power.LOOK)
        operations.add("share", ShareArgs, self.share, peers=True, needs=Power.LOOK)

    async def shared(self, args: SharedArgs) -> dict[str, Any]:
        return _plain(await asyncio.to_thread(self._read, args.service))

    async def share(self, args: ShareArgs) -> dict[str, int]:
        """Keep what is newer than what is here; on disk when it returns."""
        async with self._one_at_a_time:
            known = await asyncio.to_thread(self._read, args.service)
            newer = {key: one for key, one in args.records.items() if _is_newer(one, known.get(key))}
            if newer:
                await asyncio.to_thread(self._write, args.service, known | newer)
        return {"taken": len(newer)}

    def _file(self, service: str) -> Path:
        return self._directory / f"{service}.json"

    def _read(self, service: str) -> dict[str, Record]:
        try:
            return _RECORDS.validate_json(self._file(service).read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError:
            raise ConfigError(
                "the records of a service are damaged", where=str(self._file(service)), hint="move the file away"
            ) from None

    def _write(self, service: str, records: dict[str, Record]) -> None:
        if len(records) > MAX_RECORDS:
            raise ConfigError(f"a service may keep {MAX_RECORDS} records, and no more")
        self._directory.mkdir(mode=0o700, exist_ok=True)
        replace_file(self._file(service), json.dumps(_plain(records)).encode(), 0o600)


def _is_newer(one: Record, known: Record | None) -> bool:
    """Two changes with one number were made apart from each other: every node chooses the same of them."""
    return known is None or (one.number, one.value) > (known.number, known.value)


def _plain(records: dict[str, Record]) -> dict[str, Any]:
    return {key: one.model_dump() for key, one in records.items()}

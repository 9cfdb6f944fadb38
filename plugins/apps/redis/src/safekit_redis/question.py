"""The question that a living server answers, and what it means when it does not."""

from __future__ import annotations

import asyncio
from typing import Final

from safekit_redis.resp import AnsweredError, Client, connected
from safekit_redis.server import Server
from safekit_sdk import Verdict

LOADING: Final = "it loads its data"
_NOT_DOWN: Final = {
    "LOADING": LOADING,
    "BUSY": "a script keeps it busy",
    "NOAUTH": "it lets the check not in: see `account:` and `password:`",
    "WRONGPASS": "it lets the check not in: see `account:` and `password:`",
    "NOPERM": "it lets the check not in: see `account:` and `password:`",
    "OOM": "it is short of memory: see `maxmemory`",
}
_FULL: Final = "max number of clients"


async def ask(server: Server, challenge: str) -> Verdict:
    """Up by an answer; unknown while it loads, is full, or does not let the check in; down else. ConfigError when the
    password cannot be read."""
    config = server.config
    password = config.password.reveal() if config.password else None
    try:
        async with (
            asyncio.timeout(config.timeout.seconds),
            connected(server.place, config.account, password) as client,
        ):
            await _exchange(client, config.key, challenge)
    except AnsweredError as error:
        if error.kind in _NOT_DOWN or _FULL in str(error):
            return Verdict.unknown(f"{_NOT_DOWN.get(error.kind, 'it is full')}: {error}")
        return Verdict.down(f"it answers by an error: {error}")
    except TimeoutError:
        return Verdict.down(f"no answer within {config.timeout}")
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        return Verdict.down(f"no answer: {error}")
    return Verdict.up("it answers")


async def _exchange(client: Client, key: str | None, challenge: str) -> None:
    """A server that cannot write to its disks answers a PING by an error too."""
    if key is None:
        if (said := await client.ask("PING")) != "PONG":
            raise ValueError(f"{said[:50]!r} is no PONG")
        return
    await client.ask("SET", key, challenge)
    if (read := await client.ask("GET", key)) != challenge:
        raise ValueError(f"it gave {read[:50]!r} back for {challenge!r}")


async def log_every_write(server: Server) -> None:
    """Turn the append-only file on in a server that runs, which makes one of the data it has loaded; done when it is
    on the disk."""
    config = server.config
    password = config.password.reveal() if config.password else None
    async with connected(server.place, config.account, password) as client:
        await client.ask("CONFIG", "SET", "appendonly", "yes")
        while True:
            lines = (await client.ask("INFO", "persistence")).splitlines()
            known = dict(line.partition(":")[::2] for line in lines)
            if known.get("aof_rewrite_in_progress") == "0" and known.get("aof_rewrite_scheduled") == "0":
                break
            await asyncio.sleep(0.05)
        if (known.get("aof_enabled"), known.get("aof_last_bgrewrite_status")) != ("1", "ok"):
            raise ValueError("the append-only file could not be made: is the disk full?")

"""The question that a living server answers, and what it means when it does not."""

from __future__ import annotations

import re
from typing import Final

from safekit_mariadb.server import Server
from safekit_sdk import Verdict
from safekit_sdk.installed import CLEAN
from safekit_sdk.process import run

_ERROR: Final = re.compile(r"^ERROR (\d+) ", re.MULTILINE)
_FULL: Final = frozenset({1040, 1041, 1203, 1226})
"""Too many connections, out of memory, limits of an account."""
_NO_ENTRY: Final = frozenset({1044, 1045, 1130, 1698, 1862})


async def ask(server: Server) -> Verdict:
    """Up by an answer; unknown while the server is full, or does not let the check in; down else."""
    config = server.config
    extra = [f"--defaults-file={config.client_config}"] if config.client_config else ["--no-defaults"]
    # Without TLS, which a unix socket does not need: with it the client hides the server's errors by one of its own.
    place = ["--skip-ssl", f"--socket={server.socket}", f"--user={config.account}"]
    done = await run(
        [str(server.client), *extra, "-BN", *place, "-e", config.query],
        timeout_s=config.timeout.seconds,
        env=CLEAN,
        grace_s=0.0,
    )
    if done.ok:
        return Verdict.up(f"it answers on {server.socket}")
    if done.timed_out:
        return Verdict.down(f"no answer within {config.timeout}")
    found = _ERROR.search(done.output)
    code = int(found[1]) if found else 0
    if code in _FULL:
        return Verdict.unknown(f"short of connections or memory: {done.why()}")
    if code in _NO_ENTRY:
        return Verdict.unknown(f"it lets the check not in: {done.why()}; see `account:` and `client_config:`")
    return Verdict.down(done.why())

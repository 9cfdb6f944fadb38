"""The question that a living server answers, and what it means when it does not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safekit_postgresql.installation import Installation
from safekit_postgresql.knock import Knock, knock
from safekit_postgresql.lock_file import LockFile
from safekit_sdk import Verdict
from safekit_sdk.installed import CLEAN
from safekit_sdk.process import Completed, run

_NO_ENTRY: Final = 2
"""psql's exit status when it could not connect."""
_NOT_LET_IN: Final = re.compile(r"authentication|password|pg_hba\.conf|role \"|database \"[^\"]*\" does not exist")
LOSSES: Final = {
    "fsync": "transactions that were acknowledged, or all data, can be lost by a power cut",
    "full_page_writes": "a power cut can damage pages beyond recovery",
    "synchronous_commit": "transactions are acknowledged before they are on the disks, and the last can be lost",
}
"""Settings that break the promise of a mirror when they are off."""
_OFF: Final = (
    "SELECT name || ' of the server' FROM pg_settings WHERE setting = 'off' AND name = ANY('{%(names)s}') UNION ALL "
    "SELECT split_part(c, '=', 1) || ' of ' || coalesce(d.datname, '') || coalesce(' ' || r.rolname, '') "
    "FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) c LEFT JOIN pg_database d ON d.oid = s.setdatabase "
    "LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE c = ANY('{%(pairs)s}')"
)


@dataclass(frozen=True, slots=True)
class Question:
    installation: Installation
    lock: LockFile

    async def ask(self) -> Verdict:
        """Up by an answer; unknown while the server recovers, is full, or does not let the check in; down else."""
        config = self.installation.config
        done = await self._run(config.query)
        if done.ok:
            return Verdict.up(f"it answers on {self.lock.socket}")
        if not done.timed_out and done.returncode != _NO_ENTRY:
            return Verdict.down(f"the query failed: {done.why()}")
        said, words = await knock(self.lock.socket, config.user, config.timeout.seconds)
        if said in (Knock.RECOVERING, Knock.FULL):
            return Verdict.unknown(f"{said}: {words}")
        if said is Knock.OPEN and not done.timed_out and _NOT_LET_IN.search(done.output):
            return Verdict.unknown(f"it lets the check not in: {done.why()}; see pg_hba.conf, `user:`, `database:`")
        what = f"no answer within {config.timeout}" if done.timed_out else done.why()
        return Verdict.down(f"{what}; the server {said}{': ' + words if words else ''}")

    async def losses(self) -> tuple[str, ...]:
        """What of the present settings may lose acknowledged transactions, one sentence each."""
        names, pairs = ",".join(LOSSES), ",".join(f"{name}=off" for name in LOSSES)
        done = await self._run(_OFF % {"names": names, "pairs": pairs})
        found = (line.partition(" ")[::2] for line in done.output.splitlines() if done.ok)
        return tuple(f"{name} is off {where}: {LOSSES[name]}" for name, where in found if name in LOSSES)

    async def _run(self, query: str) -> Completed:
        config, lock = self.installation.config, self.lock
        place = ["-h", str(Path(lock.sockets)), "-p", str(lock.port), "-U", config.user, "-d", config.database]
        return await run(
            [str(self.installation.programs / "psql"), "-XwAtq", *place, "-c", query],
            timeout_s=config.timeout.seconds,
            env={**CLEAN, "PGAPPNAME": "safekit"},
            cwd=Path("/"),
            user=config.user,
            grace_s=0.0,
        )

"""What a process that is killed leaves of the programs that it ran."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from safekit_sdk.procfs import process_stat, session_members

RUNS = """
import asyncio
from pathlib import Path
from safekit_sdk.process import launch, run
launch(["/bin/sleep", "60"], output=Path({log!r}))
asyncio.run(run(["/bin/sh", "-c", "echo $$ > {pid}; sleep 60 & exec sleep 60"], timeout_s=60))
"""


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def alive(pid: int) -> bool:
    stat = process_stat(pid)
    return stat is not None and stat.alive


async def test_what_runs_in_the_foreground_dies_with_a_killed_process_and_what_was_launched_lives(
    tmp_path: Path,
) -> None:
    pid_file = tmp_path / "pid"
    code = RUNS.format(log=str(tmp_path / "log"), pid=pid_file)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, start_new_session=True)
    async with asyncio.timeout(30):
        while not (pid_file.exists() and pid_file.read_text().strip()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    running = int(pid_file.read_text())
    (launched,) = children(process.pid) - {running}
    try:
        process.kill()
        await process.wait()
        async with asyncio.timeout(10):
            while alive(running):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert alive(launched)
    finally:
        for pid in (launched, *session_members(running)):
            os.kill(pid, 9)

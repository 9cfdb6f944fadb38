"""`safekit-host MODULE IDENTITY SOCKET`: started by the daemon, one per module. `--compile` is a plain
filter: a module's files in, its compiled configuration out, so that the daemon imports no plugin."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from safekit.bus.hosts import HostClient, stall_file
from safekit.bus.sockets import Context
from safekit.host.host import Host
from safekit.host.stalls import Stalls
from safekit.logs import configure_logs
from safekit_sdk.parentage import end_with_parent


def main() -> None:
    _be_ordinary()
    if sys.argv[1:2] == ["--compile"]:
        from safekit.host.compiling import compile_from_stdin

        sys.exit(compile_from_stdin())
    if len(sys.argv) != 4:
        sys.exit("safekit-host is started by safekitd: safekit-host MODULE IDENTITY SOCKET")
    module, identity, path = sys.argv[1:]
    end_with_parent(signal.SIGTERM)
    configure_logs(f"host {module}")
    asyncio.run(_serve(identity, Path(path), Stalls(stall_file(Path(path), module))))


async def _serve(identity: str, path: Path, stalls: Stalls) -> None:
    context = Context()
    client = HostClient(context, path, identity)
    try:
        await Host(client, os.getpid(), stalls.turned).serve()
    finally:
        client.close()
        context.term()


def _be_ordinary() -> None:
    """The daemon protects itself from the out-of-memory killer; plugins and applications are not to inherit it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("0")


if __name__ == "__main__":
    main()

"""`safekitd`: the daemon in the foreground. `safekit daemon start` puts it into the background."""

from __future__ import annotations

import asyncio
import sys

from safekit.daemon.daemon import Daemon
from safekit.logs import bound_log, configure_logs
from safekit.settings import Settings
from safekit_sdk import SafekitError


def main() -> None:
    configure_logs("safekitd")
    try:
        asyncio.run(_run(Settings()))
    except SafekitError as error:
        print(f"safekitd: {error}", file=sys.stderr)
        sys.exit(1)


async def _run(settings: Settings) -> None:
    bound_log(settings.log_mib << 20)
    await Daemon(settings).run()


if __name__ == "__main__":
    main()

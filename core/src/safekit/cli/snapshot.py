"""`safekit snapshot`: the whole cluster in one file, for whoever helps."""

from __future__ import annotations

import base64
import os
import socket
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from safekit.cli.ask import answers, ask
from safekit.settings import Settings
from safekit_sdk import ConfigError

MADE_S: Final = 90.0


def register(app: typer.Typer) -> None:
    app.command()(snapshot)


def snapshot(
    out: Annotated[
        Path | None, typer.Option("--out", help="The file, .tar.gz; safekit-NODE-TIME.tar.gz here when absent.")
    ] = None,
) -> None:
    """Write what every node that can be reached says, remembers and is set up with into one file, without its secrets,
    for `safekit doctor FILE` and for whoever helps. Also where safekitd does not run: then of this machine only."""
    from safekit.snapshot import is_snapshot

    if out is not None and not is_snapshot(out.name):
        raise ConfigError("a snapshot's name ends with .tar.gz", where=str(out))
    node, archive, missing = _asked() if answers() else _alone()
    path = out or Path(f"safekit-{node}-{time.strftime('%Y%m%d-%H%M%S')}.tar.gz")
    _write(path, archive)
    for name, trouble in missing.items():
        print(f"safekit: {name} is not in it: {trouble}", file=sys.stderr)
    print(path)


def _asked() -> tuple[str, bytes, dict[str, str]]:
    found: dict[str, Any] = ask("snapshot", timeout_s=MADE_S)
    return str(ask("ping")["node"]), base64.b64decode(found["archive"]), found["missing"]


def _alone() -> tuple[str, bytes, dict[str, str]]:
    from safekit import __version__
    from safekit.daemon.aftermath import examine_without_daemon
    from safekit.snapshot import Gathered, compose, make_part
    from safekit.snapshot.archive import Manifest, NodeNote

    settings = Settings()
    trouble = examine_without_daemon(settings)
    node, made = trouble.node or socket.gethostname(), time.time()
    part = make_part(settings, Gathered(node=node, daemon=trouble))
    manifest = Manifest(made=made, asker=node, version=__version__, nodes={node: NodeNote()})
    return node, compose(manifest, {node: part}), {"every other node": f"safekitd of {node} does not answer"}


def _write(path: Path, archive: bytes) -> None:
    """A new file that only its owner reads."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(archive)
    except OSError as error:
        raise ConfigError(f"the snapshot cannot be written: {error.strerror}", where=str(path)) from None

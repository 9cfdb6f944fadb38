"""A systemd unit that gives the witness its directory and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

_TEXT = """\
[Unit]
Description=Witness of safekit clusters
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={program} run --dir {directory}
Restart=on-failure
RestartSec=1
{account}NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ReadWritePaths={directory}
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
MemoryMax=1G
TasksMax=32
LimitNOFILE=4096

[Install]
WantedBy=multi-user.target
"""


def text(directory: Path) -> str:
    """For the program that runs now, as the owner of the directory when that exists and is not root."""
    program = Path(sys.executable).parent / "safekit-witness"
    uid = directory.stat().st_uid if directory.is_dir() else 0
    account = f"User={uid}\n" if uid else ""
    return _TEXT.format(program=program, directory=directory.resolve(), account=account)

"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safekit.cli.output import Format

Output = Annotated[Format, typer.Option("-o", "--output", help="Form of what is printed.")]
On = Annotated[list[str] | None, typer.Option("--on", help="On this node; may be given several times.")]
All = Annotated[bool, typer.Option("--all", help="On every node of the cluster.")]
File = Annotated[
    Path | None,
    typer.Option("--file", help="Of a snapshot (.tar.gz), or of a copied history.db, instead of what runs."),
]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait at most.", min=0.1, max=86400)]

"""The options that several commands share, and how an error reaches people."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from .error import LabError
from .report import Format

Name = Annotated[str, typer.Option("--name", help="Which lab.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="How to print.")]


@contextmanager
def errors_for_people() -> Iterator[None]:
    """Exit 1 with the message of a LabError."""
    try:
        yield
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error

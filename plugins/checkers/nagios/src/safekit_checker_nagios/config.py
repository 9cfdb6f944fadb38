"""What a module file says about a Monitoring plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from safekit_sdk import CheckerConfig, Duration

PLUGIN_PLACES = ("/usr/lib/nagios/plugins", "/usr/lib64/nagios/plugins", "/usr/lib/monitoring-plugins")
"""Where Debian, Fedora and SUSE put them."""


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError(f"'{path}' is not an absolute path; begin it with /")
    return path


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("an argument cannot contain a NUL character")
    return text


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Argument = Annotated[str, Field(max_length=4096), AfterValidator(_no_nul)]
Argv = Annotated[tuple[Argument, ...], Field(min_length=1, max_length=256)]


class NagiosConfig(CheckerConfig):
    command: Argv
    """The plugin and its arguments, as a list. A name alone is looked for where distributions put the plugins."""
    warning: Literal["up", "down"] = "up"
    """What WARNING (exit code 1) means."""
    user: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Who runs it; root when absent."""
    directory: AbsolutePath | None = None
    """Its working directory; / when absent."""
    timeout: Duration = Duration(15)
    """A run that takes longer is killed and counts as unknown; nine tenths are given to the plugin. Longer than the
    plugin's own limit (`-t`, mostly 10 s), so that it can say itself that what it asked is silent."""

    @field_validator("command")
    @classmethod
    def _names_a_program(cls, command: Argv) -> Argv:
        if not command[0]:
            raise ValueError("the first element of command is the plugin; it is empty")
        return command

    @property
    def label(self) -> str:
        """The plugin, without its directory: arguments may be secrets."""
        return Path(self.command[0]).name or self.command[0]

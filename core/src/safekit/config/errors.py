"""Several mistakes of one file, told together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from safekit_sdk import ConfigError, SafekitError

MAX_SHOWN: Final = 50


class ConfigErrors(ConfigError):  # noqa: N818 - several of them
    """What is wrong with a configuration, in the order of the file. `errors` has at least one; a single one gives
    its message, place and hint."""

    def __init__(self, errors: Iterable[SafekitError]) -> None:
        self.errors = tuple(sorted(errors, key=_place))
        first = self.errors[0]
        if len(self.errors) == 1:
            super().__init__(first.message, where=first.where, hint=first.hint)
            return
        shown = "\n".join(str(error) for error in self.errors[:MAX_SHOWN])
        more = f"\n… and {len(self.errors) - MAX_SHOWN} more" if len(self.errors) > MAX_SHOWN else ""
        super().__init__(f"{len(self.errors)} mistakes:\n{shown}{more}")


class Findings:
    """Gathers errors so that one look at a file tells them all."""

    def __init__(self) -> None:
        self.errors: list[SafekitError] = []

    def add(self, error: SafekitError) -> None:
        self.errors.extend(error.errors if isinstance(error, ConfigErrors) else [error])

    def raise_any(self) -> None:
        if self.errors:
            raise ConfigErrors(self.errors)


def _place(error: SafekitError) -> tuple[int, int]:
    found = re.search(r":(\d+):(\d+)$", error.where)
    return (int(found[1]), int(found[2])) if found else (0, 0)

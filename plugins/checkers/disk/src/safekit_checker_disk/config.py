"""What a module file says about a file system."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from safekit_sdk import CheckerConfig, Duration, FailureAction

_UNITS = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,3})?) ?([A-Za-z]*)")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?) ?%")


def _text(value: Any) -> Any:
    """A plain number is one of bytes, or of inodes."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _amount(text: str) -> str:
    least(text, 100)
    return text


def _inodes(text: str) -> str:
    if not (_PERCENT.fullmatch(text) or text.isdecimal()):
        raise ValueError(f"'{text}' is not a number of inodes; write it as 1% or 1000")
    return _amount(text)


def least(text: str, whole: int) -> int:
    """How much `5%` or `500MiB` is of this whole. ValueError when it is no such text."""
    percent, size = _PERCENT.fullmatch(text), _SIZE.fullmatch(text)
    if percent and Decimal(percent[1]) < 100:
        return int(whole * Decimal(percent[1]) / 100)
    if size and size[2] in _UNITS:
        return int(Decimal(size[1]) * _UNITS[size[2]])
    raise ValueError(f"'{text}' is not an amount; write it as 5% (less than 100%), 500MiB or 2GB")


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or ".." in path.parts or "\0" in str(path):
        raise ValueError(f"'{path}' is not an absolute path")
    return path


_SCHEMA = WithJsonSchema({"type": "string", "examples": ["5%", "500MiB", "2GB"]})
Amount = Annotated[str, Field(max_length=32), BeforeValidator(_text), AfterValidator(_amount), _SCHEMA]
_INODES_SCHEMA = WithJsonSchema({"type": "string", "examples": ["1%", "1000"]})
Inodes = Annotated[str, Field(max_length=32), BeforeValidator(_text), AfterValidator(_inodes), _INODES_SCHEMA]
Directory = Annotated[Path, AfterValidator(_absolute)]


class DiskConfig(CheckerConfig):
    path: Directory
    """A directory on the file system, best the one that it is mounted on."""
    mounted: bool = False
    """Whether it is down when nothing is mounted at `path` itself."""
    min_free: Amount = "2%"
    """The least free space, for users other than root: a part (`5%`) or a size (`500MiB`). 0: not looked at."""
    min_free_inodes: Inodes = "1%"
    """The least free inodes: a part or a number. 0: not looked at."""
    writable: bool = True
    """Whether it is down when mounted read-only, and when a small file cannot be written and synced in `path`."""
    stall: Duration = Duration(8)
    """A look, with its write and sync, that takes longer is a stall: down."""
    interval: Duration = Duration(5)
    """Time from the start of one look to the start of the next."""
    timeout: Duration = Duration(10)
    """A look that takes longer counts as unknown; `stall` is the time that the disk has."""
    fall: int = Field(default=2, ge=1, le=100)
    """Bad looks in a row before it says down."""
    action: FailureAction = "stopstart"
    """What the generated rule does when the verdict is down."""

    @model_validator(mode="after")
    def _told_in_time(self) -> Self:
        if not 0 < self.stall.seconds <= self.patience_s:
            raise ValueError(f"`stall` ({self.stall}) must be at most nine tenths of `timeout` ({self.timeout})")
        return self

"""Sizes and times as people write them."""

import re

from .error import LabError

_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_TIMES = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


def parse_size(text: str) -> int:
    """Bytes from 512M, 1G, 64K or a plain number."""
    match = re.fullmatch(r"(\d+)([KMG]?)", text.upper())
    if match is None:
        raise LabError(f"{text!r} is not a size; write for example 512M or 2G")
    return int(match[1]) * _SIZES[match[2]]


def parse_duration(text: str) -> float:
    """Seconds from 10ms, 2.5s, 3m, 1h or a plain number of seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", text)
    if match is None:
        raise LabError(f"{text!r} is not a duration; write for example 10ms, 5s or 2m")
    return float(match[1]) * _TIMES[match[2]]

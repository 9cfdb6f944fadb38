"""What the kernel tells about the machine and a cgroup. Each reading raises BlindError when it does not tell it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_WHICH_TASKS = {"cpu": "some", "memory": "full", "io": "full"}
"""The kernel does not know of a time in which every task waits for a processor: the one that has it runs."""


class BlindError(Exception):
    """It cannot be known here; why, and what would change it."""


@dataclass(frozen=True, slots=True)
class Memory:
    available_percent: float
    swap_free_percent: float | None
    """None without swap."""


def load_averages(proc: Path = PROC) -> dict[str, float]:
    """proc_loadavg(5), by `1m`, `5m`, `15m`."""
    fields = _text(proc / "loadavg").split()
    return dict(zip(("1m", "5m", "15m"), map(float, fields), strict=False))


def processors() -> int:
    return os.cpu_count() or 1


def memory(proc: Path = PROC) -> Memory:
    """proc_meminfo(5)."""
    size = {name: int(rest.split()[0]) for name, rest in _pairs(_text(proc / "meminfo"), ":")}
    swap = size.get("SwapTotal", 0)
    return Memory(
        100 * size["MemAvailable"] / size["MemTotal"],
        100 * size["SwapFree"] / swap if swap else None,
    )


def pressure(resource: str, average: str, cgroup: Path | None, proc: Path = PROC) -> float:
    """Percent of the time, of the cgroup if it is given: Documentation/accounting/psi.rst of Linux."""
    path = proc / "pressure" / resource if cgroup is None else cgroup / f"{resource}.pressure"
    try:
        text = _text(path)
    except BlindError as blind:
        raise BlindError(f"pressure is not accounted here ({blind}); boot with psi=1") from None
    wanted = next((rest for kind, rest in _pairs(text, " ") if kind == _WHICH_TASKS[resource]), "")
    averages = dict(word.split("=", 1) for word in wanted.split())
    return float(averages[f"avg{average.removesuffix('s')}"])


def memory_events(cgroup: Path | None) -> dict[str, int]:
    """How often each event was, from the birth of the cgroup on: cgroup-v2.rst, memory.events."""
    if cgroup is None:
        raise BlindError("the module has no cgroup; mount cgroup version 2 writable")
    try:
        return {name: int(count) for name, count in _pairs(_text(cgroup / "memory.events"), " ")}
    except BlindError as blind:
        raise BlindError(
            f"the memory of the module's cgroup is not accounted ({blind}); boot with "
            "systemd.unified_cgroup_hierarchy=1, or use machine_oom_kill"
        ) from None


def machine_oom_kills(proc: Path = PROC) -> dict[str, int]:
    """Since the boot, in whatever cgroup."""
    counts = dict(_pairs(_text(proc / "vmstat"), " "))
    if "oom_kill" not in counts:
        raise BlindError("this kernel does not count OOM kills; Linux 4.13 does")
    return {"oom_kill": int(counts["oom_kill"])}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise BlindError(f"{path}: {(error.strerror or str(error)).lower()}") from None


def _pairs(text: str, separator: str) -> list[tuple[str, str]]:
    """Name and rest of each line."""
    lines = (line.partition(separator) for line in text.splitlines())
    return [(name, rest) for name, found, rest in lines if found]

"""A wall clock of a node's own. Linux has one CLOCK_REALTIME for all namespaces, so a library preloaded into the
node's programs adds an offset: to those started after the first step, which then follow every later one at once."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

from .error import LabError

_HOME = Path("/var/lib/safekit-lab")
_LIBRARY = _HOME / "clock.so"
_OFFSET = _HOME / "clock.offset"
_PRELOAD = Path("/etc/ld.so.preload")
_NANOSECONDS = struct.Struct("=q")
_COMPILE_S = 60.0


def step(root: Path, cache: Path, seconds: float) -> None:
    """Move the clock of the node whose root directory is given. The library is compiled once into cache."""
    _install(root, cache)
    with _in(root, _OFFSET).open("r+b") as file:
        (offset,) = _NANOSECONDS.unpack(file.read(_NANOSECONDS.size))
        file.seek(0)
        file.write(_NANOSECONDS.pack(offset + round(seconds * 1e9)))


def _install(root: Path, cache: Path) -> None:
    """The list of preloads comes last and at once: from then on every program of the node reads it."""
    _in(root, _HOME).mkdir(parents=True, exist_ok=True)
    if not _in(root, _OFFSET).exists():
        _in(root, _OFFSET).write_bytes(_NANOSECONDS.pack(0))
    if not _in(root, _LIBRARY).exists():
        _place(_compiled(cache).read_bytes(), _in(root, _LIBRARY))
    preloads = _in(root, _PRELOAD).read_text() if _in(root, _PRELOAD).exists() else ""
    if str(_LIBRARY) not in preloads:
        _place(f"{_LIBRARY}\n{preloads}".encode(), _in(root, _PRELOAD))


def _compiled(cache: Path) -> Path:
    library = cache / "clock.so"
    if library.exists():
        return library
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise LabError("clock-step compiles a small library and found no C compiler; apt-get install gcc libc6-dev")
    draft = cache / f"clock.{os.getpid()}.so"
    source = Path(__file__).with_name("clock.c")
    options = ["-O2", "-fPIC", "-shared", f'-DOFFSET_FILE="{_OFFSET}"', "-o", str(draft), str(source), "-ldl"]
    done = subprocess.run([compiler, *options], capture_output=True, text=True, timeout=_COMPILE_S, check=False)
    if done.returncode != 0:
        raise LabError(f"{compiler} could not compile {source}: {done.stderr[-1000:]}")
    return draft.replace(library)


def _place(data: bytes, file: Path) -> None:
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_bytes(data)
    draft.chmod(0o755)
    draft.replace(file)


def _in(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")

"""The process that does the harm of a drill and undoes it: at its time, when it is told to, or when it is in the way.

It is started before the drill and holds nothing of who started it. A second one of it, the backstop, waits for its end
and undoes everything once more: whatever ends this one."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Final

from pydantic import BaseModel, ConfigDict

from safekit_rehearse.harm import Harm, Order, unit_of
from safekit_rehearse.harms import HARMS
from safekit_sdk import RefusedError
from safekit_sdk.cgroup import make_cgroup, unified_mount
from safekit_sdk.control import error_body

LOCK: Final = "rehearse.lock"
RECORD: Final = "rehearse.json"
READY: Final = "ready\n"
GO: Final = "go\n"
DELAY_S: Final = 0.5
GO_S: Final = 20.0
"""So long it waits for the word; without it nothing is done."""
LATE_S: Final = 5.0
"""So much later the backstop ends a guard that has not ended by itself."""
BACKSTOP: Final = "--backstop"
_FIRM: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Record(BaseModel):
    """What became of the last drill on this node, for who was cut off from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    begun: float
    """Unix time."""
    done: str = ""
    undone: float | None = None
    trouble: str = ""

    def write(self, run: str) -> None:
        """A disk that is full is no reason not to undo a drill."""
        with contextlib.suppress(OSError):
            (Path(run) / RECORD).write_text(self.model_dump_json(), encoding="utf-8")


def main() -> None:
    order = Order.model_validate_json(sys.stdin.readline())
    wakeup = _wakeup()
    _stand_apart()
    harm = HARMS[order.kind](order)
    if sys.argv[1:2] == [BACKSTOP]:
        _back_up(harm, int(sys.argv[2]))
        return
    try:
        _guard(order, harm)
    except Exception as error:  # who armed it is told, whatever it is
        print(json.dumps({"error": error_body(error).model_dump()}), flush=True)
        return
    print(json.dumps({"result": "armed"}), flush=True)
    _let_go()
    _drill(order, harm, wakeup)


def _drill(order: Order, harm: Harm, wakeup: int) -> None:
    """A moment later than it is said: the answer may have to go through what is harmed."""
    record = Record(begun=time.time())
    try:
        if not select.select([wakeup], [], [], DELAY_S)[0]:
            record = Record(begun=time.time(), done=harm.do())
            record.write(order.run)
            select.select([wakeup], [], [], order.seconds)
    except Exception as error:  # it is undone, and told
        record = record.model_copy(update={"trouble": str(error)[:2000]})
    finally:
        harm.undo()
        record.model_copy(update={"undone": time.time()}).write(order.run)


def _guard(order: Order, harm: Harm) -> None:
    """Only with the lock, a backstop that is ready, and the word."""
    global _held  # noqa: PLW0603 - it ends with the process
    _held = _lock(order)
    harm.check()
    backstop = subprocess.Popen(
        [sys.executable, "-m", __spec__.name, BACKSTOP, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    if backstop.stdin is None or backstop.stdout is None:
        raise RefusedError("the backstop has no pipes")
    print(order.model_dump_json(), file=backstop.stdin, flush=True)
    if not select.select([backstop.stdout], [], [], GO_S)[0] or backstop.stdout.readline() != READY:
        backstop.kill()
        raise RefusedError("the second guard did not start: nothing was done")
    print(READY, end="", flush=True)
    if not select.select([sys.stdin], [], [], GO_S)[0] or sys.stdin.readline() != GO:
        raise RefusedError("nobody said so: nothing was done")
    (Path(order.run) / RECORD).unlink(missing_ok=True)


def _back_up(harm: Harm, pid: int) -> None:
    """Until the guard has ended, or should have."""
    guard = os.pidfd_open(pid)
    print(READY, end="", flush=True)
    _let_go()
    if not select.select([guard], [], [], GO_S + harm.order.seconds + LATE_S)[0]:
        signal.pidfd_send_signal(guard, signal.SIGKILL)
        select.select([guard], [], [], LATE_S)
    harm.undo()


_held: IO[str] | None = None


def _lock(order: Order) -> IO[str]:
    """One drill at a time on a node."""
    descriptor = os.open(Path(order.run) / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    file = os.fdopen(descriptor, "r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise RefusedError("another drill is under way on this node", hint="`safekit rehearse undo` ends it") from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def holder(run: str) -> int:
    """The guard of the drill that is under way on this node; 0 when there is none."""
    try:
        with (Path(run) / LOCK).open(encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int((Path(run) / LOCK).read_text(encoding="ascii").strip() or "0")
    except OSError:
        return 0
    return 0


def _wakeup() -> int:
    """What becomes readable with a signal that asks it to end. Handlers, not a mask: what it starts inherits none."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    for number in _FIRM:
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writer)
    return reader


def _stand_apart() -> None:
    """Not ended with a unit of systemd in which it was started, nor when memory is short."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("-1000", encoding="ascii")
    mount = unified_mount()
    if mount and unit_of(os.getpid()) and (group := make_cgroup(mount / "safekit" / "rehearse")):
        with contextlib.suppress(OSError):
            (group / "cgroup.procs").write_text("0", encoding="ascii")


def _let_go() -> None:
    """Of the pipes to who started it, who may end now."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)


if __name__ == "__main__":
    main()

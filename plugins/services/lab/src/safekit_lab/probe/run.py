"""A probe from the side of whoever started it."""

import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ..error import LabError
from ..node import Node
from ..process import Process
from .record import Plan, Record, read
from .summary import Summary, summarize

_START_S = 10.0
_POLL_S = 0.005
_GRACE_S = 10.0


@dataclass(frozen=True, slots=True)
class Result:
    """The records are in the order of their start."""

    records: tuple[Record, ...]
    summary: Summary


class Probe:
    """A client at work in the background, from __enter__ (which waits for its first record) to stop or __exit__."""

    def __init__(self, node: Node, plan: Plan, out: Path | None = None) -> None:
        self._node = node
        self._plan = plan
        self._out = out
        self._process: Process | None = None

    def __enter__(self) -> "Probe":
        command = [sys.executable, "-m", __package__ or "", self._plan.to_json()]
        self._process = self._node.start(command, stdout=self._out)
        deadline = time.monotonic() + _START_S + self._plan.timeout_s
        while "\n" not in self._process.output and self._process.returncode is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        if not self._process.output.startswith("{"):
            self.stop()
            raise LabError(f"the probe on {self._node.name} did not start: {self._process.output.strip()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def records(self) -> tuple[Record, ...]:
        """Those of the requests that have ended so far."""
        whole, _, _ = self._started.output.rpartition("\n")
        return read(whole.splitlines())

    def stop(self) -> None:
        """End it early: the requests under way are still waited for."""
        self._started.kill(signal.SIGTERM)
        self._started.wait(self._plan.timeout_s * 2 + _GRACE_S)

    def result(self) -> Result:
        """Wait for its end, at most its duration and a few seconds. LabError if it failed, or its node died."""
        code = self._started.wait(self._plan.duration_s + self._plan.timeout_s * 2 + _GRACE_S)
        if code != 0:
            raise LabError(f"the probe on {self._node.name} ended with {code}: {self._started.output[-1000:]}")
        records = self.records
        return Result(records, summarize(records))

    @property
    def _started(self) -> Process:
        if self._process is None:
            raise LabError("the probe was not started; use it as: with lab.probe(…) as probe")
        return self._process

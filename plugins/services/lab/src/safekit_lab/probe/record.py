"""What is asked and what was seen, as written by the client and read by whoever started it."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from ..error import LabError


@dataclass(frozen=True, slots=True)
class Plan:
    """target is http://HOST[:PORT][/PATH], or tcp://HOST:PORT for a server that greets with a line.

    server_header names the response header that tells who answered; without it the body's first line does.
    """

    target: str
    interval_s: float
    timeout_s: float
    duration_s: float
    server_header: str | None = None
    max_in_flight: int = 1000

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Record:
    """One request. start_s is CLOCK_MONOTONIC of the host, the same in every node; late_ms how far behind its pace
    the client itself was. error is empty, or one of: connect_timeout, answer_timeout, refused, reset, unreachable,
    closed (before the whole answer), malformed, status, overload (too many in flight: not sent)."""

    start_s: float
    wall_s: float
    latency_ms: float
    late_ms: float
    error: str = ""
    status: int | None = None
    server: str | None = None

    @property
    def ok(self) -> bool:
        return not self.error

    @property
    def end_s(self) -> float:
        return self.start_s + self.latency_ms / 1000

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "ok": self.ok})


def read(lines: Iterable[str]) -> tuple[Record, ...]:
    """In the order of their start. LabError for a line that is none: what the client said when it failed."""
    return tuple(sorted(map(_parse, lines), key=lambda record: record.start_s))


def _parse(line: str) -> Record:
    try:
        fields = json.loads(line)
        del fields["ok"]
        return Record(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise LabError(f"the probe wrote {line.strip()[:500]!r}, which is no record of a request") from error

"""From the single requests to what matters: how long was nobody served. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .record import Record


@dataclass(frozen=True, slots=True)
class Outage:
    """From the start of the first failed request to the completion of the first good answer after it.

    end_s, duration_ms: None if no good answer came before the probe ended. gap_ms: between the last good answer
    before and the first after, None if either is missing. failed: requests that started in between.
    """

    start_s: float
    end_s: float | None
    duration_ms: float | None
    gap_ms: float | None
    failed: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Latencies are those of good answers, None if there was none. max_late_ms: the client's own worst delay."""

    requests: int
    ok: int
    failed: int
    errors: dict[str, int]
    servers: dict[str, int]
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    latency_max_ms: float | None
    max_late_ms: float
    outages: tuple[Outage, ...]

    @property
    def longest_gap_ms(self) -> float:
        """0 if every request was served, infinite for an outage without end; one from the start counts as it lasted."""
        return max(map(_length_ms, self.outages), default=0.0)


def summarize(records: Sequence[Record]) -> Summary:
    """The records may come in any order."""
    good = [record for record in records if record.ok]
    latencies = sorted(record.latency_ms for record in good)
    return Summary(
        requests=len(records),
        ok=len(good),
        failed=len(records) - len(good),
        errors=dict(Counter(record.error for record in records if not record.ok).most_common()),
        servers=dict(Counter(record.server for record in good if record.server is not None).most_common()),
        latency_p50_ms=_quantile(latencies, 0.5),
        latency_p99_ms=_quantile(latencies, 0.99),
        latency_max_ms=_quantile(latencies, 1.0),
        max_late_ms=max((record.late_ms for record in records), default=0.0),
        outages=outages(records),
    )


def outages(records: Sequence[Record]) -> tuple[Outage, ...]:
    """Each failed request belongs to one outage: the first that has not ended when it starts."""
    answers = sorted((record for record in records if record.ok), key=lambda record: record.end_s)
    failures = sorted((record for record in records if not record.ok), key=lambda record: record.start_s)
    found: list[Outage] = []
    while failures:
        outage = _outage(failures, answers)
        found.append(outage)
        failures = failures[outage.failed :]
    return tuple(found)


def _outage(failures: Sequence[Record], answers: Sequence[Record]) -> Outage:
    first = failures[0]
    after = next((answer for answer in answers if answer.start_s >= first.start_s), None)
    if after is None:
        return Outage(first.start_s, None, None, None, len(failures))
    before = max((answer.end_s for answer in answers if answer.end_s < after.end_s), default=None)
    return Outage(
        start_s=first.start_s,
        end_s=after.end_s,
        duration_ms=_ms(after.end_s - first.start_s),
        gap_ms=None if before is None else _ms(after.end_s - before),
        failed=sum(failure.start_s < after.end_s for failure in failures),
    )


def _length_ms(outage: Outage) -> float:
    known = (length for length in (outage.gap_ms, outage.duration_ms) if length is not None)
    return next(known, float("inf"))


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

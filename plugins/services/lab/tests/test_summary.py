import pytest

from safekit_lab import LabError, Record
from safekit_lab.probe.record import read
from safekit_lab.probe.summary import outages, summarize


def request(start_s: float, error: str = "", latency_ms: float = 1.0, server: str | None = None) -> Record:
    return Record(start_s, start_s, latency_ms, 0.0, error, None, server)


def test_without_a_failure_there_is_no_outage() -> None:
    summary = summarize([request(1.0), request(2.0)])
    assert (summary.outages, summary.longest_gap_ms) == ((), 0.0)


def test_an_outage_lasts_from_the_first_failure_to_the_first_good_answer() -> None:
    (outage,) = outages([request(1.0), request(2.0, "refused"), request(3.0, "refused"), request(4.0)])
    assert outage.duration_ms == pytest.approx(2001)
    assert outage.gap_ms == pytest.approx(3000)
    assert outage.failed == 2


def test_a_slow_timeout_that_began_before_the_recovery_belongs_to_the_same_outage() -> None:
    seen = [request(1.0), request(2.0, "connect_timeout", 250), request(2.1), request(2.1005, "connect_timeout", 250)]
    assert [outage.failed for outage in outages([*seen, request(2.2)])] == [2]


def test_two_failures_with_a_good_answer_between_are_two_outages() -> None:
    assert len(outages([request(1.0, "reset"), request(2.0), request(3.0, "reset"), request(4.0)])) == 2


def test_an_outage_that_never_ended_has_no_end_and_an_infinite_gap() -> None:
    summary = summarize([request(1.0), request(2.0, "refused")])
    assert summary.outages[0].end_s is None
    assert summary.longest_gap_ms == float("inf")


def test_an_outage_from_the_start_has_no_gap() -> None:
    summary = summarize([request(1.0, "refused"), request(2.0)])
    (outage,) = summary.outages
    assert outage.gap_ms is None
    assert summary.longest_gap_ms == outage.duration_ms
    assert outage.duration_ms == pytest.approx(1001)


def test_servers_and_kinds_of_error_are_counted() -> None:
    summary = summarize([request(1.0, server="a"), request(2.0, server="a"), request(3.0, "reset")])
    assert (summary.servers, summary.errors) == ({"a": 2}, {"reset": 1})


def test_records_survive_their_way_through_a_file_and_come_in_order() -> None:
    late, early = request(2.0, "reset"), request(1.0, server="a")
    assert read([late.to_json(), early.to_json()]) == (early, late)


def test_a_line_that_is_no_record_is_shown() -> None:
    with pytest.raises(LabError, match="Traceback"):
        read(["Traceback (most recent call last):"])

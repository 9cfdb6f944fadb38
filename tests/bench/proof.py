"""The farm's promises to each packet and connection, in full counts: what the tests of nft-lb show a hundredth of.

`make proof` runs it and writes build/bench/proof.json. For each mode and family every UDP packet and TCP connection is
taken by one server, and held connections stay over joins, leaves and weight changes; connections that begin while the
map changes are not reset. It ends with an exit code other than 0 when one of these is not so.
"""

from __future__ import annotations

import argparse
import os
import sys

import pytest
from figures import Figure, table, write
from workspace import ROOT

TESTS = "plugins/resources/nft-lb/tests/nft_lb/test_delivery.py"
CHOSEN = "taken_once or connections_stay or no_new_connection"
BOUND_S = 7200
"""Of one test, of which the longest takes minutes on two processors that have nothing else to do."""


class Collector:
    """Makes figures of what the tests have recorded."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            print(f"\n{report.longreprtext[-4000:]}", flush=True)
        if report.when != "call" or not report.passed:
            return
        way = report.nodeid.partition("[")[2].rstrip("]").replace("-", ".ipv") or "any"
        counts = [Figure(f"{name}.{way}", float(str(value)), "", 1) for name, value in report.user_properties]
        names = "+".join(name for name, _ in report.user_properties)
        seconds = Figure(f"{names}.{way}", round(report.duration, 1), "s", 1)
        self.figures += [*counts, seconds]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the counts of the tests, to try this program")
    parser.add_argument("--only", default=CHOSEN, help="which of the tests, as pytest's -k")
    asked = parser.parse_args()
    if not asked.quick:
        os.environ["SAFEKIT_PROOF"] = "full"
    collector = Collector()
    words = ["-v", "-p", "no:cacheprovider", f"--timeout={BOUND_S}", "-k", asked.only, str(ROOT / TESTS)]
    code = pytest.main(["--rootdir", str(ROOT), *words], plugins=[collector])
    print(table(collector.figures))
    print(f"written to {write('proof', collector.figures)}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())

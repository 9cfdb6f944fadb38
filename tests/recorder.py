"""A service that must not run twice, and its auditor.

The service writes the machine's monotonic clock to a file of its node a hundred times a second, as long as it runs. All
nodes of a lab share that clock, so the files tell whether two nodes ran it at one time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

LOG = "/var/log/recorder"
STEP_S = 0.01
GAP_S = 0.2
"""A longer silence is a time in which it did not run."""


PROGRAM = f"""\
import time
log = open("{LOG}", "a", 1)
while True:
    log.write(f"{{time.monotonic():.3f}}\\n")
    time.sleep({STEP_S})
"""


def spans(text: str) -> list[tuple[float, float]]:
    """When it ran, from a file's content. A last line that a crash cut off is left out."""
    found: list[tuple[float, float]] = []
    for line in text.splitlines():
        try:
            at_s = float(line)
        except ValueError:
            continue
        if found and at_s - found[-1][1] < GAP_S:
            found[-1] = (found[-1][0], at_s)
        else:
            found.append((at_s, at_s))
    return found


def overlaps(logs: Mapping[str, str]) -> list[str]:
    """The times at which two nodes ran it."""
    ran = sorted((*span, node) for node, text in logs.items() for span in spans(text))
    return list(_twice(ran))


def _twice(ran: Iterable[tuple[float, float, str]]) -> Iterable[str]:
    last_end_s, last_node = float("-inf"), ""
    for start_s, end_s, node in ran:
        if node != last_node and start_s <= last_end_s:
            yield f"{last_node} until {last_end_s:.3f}, {node} from {start_s:.3f}"
        if end_s > last_end_s:
            last_end_s, last_node = end_s, node

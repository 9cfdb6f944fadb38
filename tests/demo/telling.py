"""What the demos have in common: they print each command that they give, and what it printed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import lab_cluster
from lab_cluster import Cluster, FailedError

from safekit_lab import Bind, Lab, LabError
from safekit_lab.node import Node


class Told(Cluster):
    """Prints each command before it is given, and what it printed."""

    def safekit(self, node: Node, *words: str, **how: object) -> lab_cluster.Done:
        done = super().safekit(node, *words, **how)  # type: ignore[arg-type]
        if words[-2:] != ("-o", "json"):
            print(f"\n{node.name}# safekit {' '.join(words)}")
            print(indented(done.stdout), flush=True)
        return done


def indented(text: str) -> str:
    return "\n".join(f"   {line}" for line in text.rstrip().splitlines())


def chapter(title: str) -> None:
    print(f"\n=== {title}", flush=True)


def perform(nodes: int, show: Callable[[Told], list[str]], *, binds: Sequence[Bind] = ()) -> int:
    """Run a demo on a lab of its own. Return the exit code: 1 when what it shows does not hold."""
    begun_s = time.monotonic()
    try:
        with Lab.up(nodes=nodes, clients=1, binds=binds) as lab:
            failures = show(Told(lab))
    except (FailedError, LabError) as error:
        failures = [str(error)]
    for failure in failures:
        print(f"DOES NOT HOLD: {failure}", file=sys.stderr)
    print(f"\nthe demo took {time.monotonic() - begun_s:.0f} s{'' if failures else '; all that it shows holds'}")
    return 1 if failures else 0

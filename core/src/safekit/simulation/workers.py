"""Histories on several processors: the same outcomes in the same order as on one."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import Final

from safekit.simulation.history import Outcome, run_history

CHUNK: Final = 20
AHEAD: Final = 3
"""Chunks per process that are given out before the first is back."""


def run_histories(seeds: Iterable[int], jobs: int) -> Iterator[Outcome]:
    if jobs == 1:
        yield from map(run_history, seeds)
        return
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))
    try:
        yield from _in_order(pool, iter(seeds), AHEAD * jobs)
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(pool: ProcessPoolExecutor, seeds: Iterator[int], most: int) -> Iterator[Outcome]:
    running: deque[Future[list[Outcome]]] = deque()
    while chunk := list(islice(seeds, CHUNK)):
        running.append(pool.submit(_run_all, chunk))
        if len(running) == most:
            yield from running.popleft().result()
    while running:
        yield from running.popleft().result()


def _run_all(seeds: list[int]) -> list[Outcome]:
    return [run_history(seed) for seed in seeds]

"""What is done by the calendar, on the wall clock: housekeeping. Never a heartbeat, a lease or a limit (ADR 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

MISSED_S: Final = 3600
"""A job whose time passed while the node was off or the clock was set is still done within this time."""


class Calendar:
    """Jobs run in threads, one run of each at a time."""

    def __init__(self, on_trouble: Callable[[str, str], None]) -> None:
        self._scheduler = AsyncIOScheduler()
        self._scheduler.add_listener(self._failed, EVENT_JOB_ERROR)
        self._on_trouble = on_trouble

    def start(self) -> None:
        self._scheduler.start()

    def close(self) -> None:
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def add(self, name: str, when: str, job: Callable[[], None]) -> None:
        """`when` in the five fields of crontab(5): minute, hour, day, month, weekday; local time."""
        trigger = CronTrigger.from_crontab(when)
        self._scheduler.add_job(job, trigger, id=name, coalesce=True, max_instances=1, misfire_grace_time=MISSED_S)

    def _failed(self, event: JobExecutionEvent) -> None:
        self._on_trouble(event.job_id, str(event.exception))

"""Times of a calendar: the five fields of crontab(5), on the wall clock and in the time zone of this machine."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_DIGIT: Final = re.compile(r"\d")
_ANY: Final = ("*", "?")


class Times:
    """ValueError, with what to write, when the text names no times or none that ever come."""

    def __init__(self, text: str) -> None:
        from apscheduler.triggers.cron import CronTrigger  # takes a third of a second, and most have no calendar

        fields = text.split()
        if len(fields) != 5:
            raise ValueError(f"'{text}' is not minute, hour, day, month and weekday; write for instance: 30 2 * * sun")
        if _DIGIT.search(fields[4]):
            raise ValueError(f"weekdays are written by name, as '{fields[4]}' means different days elsewhere: mon-fri")
        if fields[2] not in _ANY and fields[4] not in _ANY:
            raise ValueError("give a day of the month or a weekday, not both")
        self._trigger = CronTrigger.from_crontab(text)
        self.after(datetime.now(tz=UTC).timestamp())

    def after(self, moment_s: float) -> float:
        """The first later than this, both in seconds since 1970."""
        moment = datetime.fromtimestamp(moment_s, tz=self._trigger.timezone)
        found = self._trigger.get_next_fire_time(moment, moment)
        if found is None:
            raise ValueError("these times never come; look at the day and the month")
        return float(found.timestamp())


def check_times(text: str) -> str:
    Times(text)
    return text


class Alarm:
    """Due once at each time. Once, also, where the clock jumped over several; and where it was set back, at the next
    time that it shows."""

    def __init__(self, times: Times, now_s: float) -> None:
        self._times = times
        self._seen_s = now_s
        self.next_s = times.after(now_s)

    def is_due(self, now_s: float) -> bool:
        if now_s < self._seen_s:
            self.next_s = min(self.next_s, self._times.after(now_s))
        self._seen_s = now_s
        if now_s < self.next_s:
            return False
        self.next_s = self._times.after(now_s)
        return True


class Opening:
    """When a primary may bring its secondary up to date again: at once, or from the next of these times on."""

    def __init__(self, times: Times | None) -> None:
        self._times = times
        self._alarm: Alarm | None = None
        self._was_paired = False

    @property
    def waits_until_s(self) -> float | None:
        return self._alarm.next_s if self._alarm else None

    def paired(self) -> None:
        self._was_paired = True
        self._alarm = None

    def parted(self, now_s: float) -> None:
        """What breaks off a synchronisation that has begun does not make it wait."""
        if self._was_paired:
            self.shut(now_s)
        self._was_paired = False

    def shut(self, now_s: float) -> None:
        self._alarm = self._alarm or (Alarm(self._times, now_s) if self._times else None)

    def open(self) -> None:
        self._alarm = None

    def look(self, now_s: float) -> bool:
        """Whether it opened just now."""
        if self._alarm is None or not self._alarm.is_due(now_s):
            return False
        self._alarm = None
        return True

    def after(self, now_s: float) -> float | None:
        """When it opens next, as far as another node can know."""
        return self._times.after(now_s) if self._times else None

"""Mail, chat and webhooks, as apprise names them by a URL, which has their secrets."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from apprise import Apprise, NotifyFormat, NotifyType

from safekit_notify.message import Message

_TYPES: Final = {"info": NotifyType.INFO, "warning": NotifyType.WARNING, "alarm": NotifyType.FAILURE}


def is_known(url: str) -> bool:
    """apprise drops what it does not know, and says so only by its answer."""
    with _overheard():
        return bool(Apprise().add(url))


def send(url: str, message: Message) -> str:
    """Empty when the service took it, else why not."""
    service = Apprise()
    kind = _TYPES[message.severity]
    with _overheard() as said:
        service.add(url)
        taken = service.notify(body=message.text, title=message.title, notify_type=kind, body_format=NotifyFormat.TEXT)
    if taken:
        return ""
    return said[0].replace(url, "(its url)")[:300] if said else "the service did not take it"


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """Its warnings, which go nowhere else."""
    logger, said = logging.getLogger("apprise"), _Said()
    before = logger.propagate
    logger.propagate = False
    logger.addHandler(said)
    try:
        yield said.lines
    finally:
        logger.removeHandler(said)
        logger.propagate = before


class _Said(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.lines) < 10:
            self.lines.append(record.getMessage())

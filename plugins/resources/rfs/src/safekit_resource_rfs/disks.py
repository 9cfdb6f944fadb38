"""An answer that waits for two disks at a time."""

from __future__ import annotations

from safekit_resource_rfs.fuse.session import Request


class Disks:
    """Answers when all have it, or at the first error. Who is answered may come later than what they say."""

    __slots__ = ("_error", "_missing", "_request")

    def __init__(self, count: int) -> None:
        self._missing = count
        self._error = 0
        self._request: Request | None = None

    @property
    def has_failed(self) -> bool:
        return bool(self._error)

    def heard(self, error: int = 0) -> None:
        """Of one of them: 0, or the errno. A request is answered once: what comes after an error changes nothing."""
        self._missing -= 1
        self._error = self._error or error
        self._tell()

    def answer(self, request: Request) -> None:
        self._request = request
        request.is_interruptible = True
        request.hold()
        self._tell()

    def _tell(self) -> None:
        if self._request is None:
            return
        if self._error:
            self._request.fail(self._error)
        elif not self._missing:
            self._request.reply()

"""Errors of the console's own; those of the SDK travel as they are."""

from __future__ import annotations


class HttpError(Exception):
    """What a client gets as problem+json (RFC 9457), or as a page."""

    def __init__(self, status: int, kind: str, message: str, *, hint: str = "", retry_s: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.hint = hint
        self.retry_s = retry_s


def unauthorized(message: str = "sign in first") -> HttpError:
    return HttpError(401, "unauthorized", message, hint="sign in, or give an API token as `Authorization: Bearer …`")


def forbidden(message: str) -> HttpError:
    return HttpError(403, "forbidden", message, hint="an administrator grants roles, on the page Users")


def not_found(message: str) -> HttpError:
    return HttpError(404, "not-found", message)

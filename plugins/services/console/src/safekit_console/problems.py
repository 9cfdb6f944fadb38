"""Errors as problem+json (RFC 9457)."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from safekit_console.errors import HttpError
from safekit_sdk import ConfigError, InternalError, PeerError, PluginError, RefusedError, SafekitError

PREFIX: Final = "urn:safekit:problem:"


class Problem(BaseModel):
    """What every answer that is not a success has as its body."""

    type: str
    title: str
    status: int
    detail: str
    where: str = ""
    """File, line and column, or the field of the request."""
    hint: str = ""
    """What to do."""


_STATUS: Final[tuple[tuple[type[BaseException], int, str], ...]] = (
    (ConfigError, 422, "config"),
    (RefusedError, 409, "refused"),
    (PluginError, 422, "plugin"),
    (PeerError, 503, "peer"),
    (InternalError, 500, "internal"),
    (TimeoutError, 504, "timeout"),
)
EXPECTED: Final = (HttpError, SafekitError, TimeoutError, RequestValidationError, HTTPException)


def problem_of(error: Exception) -> Problem:
    if isinstance(error, HttpError):
        return _problem(error.kind, error.status, error.message, hint=error.hint)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return _problem("invalid", 422, str(first["msg"]), where=place)
    if isinstance(error, HTTPException):
        return _problem("http", error.status_code, str(error.detail))
    status, kind = next(((s, k) for cls, s, k in _STATUS if isinstance(error, cls)), (500, "internal"))
    if isinstance(error, SafekitError):
        return _problem(kind, status, error.message, where=error.where, hint=error.hint)
    return _problem(kind, status, str(error) if isinstance(error, TimeoutError) else "a defect of the console")


def _problem(kind: str, status: int, detail: str, *, where: str = "", hint: str = "") -> Problem:
    title = kind.replace("-", " ")
    return Problem(type=PREFIX + kind, title=title, status=status, detail=detail, where=where, hint=hint)


def answer(error: Exception) -> JSONResponse:
    found = problem_of(error)
    headers = {"retry-after": f"{error.retry_s:.0f}"} if isinstance(error, HttpError) and error.retry_s else {}
    if found.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(found.model_dump(), found.status, headers, media_type="application/problem+json")


async def on_error(request: Request, error: Exception) -> Response:
    del request
    return answer(error)


RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    code: {"description": text, "content": {"application/problem+json": {"schema": Problem.model_json_schema()}}}
    for code, text in {
        400: "malformed",
        401: "not signed in",
        403: "the role is not enough, or the request is forged",
        404: "there is no such thing",
        408: "the body came too slowly",
        409: "refused, as it could lose data or run a module twice, or it contradicts what there is",
        410: "used already",
        413: "the body is too large",
        422: "something that was given is wrong",
        429: "too often",
        500: "a defect",
        503: "a node does not answer",
        504: "it took too long",
    }.items()
}
"""For the OpenAPI."""

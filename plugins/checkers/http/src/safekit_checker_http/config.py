"""What a module file says about a question to a web server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from safekit_sdk import CheckerConfig, Duration, Secret

_TOKEN = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$"

_SOCKET_BYTES_MAX = 107
"""unix(7): what the kernel takes."""


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"'{text}' does not begin with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a password does not go into a url; use `headers:` with a secret (file:/path)")
    if not parts.hostname:
        raise ValueError(f"'{text}' names no host; write it as http://127.0.0.1:8080/health")
    if parts.fragment or re.search(r"[^\x21-\x7e]", text):
        raise ValueError(f"'{text}' has a character that a url cannot have; percent-encode it")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"the port of '{text}' is not from 1 to 65535")
    return text


def _range(text: Any) -> str:
    found = re.fullmatch(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", str(text))
    if found is None or int(found[2] or 599) < int(found[1]):
        raise ValueError(f"'{text}' is neither a status nor a range of them; write 200 or 200-299")
    return str(text)


def _compiles(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"'{text}' is not a regular expression: {error}") from None
    return text


def _socket(path: Path) -> Path:
    if not path.is_absolute() or len(bytes(path)) > _SOCKET_BYTES_MAX:
        raise ValueError(f"'{path}' is not the absolute path of a socket, of at most {_SOCKET_BYTES_MAX} bytes")
    return path


def _header(value: Any) -> Any:
    """`file:/path` and `env:NAME` are secrets; anything else is the value itself."""
    if isinstance(value, str) and re.match(r"(env:|file:/)", value):
        return Secret.parse(value)
    if isinstance(value, str) and re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
        raise ValueError("a header cannot have control characters")
    return value


Url = Annotated[str, Field(max_length=2048), AfterValidator(_url)]
StatusRange = Annotated[str, BeforeValidator(_range)]
HeaderName = Annotated[str, Field(pattern=_TOKEN)]
HeaderValue = Annotated[Secret | str, BeforeValidator(_header)]
Regex = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_compiles)]
SocketPath = Annotated[Path, AfterValidator(_socket)]
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,252}$")]


class HttpConfig(CheckerConfig):
    url: Url
    """What is asked for: `http://127.0.0.1/health`, `https://[::1]:8443/`."""
    method: Literal["GET", "HEAD"] = "GET"
    """HEAD asks for no body."""
    host: Host | None = None
    """The name in the Host header, and the one that the certificate is checked for, when the url has an address."""
    socket: SocketPath | None = None
    """A unix socket that is asked instead of the url's host and port: an application server's behind a proxy."""
    headers: dict[HeaderName, HeaderValue] = Field(default={}, max_length=32)
    """Sent with the question. A value is given in clear, or as a secret: `file:/etc/safekit/token`."""
    status: tuple[StatusRange, ...] = Field(default=("200-399",), min_length=1, max_length=16)
    """What counts as up: a status, or a range."""
    body: Regex | None = None
    """A regular expression that the first MiB of the body must contain."""
    redirects: int = Field(default=0, ge=0, le=10)
    """How many redirects are followed; 0: one is an answer like any other."""
    slow: Duration | None = None
    """An answer that takes longer is down."""
    verify: bool | Path = True
    """Whether the server's certificate must be trusted; a path is that of the authorities' certificates (PEM)."""
    min_certificate_days: int | None = Field(default=None, ge=0, le=3650)
    """Down when the server's certificate is good for fewer days."""
    warn_certificate_days: int | None = Field(default=14, ge=0, le=3650)
    """Up still, but the verdict and once a day the module's log say it when the certificate is good for fewer days."""
    client_certificate: Path | None = None
    """A PEM file with the certificate and the key that are shown to the server."""
    interval: Duration = Duration(5)
    """Time from the start of one question to the start of the next."""
    timeout: Duration = Duration(2)
    """A question that takes longer counts as unknown; nine tenths of it are given to the server."""
    fall: int = Field(default=2, ge=1, le=100)
    """Bad answers in a row before it says down."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.method == "HEAD" and self.body is not None:
            raise ValueError("the answer to HEAD has no body; use GET, or leave `body` out")
        if self.min_certificate_days is not None and self.verify is False:
            raise ValueError("min_certificate_days needs `verify`: what is not verified is not read")
        if self.slow is not None and self.slow >= self.timeout:
            raise ValueError(f"`slow` ({self.slow}) must be shorter than `timeout` ({self.timeout})")
        return self

    def is_good(self, status: int) -> bool:
        bounds = (entry.partition("-") for entry in self.status)
        return any(int(first) <= status <= int(last or first) for first, _, last in bounds)

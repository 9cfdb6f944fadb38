"""From what is known to HTML."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse, RedirectResponse, Response

from safekit_console.access import Asker
from safekit_console.consequences import LABELS
from safekit_console.outlook import share
from safekit_console.parts import console_of
from safekit_console.roles import Role
from safekit_console.words import Words, chosen, languages

HERE: Final = Path(__file__).parent.parent
STATIC: Final = HERE / "static"
THEMES: Final = ("auto", "light", "dark")
_SAID: OrderedDict[str, str] = OrderedDict()
"""What the next page of a session is to say, once."""
MAX_SAID: Final = 1000


@cache
def templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        Role=Role, share=share, asset=asset, languages=languages(), clock=clock, moment=moment, label=LABELS.get
    )
    return made


@cache
def asset(name: str) -> str:
    """Its address changes with its content, so that browsers may keep it for ever."""
    return f"/static/{name}?{hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]}"


def words_of(request: Request) -> Words:
    return chosen(request.cookies.get("lang", ""), request.headers.get("accept-language", ""))


def page(
    request: Request, template: str, asker: Asker | None = None, status: int = 200, /, **context: Any
) -> HTMLResponse:
    theme = request.cookies.get("theme", "auto")
    html = (
        templates()
        .get_template(template)
        .render(
            _=words_of(request),
            lang=words_of(request).code,
            theme=theme if theme in THEMES else "auto",
            themes=THEMES,
            asker=asker,
            csrf=asker.csrf if asker else "",
            snapshot=console_of(request).watch.snapshot,
            oidc=console_of(request).oidc is not None,
            certificates=console_of(request).certificates is not None,
            path=request.url.path,
            said=_SAID.pop(asker.session, "") if asker and asker.session else "",
            now=time.time(),
            **context,
        )
    )
    return HTMLResponse(html, status)


def go(path: str, asker: Asker | None = None, said: str = "") -> Response:
    """To another page, which says this."""
    if asker and asker.session and said:
        _SAID[asker.session] = said
        if len(_SAID) > MAX_SAID:
            _SAID.popitem(last=False)
    return RedirectResponse(path, 303)


def moment(wall: float) -> str:
    """UTC, which the browser turns into its own time."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall))


def clock(wall: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(wall)) + f".{int(wall % 1 * 1000):03d}"

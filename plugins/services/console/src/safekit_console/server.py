"""The application, and the server it runs in."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from safekit_console import certificate, connection
from safekit_console.access import who_asks
from safekit_console.api import accounts, cluster, configuration, events, modules
from safekit_console.errors import HttpError
from safekit_console.guard import Guard
from safekit_console.pages import acting, certified, configuring, elsewhere, entrance, growing, looking
from safekit_console.pages.rendering import STATIC, go, page
from safekit_console.parts import Console, console_of, origin
from safekit_console.problems import RESPONSES, answer, problem_of
from safekit_sdk import ConfigError, SafekitError

PREFIX: Final = "/api/v1"
API: Final = (cluster.router, modules.router, configuration.router, accounts.router, events.router)
PAGES: Final = (
    entrance.router,
    certified.router,
    elsewhere.router,
    looking.router,
    acting.router,
    configuring.router,
    growing.router,
)
PAGE_HEADERS: Final = "text/html"
RETRY_S: Final = 2.0
TIDY_S: Final = 3.0


class _Kept(StaticFiles):
    """Browsers may keep these for ever: their addresses change with their content."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        found = await super().get_response(path, scope)
        found.headers["cache-control"] = "public, max-age=31536000, immutable"
        return found


def application(console: Console) -> FastAPI:
    made = FastAPI(
        title="safekit",
        version="1",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=_life,
    )
    made.state.console = console
    for router in API:
        made.include_router(router, prefix=PREFIX, responses=RESPONSES)
    for router in PAGES:
        made.include_router(router)
    made.mount("/static", _Kept(directory=STATIC))
    for kind in (HttpError, SafekitError, TimeoutError, RequestValidationError, HTTPException, Exception):
        made.add_exception_handler(kind, _on_error)
    made.add_middleware(Guard)
    return made


@contextlib.asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    console: Console = app.state.console
    work = (console.watch.run(), console.records.keep_level(), _tidy())
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await console.panels.close()
        console.store.close()


async def _tidy() -> None:
    """A connection that has ended keeps a quarter of a MiB of TLS buffers until its cycle of references is found, which
    Python by itself looks for too rarely. What was there at the start is not looked at again, so this takes no time."""
    gc.collect()
    gc.freeze()
    while True:
        await asyncio.sleep(TIDY_S)
        gc.collect()


async def _on_error(request: Request, error: Exception) -> Response:
    """A program gets problem+json, a browser a page; who is not signed in is led to where he can."""
    wants_page = PAGE_HEADERS in request.headers.get("accept", "") and not request.url.path.startswith(PREFIX)
    if not wants_page:
        return answer(error)
    found = problem_of(error)
    if found.status == 401:
        return go(f"/login?next={request.url.path}" if request.method == "GET" else "/login")
    asker = None
    with contextlib.suppress(Exception):
        asker = await who_asks(request, console_of(request))
    return page(request, "problem.html", asker, found.status, problem=found)


async def run(console: Console, end: asyncio.Event) -> None:
    """Serve until the event is set."""
    await _reach_safekitd(console, end)
    if end.is_set():
        return
    config = await _config(console)
    _refuse_taken(config.bind[0].rpartition(":")[0].strip("[]"), console.settings.port)
    await serve(application(console), config, shutdown_trigger=end.wait)  # type: ignore[arg-type]


async def _reach_safekitd(console: Console, end: asyncio.Event) -> None:
    """Users and keys are safekitd's to keep: without it nobody could sign in."""
    told = False
    while not end.is_set():
        try:
            await console.records.level()
            await console.handover.prepare()
            return
        except (SafekitError, TimeoutError) as error:
            if not told:
                print(f"safekit-console waits: {error}", flush=True)
                told = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S):
                    await end.wait()


async def _config(console: Console) -> Config:
    settings = console.settings
    said = await console.node.ask("ping")
    addresses = [str(one) for one in said["addresses"].get(said["node"], ())]
    names = [*settings.names, *addresses, str(said["node"]), socket.gethostname(), "localhost", "127.0.0.1", "::1"]
    if settings.certificate is not None and settings.key is not None:
        files = str(settings.certificate), str(settings.key)
    else:
        shared = await certificate.authority(console.records, str(said["cluster"]))
        chain, key = certificate.make(settings.var, shared, names)
        files = str(chain), str(key)
    url = origin((*settings.names, *addresses, "localhost")[0], settings.port)
    await console.records.put(f"url/{said['node']}", url)
    print(f"safekit-console serves {url}", flush=True)
    if not any(user.is_admin for user in console.accounts.users()):
        secret = await console.accounts.open_setup()
        print(f"nobody can sign in yet. Within a day, once, open: {url}/setup/{secret}", flush=True)
    config = _bounded(settings.address, settings.port, files)
    if settings.client_ca is not None:
        _ask_for_certificates(config, settings.client_ca)
    return config


def _ask_for_certificates(config: Config, authorities: Path) -> None:
    """Who has none signs in otherwise."""
    connection.keep_certificates()
    config.ca_certs = str(authorities)
    config.verify_mode = ssl.CERT_OPTIONAL
    config.verify_flags = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN


def _refuse_taken(address: str, port: int) -> None:
    try:
        with socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET):
            pass
    except OSError as error:
        hint = "SAFEKIT_CONSOLE_PORT sets another, the same on every node"
        raise ConfigError(f"cannot listen on port {port}: {error.strerror}", hint=hint) from None


def _bounded(address: str, port: int, files: tuple[str, str]) -> Config:
    config = Config()
    config.bind = [f"[{address}]:{port}" if ":" in address else f"{address}:{port}"] if address else _everywhere(port)
    config.certfile, config.keyfile = files
    config.ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20"
    config.accesslog = None
    config.errorlog = "-"
    config.loglevel = "WARNING"
    config.include_server_header = False
    config.keep_alive_timeout = 10.0
    config.ssl_handshake_timeout = 5.0
    config.graceful_timeout = 1.0
    config.shutdown_timeout = 5.0
    config.h11_max_incomplete_size = 16 << 10
    config.h2_max_concurrent_streams = 64
    config.h2_max_header_list_size = 16 << 10
    config.backlog = 256
    return config


def _everywhere(port: int) -> list[str]:
    return [f"[::]:{port}"] if socket.has_dualstack_ipv6() else [f"0.0.0.0:{port}"]

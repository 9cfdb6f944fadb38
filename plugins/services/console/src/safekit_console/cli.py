"""`safekit console`: set the console up, serve it, print a link for a new administrator."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from safekit_console.privileges import bound, give_up
from safekit_console.settings import ConsoleSettings
from safekit_sdk import ConfigError, SafekitError
from safekit_sdk.service_user import make_user

_MEND = "correct it where the console gets its environment: /etc/default/safekit-console with the Debian package"
app = typer.Typer(help="The web console and API.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The web console and API."""


@app.command()
def setup() -> None:
    """Make the system user that the console runs as, and let it reach safekitd. Once, on each node, as root."""
    settings = _settings()
    is_new = make_user(settings.user, settings.user, settings.socket)
    print(f"user '{settings.user}' {'made' if is_new else 'is there'}; next: `safekit console serve`")


@app.command()
def serve() -> None:
    """Serve the console in the foreground, as a service manager wants it; without privileges, also when root starts
    it."""
    from safekit_console import parts, server, signin

    settings = _settings()
    _check_certificate(settings)
    signin.check(settings)
    bound()
    give_up(settings.user, settings.var)

    async def until_told() -> None:
        end = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, end.set)
        await server.run(parts.make(settings), end)

    asyncio.run(until_told())


@app.command()
def link() -> None:
    """Print a link with which one administrator is made, or gets a new password; once, within a day. As root."""
    settings = _settings()
    if os.geteuid() != 0:
        raise ConfigError("only root can let an administrator in", hint="use sudo")
    print(asyncio.run(_link(settings)))


async def _link(settings: ConsoleSettings) -> str:
    from safekit_console.accounts import Accounts
    from safekit_console.node import NodeClient
    from safekit_console.records import Records
    from safekit_sdk.control import AsyncControlClient

    node = NodeClient(AsyncControlClient(settings.socket))
    records = Records(node)
    await records.fresh()
    name = str((await node.ask("ping"))["node"])
    url = records.get(f"url/{name}") or f"https://{name}:{settings.port}"
    return f"{url}/setup/{await Accounts(records).open_setup()}"


def _settings() -> ConsoleSettings:
    try:
        return ConsoleSettings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = "_".join(str(part) for part in first["loc"][:1]).upper()
        raise ConfigError(str(first["msg"]), where=f"SAFEKIT_CONSOLE_{place}", hint=_MEND) from None
    except SettingsError as error:
        raise ConfigError(f"a setting is no JSON: {error}", where="SAFEKIT_CONSOLE_…", hint=_MEND) from None


def _check_certificate(settings: ConsoleSettings) -> None:
    """Of the operator's own; before anything is served. The console's user has to be able to read both files."""
    if settings.certificate is None and settings.key is None:
        return
    if settings.certificate is None or settings.key is None:
        raise ConfigError("a certificate needs its key", hint="set SAFEKIT_CONSOLE_CERTIFICATE and SAFEKIT_CONSOLE_KEY")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.certificate, settings.key)
    except (OSError, ssl.SSLError) as error:
        wrong = f"the certificate or its key cannot be used: {error}"
        hint = "PEM files that belong together, which the console's user can read"
        raise ConfigError(wrong, where=str(settings.certificate), hint=hint) from None


def main() -> None:
    """`safekit-console` is `safekit console serve`."""
    try:
        serve()
    except (SafekitError, TimeoutError) as error:
        print(f"safekit-console: {error}", file=sys.stderr)
        sys.exit(1)

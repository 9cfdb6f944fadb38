"""`safekit notify`: tell people of incidents; send a trial message; what is still to be sent."""

from __future__ import annotations

import logging
import os
import pwd
import signal
import sys
import threading
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import typer

from safekit_notify.settings import NotifySettings
from safekit_sdk import ConfigError, SafekitError
from safekit_sdk.service_user import become_user, make_user

if TYPE_CHECKING:
    from collections.abc import Callable

    from safekit_notify.config import NotifyConfig
    from safekit_notify.store import Store

app = typer.Typer(help="Mail, chat, webhooks and SNMP traps of incidents.", no_args_is_help=True)
SETUP: Final = "safekit notify setup"
LAST_S: Final = 20.0
"""A message that is under way when the service ends is waited for."""
EXAMPLE: Final = """\
# Who is told of what. After a change: `safekit notify check`, then start the service again.
destinations:
  - name: oncall
    url: "mailto://mail.example.org?from=safekit@example.org&to=oncall@example.org"
    severity: warning     # info, warning or alarm: the least that it is told of
"""


@app.callback()
def _group() -> None:
    """Mail, chat, webhooks and SNMP traps of incidents."""


@app.command()
def setup() -> None:
    """Make the system user that it runs as, and a file to edit when there is none. Once, on each node, as root."""
    settings = NotifySettings()
    is_new = make_user(settings.user, settings.group, settings.socket)
    print(f"user '{settings.user}' {'made' if is_new else 'is there'}")
    if not settings.config.exists():
        settings.config.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(settings.config, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o640)
        with os.fdopen(descriptor, "w") as file:
            os.fchown(descriptor, 0, pwd.getpwnam(settings.user).pw_gid)
            file.write(EXAMPLE)
    print(f"next: edit {settings.config}; `safekit notify test`; `safekit notify serve`")


@app.command()
def check() -> None:
    """Read the file, and say what is wrong with it."""
    from safekit_notify.config import load

    for destination in load(NotifySettings().config).destinations:
        kind = "snmp" if destination.snmp is not None else "url"
        of = f" of {', '.join(destination.modules)}" if destination.modules else ""
        print(f"{destination.name}: {kind}, from {destination.severity} on{of}")


@app.command()
def test() -> None:
    """Send a trial message to every destination, at once; exit code 1 when one did not take it."""
    from safekit_notify.message import trial
    from safekit_notify.sending import ways

    settings, config = _begun()
    cluster, node = _names(settings)
    failed = False
    for name, send in ways(config, settings.var).items():
        trouble = send(trial(cluster, node))
        failed = failed or bool(trouble)
        print(f"{name}: NOT sent: {trouble}" if trouble else f"{name}: sent")
    raise typer.Exit(int(failed))


@app.command()
def status() -> None:
    """Show what is still to be sent from this node, and why it was not."""
    settings, _ = _begun()
    found = _store(settings).queued()
    for queued in found:
        print(f"{queued.destination}: {queued.tries} tries: {queued.error or 'due'}: {queued.message.title}")
    if not found:
        print("nothing is waiting")


@app.command()
def serve() -> None:
    """Follow the cluster in the foreground, as a service manager wants it; without privileges, also when root starts
    it."""
    from safekit_notify.cluster import Cluster
    from safekit_notify.following import Follower
    from safekit_notify.sending import Sender, ways
    from safekit_sdk.control import ControlClient

    settings, config = _begun()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    end, failed = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())

    def follow() -> None:
        Follower(Cluster(ControlClient(settings.socket)), _store(settings), config).run(end)

    def send() -> None:
        Sender(_store(settings), ways(config, settings.var)).run(end)

    _store(settings).close()  # a folder that cannot be used is told before anything begins
    sending = threading.Thread(target=_guard, args=(send, end, failed), daemon=True)
    sending.start()
    threading.Thread(target=_guard, args=(follow, end, failed), daemon=True).start()
    print(f"follows the cluster, tells {len(config.destinations)} destinations", file=sys.stderr, flush=True)
    end.wait()
    sending.join(LAST_S)
    raise typer.Exit(int(failed.is_set()))


@app.command()
def mib() -> None:
    """Print the MIB of the traps, for a manager."""
    sys.stdout.write((files("safekit_notify") / "SAFEKIT-MIB.txt").read_text())


def _begun() -> tuple[NotifySettings, NotifyConfig]:
    """The file is read before root's rights are given up; it is best root's own."""
    from safekit_notify.config import load

    settings = NotifySettings()
    config = load(settings.config)
    become_user(settings.user, settings.group, settings.var, setup=SETUP)
    return settings, config


def _names(settings: NotifySettings) -> tuple[str, str]:
    """Of the cluster and this node; a trial needs no safekitd."""
    from safekit_notify.cluster import Cluster
    from safekit_sdk.control import ControlClient

    try:
        living = Cluster(ControlClient(settings.socket)).living()
    except (SafekitError, TimeoutError):
        return "(no safekitd runs)", os.uname().nodename
    return living.cluster, living.own


def _store(settings: NotifySettings) -> Store:
    from safekit_notify.store import Store

    try:
        settings.var.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Store(settings.var / "notify.db")
    except OSError as error:
        hint = "`safekit notify setup` makes it; is its file system full or read-only?"
        raise ConfigError(f"its folder cannot be used: {error.strerror}", where=str(settings.var), hint=hint) from None


def _guard(run: Callable[[], None], end: threading.Event, failed: threading.Event) -> None:
    """A thread that fails ends the service: the service manager starts it again."""
    try:
        run()
    except Exception:
        logging.getLogger("safekit.notify").exception("a defect")
        failed.set()
        end.set()

"""`safekit metrics`: serve a node's metrics to Prometheus; print the dashboard and the alert rules."""

from __future__ import annotations

import signal
import sys
import threading
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from safekit_metrics.settings import MetricsSettings
from safekit_sdk import ConfigError
from safekit_sdk.service_user import become_user, make_user

if TYPE_CHECKING:
    from safekit_metrics.collector import Exporter

app = typer.Typer(help="Metrics of this node for Prometheus.", no_args_is_help=True)
SETUP = "safekit metrics setup"


@app.callback()
def _group() -> None:
    """Metrics of this node for Prometheus."""


@app.command()
def setup() -> None:
    """Make the system user that the exporter runs as, and let it reach safekitd. Once, on each node, as root."""
    settings = MetricsSettings()
    is_new = make_user(settings.user, settings.group, settings.socket)
    print(f"user '{settings.user}' {'made' if is_new else 'is there'}; next: `safekit metrics serve`")


@app.command()
def serve() -> None:
    """Serve the metrics in the foreground, as a service manager wants it; without privileges, also when root starts
    it."""
    from safekit_metrics.server import Guard, Server

    settings = MetricsSettings()
    guard = Guard(settings)
    become_user(settings.user, settings.group, setup=SETUP)
    try:
        server = Server(_exporter(settings.socket), settings, guard)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {settings.address} port {settings.port}: {error.strerror}",
            hint="SAFEKIT_METRICS_ADDRESS, SAFEKIT_METRICS_PORT",
        ) from None
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    scheme = "https" if guard.tls is not None else "http"
    print(f"serves {scheme} on {settings.address} port {server.server_address[1]}", file=sys.stderr, flush=True)
    with server:
        server.serve_forever(poll_interval=0.2)


@app.command()
def show() -> None:
    """Print what Prometheus would get from this node now."""
    sys.stdout.write(_exporter(MetricsSettings().socket).text().decode())


@app.command()
def dashboard() -> None:
    """Print the dashboard, for Grafana to import."""
    sys.stdout.write(packaged("dashboard.json"))


@app.command()
def rules() -> None:
    """Print the alert rules, for Prometheus' `rule_files`."""
    sys.stdout.write(packaged("alerts.yml"))


def packaged(name: str) -> str:
    return (files("safekit_metrics") / name).read_text()


def _exporter(socket: Path) -> Exporter:
    from safekit_metrics.collector import Exporter
    from safekit_sdk.control import ControlClient

    return Exporter(ControlClient(socket))

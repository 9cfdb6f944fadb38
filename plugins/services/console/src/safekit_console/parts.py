"""The parts of a running console, made once and handed to every request."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from safekit_console.accounts import Accounts
from safekit_console.handover import HandOver
from safekit_console.lately import Lately
from safekit_console.limiting import LockOut, Pace
from safekit_console.node import NodeClient
from safekit_console.panels import Panels
from safekit_console.records import Records
from safekit_console.settings import ConsoleSettings
from safekit_console.signin.certificates import Certificates
from safekit_console.signin.directory import Directory
from safekit_console.signin.flow import Flow
from safekit_console.signin.provider import Provider
from safekit_console.store import Store
from safekit_console.watching import Watch
from safekit_sdk.control import AsyncControlClient


@dataclass(frozen=True)
class Console:
    settings: ConsoleSettings
    node: NodeClient
    records: Records
    accounts: Accounts
    store: Store
    watch: Watch
    handover: HandOver
    oidc: Flow | None
    """None where no provider is set."""
    directory: Directory | None
    """None where none is set."""
    certificates: Certificates | None
    """None where no authority is set."""
    lately: Lately
    panels: Panels
    lock_out: LockOut
    changes: Pace
    """Of what changes something; looking is not bounded by it."""

    def url(self, node: str) -> str:
        """Where the console of a node is reached."""
        published = self.records.get(f"url/{node}")
        if published:
            return str(published)
        addresses = self.watch.addresses.get(node) or [node]
        return origin(addresses[0], self.settings.port)

    def others(self) -> dict[str, str]:
        """The other nodes' consoles, by node."""
        snapshot = self.watch.snapshot
        return {name: self.url(name) for name in snapshot.nodes if name != snapshot.own}


def make(settings: ConsoleSettings) -> Console:
    node = NodeClient(AsyncControlClient(settings.socket))
    records = Records(node)
    accounts = Accounts(records)
    store = Store(settings.var / "console.db", settings.idle_s, settings.session_s)
    return Console(
        settings=settings,
        node=node,
        records=records,
        accounts=accounts,
        store=store,
        watch=Watch(node),
        handover=HandOver(records, accounts, store),
        oidc=Flow(settings, Provider(settings)) if settings.oidc_issuer else None,
        directory=Directory(settings) if settings.ldap_host else None,
        certificates=Certificates(settings) if settings.client_ca else None,
        lately=Lately(),
        panels=Panels(),
        lock_out=LockOut(),
        changes=Pace(rate=5.0, burst=60.0),
    )


def console_of(request: Request) -> Console:
    found = request.app.state.console
    if not isinstance(found, Console):
        raise TypeError("the application has no console")
    return found


def origin(host: str, port: int) -> str:
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"

from __future__ import annotations

import os
import re
import subprocess
from email import message_from_string, policy
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from safekit_notify import snmp
from safekit_notify.config import NotifyConfig, Snmp
from safekit_notify.message import Message
from safekit_notify.sending import FIRST_S, TRIES, Sender, ways
from safekit_notify.store import MAX_MESSAGES, Store

from notifier.receivers import PATIENCE_S, mail_server, trap_receiver, web_server

MESSAGE = Message(
    "[warning] lab: web on node2: taking over", "why → so\nline 2", "warning", "lab", "node2", "web", "k1"
)
V3 = {"user": "trial", "auth_password": "authauth", "privacy_password": "privpriv"}
SMI = {
    "SNMPv2-SMI": "internet OBJECT IDENTIFIER ::= { iso 3 6 1 }\nenterprises OBJECT IDENTIFIER ::= { internet 4 1 }\n",
    "SNMPv2-CONF": "",
    "SNMP-FRAMEWORK-MIB": "SnmpAdminString ::= OCTET STRING (SIZE (0..255))\n",
}


def sender(directory: Path, *destinations: dict[str, Any]) -> tuple[Sender, Store]:
    config = NotifyConfig.model_validate({"destinations": destinations})
    store = Store(directory / "notify.db")
    return Sender(store, ways(config, directory)), store


def deliver(made: Sender, store: Store, now_s: float = 0.0) -> None:
    for queued in store.queued():
        if queued.due_s <= now_s:
            made.deliver(queued, now_s)


def test_mail_and_a_webhook_arrive_as_they_were_written(tmp_path: Path) -> None:
    with mail_server() as (mail_port, mails), web_server() as (web_port, hooks):
        mail = f"mailto://127.0.0.1:{mail_port}/?from=safekit@example.org&to=oncall@example.org&mode=insecure"
        made, store = sender(
            tmp_path, {"name": "mail", "url": mail}, {"name": "hook", "url": f"json://127.0.0.1:{web_port}/"}
        )
        store.queue(("k1",), [("mail", MESSAGE), ("hook", MESSAGE)], 0.0)
        deliver(made, store)
        mail_got = message_from_string(mails.get(timeout=PATIENCE_S), policy=policy.default)
        hook = hooks.get(timeout=PATIENCE_S)
    assert mail_got["Subject"] == MESSAGE.title
    assert mail_got["To"] == "oncall@example.org"
    body = mail_got.get_body()
    assert body is not None
    assert "why → so" in body.get_content()
    assert (hook["title"], hook["message"], hook["type"]) == (MESSAGE.title, MESSAGE.text, "warning")
    assert (store.queued(), store.told()) == ([], ["k1"])


def test_what_is_refused_is_tried_again_later_and_survives_a_restart(tmp_path: Path) -> None:
    with web_server(500, 503) as (port, hooks):
        hook = {"name": "hook", "url": f"json://127.0.0.1:{port}/secretpath"}
        made, store = sender(tmp_path, hook)
        store.queue(("k1",), [("hook", MESSAGE)], 0.0)
        deliver(made, store)
        (waiting,) = store.queued()
        assert (waiting.tries, waiting.due_s) == (1, FIRST_S)
        assert "secretpath" not in waiting.error
        store.close()
        again, store = sender(tmp_path, hook)
        deliver(again, store, FIRST_S - 1)
        assert store.queued()[0].tries == 1
        deliver(again, store, FIRST_S)
        assert store.queued()[0].due_s == 3 * FIRST_S
        deliver(again, store, 3 * FIRST_S)
        assert hooks.get(timeout=PATIENCE_S)["title"] == MESSAGE.title
        assert hooks.empty()
    assert store.queued() == []


def test_a_receiver_that_never_takes_it_is_given_up_and_is_not_told(tmp_path: Path) -> None:
    made, store = sender(tmp_path, {"name": "nobody", "snmp": {"host": "127.0.0.1", "port": 9, **V3}})
    made._send = {"nobody": lambda message: f"refused {message.key}"}
    store.queue(("k1",), [("nobody", MESSAGE), ("gone", MESSAGE)], 0.0)
    now_s = 0.0
    for _ in range(TRIES):
        deliver(made, store, now_s)
        now_s += 1000.0
    assert (store.queued(), store.told(), store.claimed()) == ([], [], set())


def test_the_queue_is_bounded(tmp_path: Path) -> None:
    _, store = sender(tmp_path, {"name": "x", "url": "json://127.0.0.1:9/"})
    store.queue(("k1",), [("x", MESSAGE)] * (MAX_MESSAGES + 5), 0.0)
    assert len(store.queued()) == MAX_MESSAGES


@pytest.mark.parametrize("given", [{"version": "3", **V3}, {"version": "2c", "community": "hushhush"}])
def test_a_trap_arrives_and_is_acknowledged(tmp_path: Path, given: dict[str, Any]) -> None:
    with trap_receiver(tmp_path) as (port, lines):
        manager = Snmp.model_validate({"host": "127.0.0.1", "port": port, **given})
        assert snmp.send(manager, MESSAGE, tmp_path / "place") == ""
        line = ""
        while snmp.INCIDENT not in line:
            line = lines.get(timeout=PATIENCE_S)
    assert f'.{snmp.BASE}.1.5.0 = STRING: "{MESSAGE.title}"' in line
    assert (tmp_path / "place/snmp.conf").stat().st_mode & 0o777 == 0o600


def test_a_trap_with_a_wrong_password_or_to_nobody_is_told(tmp_path: Path) -> None:
    with trap_receiver(tmp_path) as (port, _):
        manager = Snmp.model_validate({"host": "127.0.0.1", "port": port, **V3, "auth_password": "something else"})
        assert snmp.send(manager, MESSAGE, tmp_path / "place") != ""


def test_no_secret_is_on_a_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "snmptrap"
    fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/argv\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for given in (V3, {"version": "2c", "community": "hushhush"}):
        assert snmp.send(Snmp.model_validate({"host": "::1", **given}), MESSAGE, tmp_path / "place") == ""
        argv = (tmp_path / "argv").read_text()
        assert "udp6:[::1]:162" in argv
        assert not re.search("authauth|privpriv|hushhush", argv)
    monkeypatch.setenv("PATH", "/nowhere")
    assert "apt-get install snmp" in snmp.send(Snmp.model_validate({"host": "::1", **V3}), MESSAGE, tmp_path / "place")


def test_the_mib_names_what_is_sent(tmp_path: Path) -> None:
    """The modules that it imports are not in Debian's free part: what it needs of them is here."""
    for name, body in SMI.items():
        (tmp_path / f"{name}.txt").write_text(f"{name} DEFINITIONS ::= BEGIN\n{body}END\n")
    (tmp_path / "SAFEKIT-MIB.txt").write_text((files("safekit_notify") / "SAFEKIT-MIB.txt").read_text())
    names = ["safekitIncident", *(f"safekit{name.capitalize()}" for name in snmp.OBJECTS)]
    here = os.environ | {"SNMP_PERSISTENT_DIR": str(tmp_path / "state")}
    argv = ["snmptranslate", "-M", str(tmp_path), "-m", "SAFEKIT-MIB", "-On", "-Pe"]
    done = subprocess.run(
        [*argv, *(f"SAFEKIT-MIB::{name}" for name in names)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env=here,
    )
    oids = [snmp.INCIDENT, *(f"{snmp.BASE}.1.{number}" for number in range(1, len(snmp.OBJECTS) + 1))]
    assert done.stdout.split() == [f".{oid}" for oid in oids]
    assert "SAFEKIT-MIB" not in done.stderr

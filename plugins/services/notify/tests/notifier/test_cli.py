from __future__ import annotations

import threading
from pathlib import Path

import pytest
from safekit_notify import cli
from safekit_notify.message import Message
from safekit_notify.snmp import INCIDENT
from safekit_notify.store import Store
from typer.testing import CliRunner

from notifier.receivers import PATIENCE_S, web_server
from safekit_sdk import ConfigError

MESSAGE = Message("[alarm] lab: web on node1: it fails", "why", "alarm", "lab", "node1", "web", "k1")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its place; becoming another user is tested in the SDK and in the lab."""
    monkeypatch.setattr(cli, "become_user", lambda *_, **__: None)
    for name, place in {"CONFIG": "notify.yaml", "VAR": "var", "SOCKET": "nobody.sock"}.items():
        monkeypatch.setenv(f"SAFEKIT_NOTIFY_{name}", str(tmp_path / place))
    return tmp_path / "notify.yaml"


def written(config: Path, url: str) -> None:
    config.write_text(f'destinations: [{{name: hook, url: "{url}"}}]\n')
    config.chmod(0o640)


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, words)
    if isinstance(done.exception, ConfigError):
        raise done.exception
    return done.exit_code, done.output


def test_a_trial_says_what_each_service_answered(config: Path) -> None:
    with web_server() as (port, got):
        written(config, f"json://127.0.0.1:{port}/")
        assert run("check") == (0, "hook: url, from warning on\n")
        assert run("test") == (0, "hook: sent\n")
        assert "(no safekitd runs)" in got.get(timeout=PATIENCE_S)["title"]
    code, said = run("test")
    assert code == 1
    assert said.startswith("hook: NOT sent: ")


def test_what_waits_is_shown_with_the_last_answer(config: Path, tmp_path: Path) -> None:
    written(config, "json://127.0.0.1:9/")
    assert run("status") == (0, "nothing is waiting\n")
    store = Store(tmp_path / "var/notify.db")
    store.queue(("k1",), [("hook", MESSAGE)], 0.0)
    store.not_sent(store.queued()[0], "it is full", 5.0)
    store.close()
    assert run("status") == (0, f"hook: 1 tries: it is full: {MESSAGE.title}\n")


def test_the_mib_is_printed_and_the_example_is_a_good_file(config: Path) -> None:
    assert INCIDENT.rpartition(".0.")[0].rpartition(".")[2] in run("mib")[1]
    config.write_text(cli.EXAMPLE)
    config.chmod(0o640)
    assert run("check")[0] == 0


def test_a_thread_that_fails_ends_the_service_with_an_error() -> None:
    end, failed = threading.Event(), threading.Event()

    def defect() -> None:
        raise ZeroDivisionError

    cli._guard(defect, end, failed)
    assert end.is_set()
    assert failed.is_set()

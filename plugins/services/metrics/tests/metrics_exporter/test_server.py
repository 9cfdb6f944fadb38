from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from safekit_metrics.server import AT_ONCE, Guard, Server
from safekit_metrics.settings import MetricsSettings

from metrics_exporter.node import Node
from safekit_sdk import ConfigError

TOKEN = "0123456789abcdef"


@contextmanager
def served(directory: Path, **settings: Any) -> Iterator[int]:
    """The port of a server over a node."""
    given = MetricsSettings(port=0, **settings)
    with Node().exporter(directory) as exporter, Server(exporter, given, Guard(given)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, Path]:
    paths = {name: tmp_path / name for name in ("certificate", "key", "token")}
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost"]
    files = ["-keyout", str(paths["key"]), "-out", str(paths["certificate"])]
    named = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", *made, *files, *named], check=True, capture_output=True, timeout=30)
    paths["token"].write_text(f"{TOKEN}\n")
    paths["token"].chmod(0o600)
    return paths


def get(port: int, path: str, tls: ssl.SSLContext | None = None, **headers: str) -> tuple[int, str]:
    plain = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    link = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=tls) if tls else plain
    try:
        link.request("GET", path, headers=headers)
        answer = link.getresponse()
        return answer.status, answer.read().decode()
    finally:
        link.close()


def test_who_asks_on_this_machine_is_answered(tmp_path: Path) -> None:
    with served(tmp_path) as port:
        assert get(port, "/metrics")[0] == 200
        assert "safekit_daemon_up 1.0" in get(port, "/metrics?x=1")[1]
        assert get(port, "/")[0] == 200
        assert get(port, "/other")[0] == 404


def test_who_asks_from_elsewhere_needs_tls_and_the_token(tmp_path: Path, tls: dict[str, Path]) -> None:
    context = ssl.create_default_context(cafile=str(tls["certificate"]))
    with served(tmp_path, address="0.0.0.0", **tls) as port:
        assert get(port, "/metrics", context)[0] == 401
        assert get(port, "/metrics", context, Authorization="Bearer wrong")[0] == 401
        assert get(port, "/metrics", context, Authorization="Bearer \xff")[0] == 401
        assert "safekit_daemon_up" in get(port, "/metrics", context, Authorization=f"Bearer {TOKEN}")[1]
        with pytest.raises((http.client.HTTPException, OSError)):
            get(port, "/metrics")
        assert get(port, "/", context, Authorization=f"Bearer {TOKEN}")[0] == 200


@pytest.mark.parametrize("missing", ["certificate", "key", "token"])
def test_less_than_that_is_refused_before_anybody_is_heard(tls: dict[str, Path], missing: str) -> None:
    rest: dict[str, Any] = {name: path for name, path in tls.items() if name != missing}
    with pytest.raises(ConfigError, match="TLS and a token"):
        Guard(MetricsSettings(address="10.0.0.1", **rest))


def test_a_token_that_others_read_or_guess_and_an_address_that_is_none_are_refused(tls: dict[str, Path]) -> None:
    tls["token"].chmod(0o644)
    with pytest.raises(ConfigError, match="read by others"):
        Guard(MetricsSettings(token=tls["token"]))
    tls["token"].chmod(0o600)
    tls["token"].write_text("short")
    with pytest.raises(ConfigError, match="shorter than 16"):
        Guard(MetricsSettings(token=tls["token"]))
    with pytest.raises(ConfigError, match="no address"):
        Guard(MetricsSettings(address="localhost"))
    with pytest.raises(ConfigError, match="needs its key"):
        Guard(MetricsSettings(certificate=tls["certificate"]))
    tls["key"].write_text("no key")
    with pytest.raises(ConfigError, match="cannot be used"):
        Guard(MetricsSettings(certificate=tls["certificate"], key=tls["key"]))


def test_callers_that_say_nothing_take_up_no_more_than_the_places_there_are(tmp_path: Path) -> None:
    with served(tmp_path) as port, ExitStack() as idle:
        for _ in range(AT_ONCE):
            idle.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        with socket.create_connection(("127.0.0.1", port), timeout=10) as late:
            assert late.recv(1) == b""


def test_who_never_comes_to_an_end_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("safekit_metrics.server.PATIENCE_S", 60.0)
    monkeypatch.setattr(Server, "longest_s", 0.2)
    with served(tmp_path) as port, socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
        slow.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        assert slow.recv(1) == b""


def test_a_setting_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFEKIT_METRICS_PORT", "9999")
    assert json.loads(MetricsSettings().model_dump_json())["port"] == 9999

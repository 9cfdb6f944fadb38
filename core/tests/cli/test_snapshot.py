"""`safekit snapshot` of a node that runs, with secrets planted wherever one may be, and of one that does not."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from safekit_sdk.testing import network_namespace

from .shell import Printing

PLANTED = {
    "of the environment": "Env-Nmql8Zt2",
    "%env:": "Word-Qp77fhsA",
    "of a file": "File-8dhT3nqW",
    "in clear": "Clear-0kd7bV1s",
    "in a file of the module": "Inside-52nsbXcR",
    "a token": "Token-Rt4mYw9e",
    "of the console": "Signed-h3Jd8sKw0qLm",
    "on a command line": "Option-7sNdl2Yv",
    "in an address": "Url-63kdPs9a",
}


class Machine(Printing):
    def files(self, path: Path) -> dict[str, bytes]:
        found = {}
        with tarfile.open(path) as archive:
            for info in archive:
                content = archive.extractfile(info)
                assert content is not None
                found[info.name] = content.read()
        return found


@contextmanager
def node(place: Path) -> Iterator[Machine]:
    with network_namespace() as namespace:
        made = Machine(place, namespace)
        made("cluster", "init", "--node", "n1", "--address", "127.0.0.1")
        try:
            yield made
        finally:
            made("daemon", "stop")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """It runs, and a snapshot of it is `all.tar.gz` in its place."""
    with node(tmp_path_factory.mktemp("node")) as made:
        plant(made)
        environment = {"SAFEKIT_TEST_KEY": PLANTED["of the environment"], "SAFEKIT_TEST_SITE": PLANTED["%env:"]}
        made.run("daemon", "start", code=0, **environment)
        made("apply", "web")
        made("module", "start", "web", "--wait")
        made("snapshot", "--out", str(made.place / "all.tar.gz"))
        yield made


def plant(machine: Machine) -> None:
    """Secrets where operators and programs put them, and again in what is logged."""
    place, etc, log = machine.place, machine.place / "etc", machine.place / "log"
    secret = place / "db.secret"
    secret.write_text(PLANTED["of a file"] + "\n")
    (etc / "witness.token").write_text(f"safekit-witness {PLANTED['a token']}\n")
    shared = machine.place / "var" / "shared"
    shared.mkdir(parents=True)
    (shared / "console.json").write_text(json.dumps({"key": {"number": 1, "value": PLANTED["of the console"]}}))
    for path in (secret, etc / "witness.token", shared / "console.json"):
        path.chmod(0o600)
    module = etc / "modules" / "web"
    module.mkdir(parents=True)
    module.joinpath("module.yaml").write_text(
        f"kind: light\n# password: {PLANTED['in clear']}\n# see env:SAFEKIT_TEST_KEY, %env:SAFEKIT_TEST_SITE%, "
        f"file:{secret}, https://u:{PLANTED['in an address']}@example.net\n"
        "checkers:\n  - tcp: {name: ssh, port: 22, interval: 1s, timeout: 500ms, action: none}\n"
        f"# mysql --password {PLANTED['on a command line']}\n"
    )
    module.joinpath("client.key").write_text(PLANTED["in a file of the module"])
    log.mkdir(exist_ok=True)
    log.joinpath("app.log").write_text("".join(f"it said {value!r} here\n" for value in secrets_by_value()))


def secrets_by_value() -> list[str]:
    """Those that are known by what they are, wherever they are written."""
    return [value for what, value in PLANTED.items() if what.startswith(("of ", "%env", "a token"))]


def test_a_snapshot_has_all_that_the_doctor_needs_and_no_secret(machine: Machine) -> None:
    out = machine.place / "all.tar.gz"
    assert out.stat().st_mode & 0o777 == 0o600
    files = machine.files(out)
    private = (machine.place / "etc" / "node.key").read_text().split()[1]
    everything = b"\n".join([*files.values(), *(name.encode() for name in files)]).decode()
    assert [what for what, value in (PLANTED | {"the node's key": private}).items() if value in everything] == []
    place = "safekit-snapshot/nodes/n1/"
    told = {name.removeprefix(place) for name in files}
    assert {"facts.json", "status.json", "why/web.json", "logs/safekitd.log", "logs/app.log", "journal.jsonl"} <= told
    assert {"configuration/modules/web/1/files/module.yaml", "machine/mounts.txt", "machine/ip-address.json"} <= told
    assert b"it said '(removed)' here" in files[f"{place}logs/app.log"]
    assert json.loads(files[f"{place}left-out.json"]) == []
    assert "tcp.ssh" in everything


def findings(report: str) -> list[Any]:
    return [(one["name"], one["what"], one["nodes"]) for one in json.loads(report)["findings"]]


def test_of_a_snapshot_doctor_log_why_and_replay_say_what_they_say_of_the_node(machine: Machine) -> None:
    out = str(machine.place / "all.tar.gz")
    assert findings(machine("doctor", out, "-o", "json", code=3)) == findings(machine("doctor", "-o", "json", code=3))
    assert json.loads(machine("why", "web", "--file", out, "-o", "json")) == json.loads(
        machine("why", "web", "-o", "json")
    )
    said = json.loads(machine("log", "web", "--file", out, "-o", "json"))
    assert said == json.loads(machine("log", "web", "-o", "json"))[: len(said)] != []
    assert "the engine decides as it did" in machine("replay", "web", "--file", out)
    assert "no part of a node 'n7'" in machine("log", "--file", out, "--on", "n7", code=1)


def test_where_no_daemon_runs_it_is_of_this_machine_and_says_so(tmp_path: Path) -> None:
    with node(tmp_path) as machine:
        out = str(tmp_path / "alone.tar.gz")
        assert "is not in it" in machine("snapshot", "--out", out)
        assert findings(machine("doctor", out, "-o", "json", code=3))[0][0] == "daemon-down"
        assert "cannot be written: File exists" in machine("snapshot", "--out", out, code=1)
        assert "ends with .tar.gz" in machine("snapshot", "--out", str(tmp_path / "x.zip"), code=1)

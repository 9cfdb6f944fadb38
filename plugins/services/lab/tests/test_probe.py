from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from safekit_lab import Lab, LabError

pytestmark = pytest.mark.system
Eventually = Callable[[Callable[[], object]], None]


@pytest.fixture
def server(lab: Lab, eventually: Eventually) -> Iterator[str]:
    """A web server in node1 whose page is the node's name."""
    node = lab.node("node1")
    node.run(["sh", "-c", "mkdir -p /srv/page; hostname > /srv/page/index.html"])
    process = node.start(["python3", "-m", "http.server", "80", "-d", "/srv/page"])
    url = f"http://{node.address()}/"
    eventually(lambda: lab.client().run(["curl", "-sf", url], check=False).returncode == 0)
    yield url
    process.kill()
    process.wait(timeout_s=10)


def test_a_service_that_is_up_has_no_outage(lab: Lab, server: str) -> None:
    with lab.probe(server, duration_s=0.5, timeout_s=5.0) as probe:
        result = probe.result()
    assert result.summary.requests == 50
    assert result.summary.outages == ()
    assert result.summary.servers == {"node1": 50}


def test_a_real_outage_is_seen_with_its_length(lab: Lab, server: str, eventually: Eventually) -> None:
    node = lab.node("node1")
    with lab.probe(server) as probe:
        eventually(lambda: any(record.ok for record in probe.records))
        node.freeze(deep=True)
        eventually(lambda: sum(not record.ok for record in probe.records) > 20)
        node.thaw()
        eventually(lambda: probe.records[-1].ok)
    summary = probe.result().summary
    worst = max(summary.outages, key=lambda outage: outage.gap_ms or 0.0)
    assert worst.failed > 20
    assert worst.duration_ms is not None and worst.gap_ms is not None
    assert worst.gap_ms >= 200


def test_a_refused_connection_is_named(lab: Lab) -> None:
    with lab.probe("http://node2:4711/", duration_s=0.1) as probe:
        summary = probe.result().summary
    assert summary.errors == {"refused": 10}


def test_a_crashed_node_is_an_outage_without_end(lab: Lab, server: str, eventually: Eventually) -> None:
    with lab.probe(server, timeout_s=0.1) as probe:
        eventually(lambda: any(record.ok for record in probe.records))
        lab.node("node1").crash()
        eventually(lambda: probe.records[-1].error == "connect_timeout")
    assert probe.result().summary.outages[-1].end_s is None
    lab.node("node1").boot()


def test_the_server_can_be_told_by_a_header(lab: Lab, server: str) -> None:
    with lab.probe(server, duration_s=0.05, server_header="Server", timeout_s=5.0) as probe:
        (name,) = probe.result().summary.servers
    assert name.startswith("SimpleHTTP")


def test_an_error_status_is_a_failure_with_its_status(lab: Lab, server: str) -> None:
    with lab.probe(f"{server}missing", duration_s=0.05, timeout_s=5.0) as probe:
        assert {(record.error, record.status) for record in probe.result().records} == {("status", 404)}


def test_a_greeting_is_enough_for_a_tcp_service(lab: Lab, eventually: Eventually, tmp_path: Path) -> None:
    greet = (
        "import socket\ns = socket.create_server(('', 7))\nprint('on')\nwhile True: s.accept()[0].send(b'hi there\\n')"
    )
    server = lab.node("node2").start(["python3", "-uc", greet])
    eventually(lambda: server.output)
    with lab.probe("tcp://node2:7", source="node1", duration_s=0.1, timeout_s=5.0, out=tmp_path / "out") as probe:
        assert probe.result().summary.servers == {"hi there": 10}
    assert len((tmp_path / "out").read_text().splitlines()) == 10
    server.kill()


def test_a_slow_server_does_not_slow_the_pace(lab: Lab, eventually: Eventually) -> None:
    mute = lab.node("node2").start(
        [
            "python3",
            "-uc",
            "import socket, time\ns = socket.create_server(('', 8), backlog=99)\nprint('on')\ntime.sleep(600)",
        ]
    )
    eventually(lambda: mute.output)
    with lab.probe("tcp://node2:8", duration_s=0.3, timeout_s=0.6) as probe:
        assert probe.result().summary.errors == {"answer_timeout": 30}
    mute.kill()


def test_what_cannot_be_probed_is_refused(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"write http://HOST"), lab.probe("https://node1/"):
        pass
    with pytest.raises(LabError, match="no-such-host"), lab.probe("http://no-such-host/"):
        pass

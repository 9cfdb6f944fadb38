"""Where the logs go, in which form, and that they do not fill a disk."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

from safekit.logs import KEPT, rotate

SAYS = """
import sys, os, structlog
from pathlib import Path
from safekit.logs import configure_logs
found = os.fstat(2)
if len(sys.argv) > 2:
    os.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
configure_logs("host web", journal=Path(sys.argv[1]))
log = structlog.get_logger("t")
log.info("it runs", module="web", seconds=1.5)
log.debug("not said")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("it failed")
"""


def says(journal: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SAYS, str(journal), *words], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stderr


def fields(datagram: bytes) -> dict[str, str]:
    """As journald reads its native protocol."""
    found: dict[str, str] = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if equals:
            datagram = rest
        else:
            (size,) = struct.unpack("<Q", rest[:8])
            value, datagram = rest[8 : 8 + size], rest[9 + size :]
        found[name.decode()] = value.decode()
    return found


def test_systemds_journal_gets_each_fact_as_a_field(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.settimeout(10.0)
        journal.bind(str(tmp_path / "socket"))
        assert says(tmp_path / "socket", "by systemd") == ""
        first, second = fields(journal.recv(65536)), fields(journal.recv(65536))
    assert first == {
        "MESSAGE": "it runs",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "safekit-host-web",
        "SAFEKIT_MODULE": "web",
        "SAFEKIT_SECONDS": "1.5",
    }
    assert (second["MESSAGE"], second["PRIORITY"]) == ("it failed", "3")
    assert second["SAFEKIT_EXCEPTION"].startswith("Traceback")
    assert second["SAFEKIT_EXCEPTION"].endswith("ZeroDivisionError: division by zero")


def test_anywhere_else_it_is_a_json_object_a_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "socket"))
        first, second = [json.loads(line) for line in says(tmp_path / "socket").splitlines()]
    assert (first["event"], first["level"], first["process"]) == ("it runs", "info", "host web")
    assert "ZeroDivisionError" in second["exception"]


def test_a_journal_that_is_gone_loses_lines_and_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "socket").touch()
    assert says(tmp_path / "socket", "by systemd").count("a line of the log was lost") == 2


def test_a_log_is_begun_anew_and_a_few_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "safekitd.log"
    with path.open("ab", buffering=0) as writer:
        for turn in range(KEPT + 3):
            writer.write(f"{turn}\n".encode() * 10)
            rotate(path, 20)
        writer.write(b"now\n")
    assert path.read_text() == "now\n"
    kept = {one.name: one.read_text()[0] for one in tmp_path.glob("*.log.*")}
    assert kept == {f"safekitd.log.{n}": str(KEPT + 3 - n) for n in range(1, KEPT + 1)}
    assert (tmp_path / "safekitd.log.1").stat().st_mode & 0o007 == 0


def test_of_a_log_that_grew_too_fast_the_end_is_kept_and_a_full_disk_empties_it(tmp_path: Path) -> None:
    path = tmp_path / "safekitd.log"
    path.write_bytes(b"x" * 1000 + b"end")
    rotate(path, 10)
    assert (tmp_path / "safekitd.log.1").read_bytes() == b"x" * 17 + b"end"
    path.write_bytes(b"y" * 1000)
    (tmp_path / "safekitd.log.1").unlink()
    (tmp_path / "safekitd.log.1").mkdir()
    (tmp_path / "safekitd.log.2").mkdir()
    (tmp_path / "safekitd.log.2" / "in-the-way").touch()
    rotate(path, 10)
    assert path.stat().st_size == 0


def test_the_log_of_a_daemon_is_bounded_while_it_runs(tmp_path: Path) -> None:
    program = (
        "import sys; from safekit import logs; logs.LOOK_S = 0.05; logs.bound_log(1000); "
        "print('x' * 1999, file=sys.stderr, flush=True); sys.stdin.read()"
    )
    path = tmp_path / "safekitd.log"
    with (
        path.open("ab") as log,
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stderr=log) as process,
    ):
        assert process.stdin is not None
        copy = tmp_path / "safekitd.log.1"
        until_s = time.monotonic() + 30.0
        while not (copy.exists() and path.stat().st_size == 0):
            assert time.monotonic() < until_s
            time.sleep(0.01)
        process.stdin.close()
    assert copy.read_text() == "x" * 1999 + "\n"

"""Run on a client's machine against a console: wrong passwords, connections that never say what they want, bodies that
are too large. Prints what came back, as JSON."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

LOGINS = 1000
SLOW = 200
PATIENCE_S = 60.0
TRUST = ssl.create_default_context()
TRUST.check_hostname = False
TRUST.verify_mode = ssl.CERT_NONE
FORM = {"content-type": "application/x-www-form-urlencoded"}


def login(host: str, port: int, number: int) -> int:
    connection = http.client.HTTPSConnection(host, port, timeout=PATIENCE_S, context=TRUST)
    try:
        connection.request("POST", "/login", f"name=anna&password=wrong{number}", FORM)
        return connection.getresponse().status
    finally:
        connection.close()


def oversized(host: str, port: int) -> int:
    connection = http.client.HTTPSConnection(host, port, timeout=PATIENCE_S, context=TRUST)
    try:
        connection.request("POST", "/login", b"x" * (8 << 20), FORM)
        return connection.getresponse().status
    except (ConnectionError, ssl.SSLError):
        return 0
    finally:
        connection.close()


def slow(host: str, port: int) -> int:
    """How many of these connections the console ended by itself, while each sent one byte of a header after another."""
    opened = [TRUST.wrap_socket(socket.create_connection((host, port), PATIENCE_S)) for _ in range(SLOW)]
    ended, deadline_s = 0, time.monotonic() + PATIENCE_S
    while opened and time.monotonic() < deadline_s:
        left = []
        for link in opened:
            try:
                link.settimeout(5.0)
                link.sendall(b"G")
                left.append(link)
            except OSError:
                ended += 1
                link.close()
        opened = left
        time.sleep(0.5)
    for link in opened:
        link.close()
    return ended


def main() -> None:
    host, port = sys.argv[1], int(sys.argv[2])
    with ThreadPoolExecutor(8) as pool:
        codes = Counter(pool.map(lambda number: login(host, port, number), range(LOGINS)))
    print(json.dumps({"logins": codes, "oversized": oversized(host, port), "ended": slow(host, port)}))


if __name__ == "__main__":
    main()

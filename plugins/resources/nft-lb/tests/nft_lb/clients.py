"""The clients of a test, in a process of their own.

udp VIP COUNT SIZE PATIENCE_S ADDRESS…   COUNT packets in turn from these addresses: `ADDRESS PORT SERVER…` for each
tcp VIP COUNT ADDRESS…                   COUNT connections: `ADDRESS PORT SERVER`, or what went wrong
hold VIP COUNT ADDRESS…                  opens connections, says `open`, and asks each again for every line of input:
                                         `SERVER…`
pour VIP BYTES                           one connection that receives as many bytes: how many came
"""

from __future__ import annotations

import select
import socket
import sys
import time

QUIET_S = 0.2
"""When all have their answer and nothing has come for this long, nothing more comes."""


def connected(vip: str, source: str, port: int = 7000) -> socket.socket:
    return socket.create_connection((vip, port), timeout=20.0, source_address=(source, 0))


def udp(vip: str, count: str, size: str, patience_s: str, *sources: str) -> None:
    kind = socket.AF_INET6 if ":" in vip else socket.AF_INET
    asked: dict[int, tuple[str, int]] = {}
    answers: dict[int, list[str]] = {}
    ears: list[socket.socket] = []
    for number in range(int(count)):
        ear = socket.socket(kind, socket.SOCK_DGRAM)
        ear.bind((sources[number % len(sources)], 0))
        ear.sendto(b"%08d" % number + b"x" * (int(size) - 8), (vip, 7000))
        asked[number] = ear.getsockname()[:2]
        ears.append(ear)
        if len(ears) >= 200:
            hear(ears, answers, float(patience_s))
            ears = []
    hear(ears, answers, float(patience_s))
    for number, (address, port) in asked.items():
        print(address, port, *answers.get(number, []))


def hear(ears: list[socket.socket], answers: dict[int, list[str]], patience_s: float) -> None:
    """Until nothing more comes; who has no answer waits for `patience_s` after the last of the others."""
    waiting = set(ears)
    until_s = time.monotonic() + patience_s
    while (left_s := until_s - time.monotonic()) > 0:
        for ear in select.select(ears, [], [], left_s)[0]:
            number, name = ear.recv(65536).decode().split()
            answers.setdefault(int(number), []).append(name)
            waiting.discard(ear)
            until_s = time.monotonic() + (patience_s if waiting else QUIET_S)
    for ear in ears:
        ear.close()


def tcp(vip: str, count: str, *sources: str) -> None:
    for number in range(int(count)):
        source = sources[number % len(sources)]
        try:
            with connected(vip, source) as connection:
                connection.sendall(b"who\n")
                print(source, connection.getsockname()[1], connection.makefile().readline().split()[0], flush=True)
        except OSError as error:
            print(source, 0, type(error).__name__, flush=True)


def hold(vip: str, count: str, *sources: str) -> None:
    held = [connected(vip, sources[number % len(sources)]) for number in range(int(count))]
    files = [connection.makefile() for connection in held]
    print("open", flush=True)
    for _ in sys.stdin:
        names = []
        for connection, file in zip(held, files, strict=True):
            try:
                connection.sendall(b"who\n")
                names.append(file.readline().split()[0])
            except (OSError, IndexError) as error:
                names.append(type(error).__name__)
        print(*names, flush=True)


def pour(vip: str, count: str) -> None:
    with socket.create_connection((vip, 7001), timeout=5.0) as connection:
        connection.sendall(count.encode() + b"\n")
        received = 0
        while data := connection.recv(65536):
            received += len(data)
        print(received)


{"udp": udp, "tcp": tcp, "hold": hold, "pour": pour}[sys.argv[1]](*sys.argv[2:])

"""Consoles on the lab's nodes, and a browser on a client's machine: for system tests and benches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from lab_cluster import SAFEKIT, Cluster
from playwright.sync_api import Browser, sync_playwright

from safekit_lab.node import Node

PASSWORD = "correct horse battery"
PORT = 9453


def serve(made: Cluster, node: Node) -> str:
    """Start a node's console; return what it said until it served."""
    node.run(["chmod", "711", "/root"])  # where a Python of root's own lives; the node has a folder of its own there
    made.safekit(node, "console", "setup")
    output = node.new_output()
    node.start([SAFEKIT, "console", "serve"], stdout=output)
    made.wait(lambda: "serves https" in output.read_text(), f"the console of {node.name} serves", 60.0)
    listening = ["ss", "-Hltn", f"sport = :{PORT}"]
    made.wait(lambda: bool(node.run(listening).stdout), f"the console of {node.name} listens", 10.0)
    return output.read_text()


def setup_link(said: str) -> str:
    return str(re.findall(r"https://\S+/setup/\S+", said)[0])


def memory_mib(node: Node, which: str = "VmRSS") -> float:
    """Of a node's console, as /proc names it."""
    (pid,) = node.run(["pgrep", "-u", "safekit-console", "-f", "console serve"]).stdout.split()
    return float(re.findall(rf"{which}:\s+(\d+)", node.run(["cat", f"/proc/{pid}/status"]).stdout)[0]) / 1024


@contextmanager
def chromium(client: Node) -> Iterator[Browser]:
    """Debian's, with the network of the client's machine."""
    with TemporaryDirectory() as place, sync_playwright() as playwright:
        program = Path(place) / "chromium"
        network = f"/proc/{client.status().pid}/ns/net"
        program.write_text(f'#!/bin/sh\nexec nsenter --net={network} chromium "$@"\n')
        program.chmod(0o755)
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=str(program), args=arguments)
        yield browser
        browser.close()

"""Metrics and notifications on the lab's nodes, and who receives them on a client's machine."""

from __future__ import annotations

import json
import sys
from typing import Any

from lab_cluster import SAFEKIT, Cluster
from prometheus_client.parser import text_string_to_metric_families

from safekit_lab.node import Node
from safekit_lab.process import Process

HOOK_PORT = 8080
HOOK = f"""\
import http.server, sys
class Take(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        print("GOT " + body.decode().replace(chr(10), " "), flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.HTTPServer(("", {HOOK_PORT}), Take).serve_forever()
"""
Sample = tuple[str, dict[str, str], float]


def start_service(made: Cluster, node: Node, word: str, said: str, env: dict[str, str] | None = None) -> Process:
    """`safekit WORD serve`, from its setup on until it says that it runs."""
    node.run(["chmod", "711", "/root"])  # where a Python of root's own lives; the node has a folder of its own there
    made.safekit(node, word, "setup")
    process = node.start([SAFEKIT, word, "serve"], env=env)
    made.wait(lambda: said in process.output, f"{word} runs on {node.name}", 60.0)
    return process


def scrape(node: Node) -> list[Sample]:
    text = node.run(["curl", "-sf", "http://127.0.0.1:9454/metrics"]).stdout
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return [(sample.name, dict(sample.labels), sample.value) for sample in samples]


def number(found: list[Sample], name: str, **labels: str) -> float:
    """0 where there is no such sample."""
    fits = [value for one, given, value in found if one == name and given.items() >= labels.items()]
    return sum(fits)


def start_hook(made: Cluster) -> Process:
    """On the client."""
    client = made.lab.client()
    made.write(client, "/opt/hook.py", HOOK)
    process = client.start([sys.executable, "-u", "/opt/hook.py"])
    made.wait(lambda: bool(client.run(["ss", "-Hltn", f"sport = :{HOOK_PORT}"]).stdout), "the hook listens")
    return process


def hooked(process: Process) -> list[dict[str, Any]]:
    """What the hook got."""
    return [json.loads(line[4:]) for line in process.output.splitlines() if line.startswith("GOT ")]


def is_root(node: Node, process: Process) -> bool:
    return node.run(["stat", "-c", "%u", f"/proc/{process.node_pid}"]).stdout.strip() == "0"


FOLDER = "/etc/observed"
TOKEN = "0123456789abcdef0123"
PROMETHEUS = """\
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs:
  - job_name: safekit
    scheme: https
    authorization: {credentials_file: token}
    tls_config: {ca_file: certificate.pem}
    static_configs: [{targets: TARGETS}]
"""


class Prometheus:
    """Debian's, on the client: it scrapes every node by TLS and token, with our alert rules."""

    def __init__(self, made: Cluster) -> None:
        self._made = made
        self._client = made.lab.client()
        addresses = [node.address() for node in made.nodes]
        self._certify(addresses)
        for node in made.nodes:
            for name in ("certificate.pem", "key.pem", "token"):
                made.write(node, f"{FOLDER}/{name}", self._client.run(["cat", f"{FOLDER}/{name}"]).stdout, "0600")
            names = {"CERTIFICATE": "certificate.pem", "KEY": "key.pem", "TOKEN": "token"}
            env = {f"SAFEKIT_METRICS_{name}": f"{FOLDER}/{file}" for name, file in names.items()}
            start_service(made, node, "metrics", "serves https", env | {"SAFEKIT_METRICS_ADDRESS": node.address()})
        rules = made.safekit(made.nodes[0], "metrics", "rules").stdout
        made.write(self._client, f"{FOLDER}/rules.yml", rules)
        targets = json.dumps([f"{address}:9454" for address in addresses])
        made.write(self._client, f"{FOLDER}/prometheus.yml", PROMETHEUS.replace("TARGETS", targets))
        words = [f"--config.file={FOLDER}/prometheus.yml", f"--storage.tsdb.path={FOLDER}/data"]
        self._client.start(["prometheus", *words, "--web.listen-address=127.0.0.1:9090"])
        made.wait(lambda: len(self.ask("query", query="safekit_daemon_up == 1")) == len(addresses), "both are up", 60.0)

    def _certify(self, addresses: list[str]) -> None:
        self._client.run(["mkdir", "-p", FOLDER])
        made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=nodes"]
        files = ["-keyout", f"{FOLDER}/key.pem", "-out", f"{FOLDER}/certificate.pem"]
        named = ["-addext", f"subjectAltName={','.join(f'IP:{address}' for address in addresses)}"]
        self._client.run(["openssl", *made, *files, *named])
        self._made.write(self._client, f"{FOLDER}/token", TOKEN, "0600")

    def ask(self, what: str, **words: str) -> list[Any]:
        """Of its API; nothing while it does not answer. An expression that it refuses raises."""
        asked = [part for name, word in words.items() for part in ("--data-urlencode", f"{name}={word}")]
        url = f"http://127.0.0.1:9090/api/v1/{what}"
        done = self._client.run(["curl", "-s", "--get", url, *asked], check=False)
        if not done.stdout:
            return []
        answer = json.loads(done.stdout)
        assert answer["status"] == "success", answer
        data = answer["data"]
        if isinstance(data, dict):
            data = data["alerts"] if what == "alerts" else data["result"]
        return list(data)

"""What a user would pick instead for a virtual IP: keepalived, with Apache on both nodes."""

from __future__ import annotations

from collections.abc import Callable

import lab_cluster
from lab_cluster import VIP

from safekit_lab import Lab
from safekit_lab.node import Node

CONFIGURATION = """global_defs {{
  router_id {name}
  script_user root
  enable_script_security
}}
vrrp_script apache {{
  script "/usr/bin/pgrep -x apache2"
  interval 1
}}
vrrp_instance web {{
  version 3
  state BACKUP
  nopreempt
  interface eth0
  virtual_router_id 51
  priority {priority}
  advert_int {advert_s}
  virtual_ipaddress {{ {vip}/24 }}
  track_script {{ apache }}
}}
"""
CONFIG_FILE = "/etc/keepalived/keepalived.conf"


class Keepalived:
    """Two nodes, one address. Apache runs on both; a node without it gives up the address."""

    def __init__(self, lab: Lab, advert_s: float) -> None:
        self.lab = lab
        self.made = lab_cluster.Cluster(lab)
        lab_cluster.home_pages(self.made)
        for place, node in enumerate(lab.nodes):
            content = CONFIGURATION.format(name=node.name, priority=100 - 10 * place, advert_s=advert_s, vip=VIP)
            self.made.write(node, CONFIG_FILE, content)
            self._start(node)
        self.wait_well()

    def _start(self, node: Node) -> None:
        self._start_apache(node)
        node.run(["keepalived", "-f", CONFIG_FILE])

    def _start_apache(self, node: Node) -> None:
        node.run(["apachectl", "start"], check=False)

    def primary(self) -> Node | None:
        holders = [node for node in self.lab.nodes if node.state == "running" and self._holds(node)]
        return holders[0] if len(holders) == 1 else None

    @staticmethod
    def _holds(node: Node) -> bool:
        return f" {VIP}/" in node.run(["ip", "-4", "address", "show", "dev", "eth0"]).stdout

    def wait_well(self) -> None:
        self.made.wait(lambda: self.primary() is not None, "one node has the address", 60.0)

    def wait_taken_over(self, survivor: Node) -> None:
        self.made.wait(lambda: self._holds(survivor), f"{survivor.name} has the address", 60.0)

    def crash(self, node: Node) -> Callable[[], None]:
        """Return what brings the node back."""
        node.crash()

        def back() -> None:
            node.boot()
            self._start(node)

        return back

    def kill_apache(self, node: Node) -> Callable[[], None]:
        self.made.kill_processes(node, "apache2")
        return lambda: self._start_apache(node)

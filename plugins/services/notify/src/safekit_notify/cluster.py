"""What is asked of the cluster, through the safekitd of this node."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from safekit_notify.incidents import Event
from safekit_sdk import PeerError
from safekit_sdk.control import ControlClient

SERVICE: Final = "notify"
"""Under this name safekitd keeps what each node has told."""
ASK_S: Final = 5.0
PAGE: Final = 1000
MAX_VALUE_CHARS: Final = 16000


@dataclass(frozen=True, slots=True)
class Living:
    cluster: str
    own: str
    incarnations: dict[str, int]
    """Of the nodes that answer, this one among them."""

    @property
    def rank(self) -> int:
        """How many nodes tell an incident rather than this one."""
        return sorted(self.incarnations).index(self.own)


@dataclass(frozen=True, slots=True)
class Claims:
    told: frozenset[str]
    claimed: dict[str, frozenset[str]]
    """By node, what it has begun to tell."""


class Cluster:
    """Errors are those of the SDK, and TimeoutError."""

    def __init__(self, client: ControlClient) -> None:
        self._client = client

    def changes(self, after: str, timeout_s: float) -> str:
        """When something changed, or the time is over."""
        asked = {"after": after, "timeout_s": timeout_s}
        return str(self._client.call("changes", asked, timeout_s=timeout_s + ASK_S)["at"])

    def living(self) -> Living:
        status = self._client.call("status", timeout_s=ASK_S)
        peers = {str(peer["node"]): int(peer["incarnation"]) for peer in status["peers"] if peer["alive"]}
        own = str(status["node"])
        return Living(str(status["cluster"]), own, peers | {own: int(status["incarnation"])})

    def last_number(self, node: str) -> int:
        return max((int(entry["id"]) for entry in self._entries(node, 0, 1)), default=0)

    def decisions(self, node: str, after: int, heard_s: float) -> list[Event]:
        return [_event(node, entry, heard_s) for entry in self._entries(node, after, PAGE)]

    def _entries(self, node: str, after: int, last: int) -> list[dict[str, Any]]:
        return list(self._on(node, "entries", {"kinds": ["decision"], "after_id": after, "last": last}))

    def why(self, event: Event) -> dict[str, Any]:
        """What its node explains of it."""
        return dict(self._on(event.node, "why", {"module": event.module, "until_id": event.number}))

    def claims(self) -> Claims:
        """Of each node that answers."""
        told: set[str] = set()
        claimed: dict[str, frozenset[str]] = {}
        for node, answer in self._fan("shared", {"service": SERVICE}, ("*",)).items():
            record = dict(answer.get("result") or {}).get(_key(node))
            if record is not None and record["value"]:
                said = json.loads(record["value"])
                told.update(said["told"])
                claimed[node] = frozenset(said["claimed"])
        return Claims(frozenset(told), claimed)

    def publish(self, own: str, told: list[str], claimed: set[str]) -> None:
        """What this node has told, the latest first, and has begun to tell."""
        before = dict(self._client.call("shared", {"service": SERVICE}, timeout_s=ASK_S)).get(_key(own))
        record = {"number": int(before["number"]) + 1 if before else 1, "value": _value(told, sorted(claimed))}
        self._client.call("share", {"service": SERVICE, "records": {_key(own): record}}, timeout_s=ASK_S)

    def _on(self, node: str, op: str, args: dict[str, Any]) -> Any:
        answer = self._fan(op, args, (node,)).get(node, {})
        if "result" not in answer:
            raise PeerError(f"{node}: {dict(answer.get('error') or {}).get('message', 'it did not answer')}")
        return answer["result"]

    def _fan(self, op: str, args: dict[str, Any], nodes: tuple[str, ...]) -> dict[str, Any]:
        asked = {"op": op, "args": args, "nodes": nodes, "timeout_s": ASK_S}
        return dict(self._client.call("fan", asked, timeout_s=ASK_S + 2.0))


def _key(node: str) -> str:
    return f"told/{node}"


def _value(told: list[str], claimed: list[str]) -> str:
    """As much as a record may hold; of what was told long ago nobody asks any more."""
    room = MAX_VALUE_CHARS - 100
    kept: dict[str, list[str]] = {"claimed": [], "told": []}
    for name, keys in (("claimed", claimed), ("told", told)):
        for key in keys:
            room -= len(json.dumps(key)) + 2
            if room < 0:
                break
            kept[name].append(key)
    return json.dumps(kept)


def _event(node: str, entry: dict[str, Any], heard_s: float) -> Event:
    number, body = int(entry["id"]), dict(json.loads(entry["body"]))
    key = f"{node}:{entry['incarnation']}:{number}"
    return Event(key, node, number, str(entry["module"]), float(entry["wall"]), heard_s, body)

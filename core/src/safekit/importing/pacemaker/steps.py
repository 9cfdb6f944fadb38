"""A primitive becomes a step: an OCF agent, or a unit of systemd."""

from __future__ import annotations

import re
from typing import Any, Final

from safekit.importing.account import SECRET, Account
from safekit.importing.draft import Draft, ident, seconds
from safekit.importing.pacemaker.values import pairs, span_s
from safekit.importing.xml import Attribute, Element

SECRETS: Final = "/etc/safekit/secrets"
_AGENT_PART: Final = 0.9
"""What an agent is given of its timeout here."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PARAMETER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_ON_FAIL: Final = {"ignore": "none", "restart": "restart", "stop": "stop", "block": "stop", "standby": "stopstart"}
_UNITS: Final = ("systemd", "service", "lsb", "upstart")


class Steps:
    def __init__(self, account: Account, templates: dict[str, Element]) -> None:
        self._account = account
        self._templates = templates

    def add(self, draft: Draft, primitive: Element, *, promotable: bool) -> None:
        sources = [one for one in (self._templates.get(primitive.get("template")), primitive) if one is not None]
        about = {
            name: one.attributes[name]
            for one in sources
            for name in ("class", "provider", "type")
            if name in one.attributes
        }
        kind = about["class"].value if "class" in about else ""
        name = about["type"].value if "type" in about else ""
        if kind == "ocf":
            provider = about["provider"].value if "provider" in about else "heartbeat"
            key = self._ocf(draft, primitive, sources, f"{provider}:{name}", promotable)
        elif kind in _UNITS:
            key = self._unit(draft, primitive, sources, name)
        else:
            key = ""
        if not key:
            self._lose(
                primitive, "there is no step for an agent of this class or name", "write a step: service, or ocf"
            )
            return
        for source in sources:
            self._account.carried(source, key)
        for attribute in about.values():
            self._account.carried(attribute, f"{key}.{'agent' if kind == 'ocf' else 'unit'}")
        for word in ("template", "id"):
            if word in primitive.attributes:
                self._account.carried(primitive.attributes[word], key)

    def _ocf(self, draft: Draft, primitive: Element, sources: list[Element], agent: str, promotable: bool) -> str:
        if not all(_NAME.fullmatch(part) for part in agent.split(":")) or agent.count(":") != 1:
            return ""
        parameters: dict[str, str] = {}
        secrets: dict[str, str] = {}
        settings: dict[str, Any] = {
            "name": ident(primitive.get("id")),
            "agent": f"ocf:{agent}",
            **self._operations(sources),
        }
        settings |= {"promotable": True} if promotable else {}
        key = draft.add("pipeline", "ocf", settings)
        for source in sources:
            for name, value, pair in pairs(source, "instance_attributes"):
                self._parameter(name, value, pair, key, primitive.get("id"), parameters, secrets)
        step = draft.content["pipeline"][-1]["ocf"]
        step.update({"parameters": parameters} if parameters else {})
        step.update({"secrets": secrets} if secrets else {})
        self._tell_operations(sources, key)
        return key

    def _parameter(
        self,
        name: str,
        value: Attribute,
        pair: Element,
        key: str,
        owner: str,
        parameters: dict[str, str],
        secrets: dict[str, str],
    ) -> None:
        if (
            not _PARAMETER.fullmatch(name)
            or name.startswith("CRM_meta_")
            or len(parameters) >= 128
            or len(secrets) >= 16
        ):
            self._lose(pair, "this is no parameter of an agent")
        elif SECRET.search(name):
            file = f"{SECRETS}/{ident(owner) or 'step'}-{name}"
            secrets[name] = f"file:{file}"
            self._told(pair, f"{key}.secrets.{name}", f"write the secret to {file} on each node, mode 600")
        else:
            parameters[name] = value.value.replace("%", "%%")
            self._told(pair, f"{key}.parameters.{name}")

    def _unit(self, draft: Draft, primitive: Element, sources: list[Element], name: str) -> str:
        unit = name if "." in name else f"{name}.service"
        if not re.fullmatch(r"[A-Za-z0-9:_.@\\-]{1,255}", unit):
            return ""
        operations = {
            key: value
            for key, value in self._operations(sources).items()
            if key.endswith("timeout") and "monitor" not in key
        }
        settings = {"name": ident(primitive.get("id")), "unit": unit, **operations}
        key = draft.add("pipeline", "service", settings)
        self._tell_operations(sources, key, watched="a unit is watched all the time")
        return key

    def _told(self, pair: Element, key: str, todo: str = "") -> None:
        self._account.holds(pair)
        for attribute in pair.attributes.values():
            if attribute is not pair.attributes.get("id"):
                self._account.carried(attribute, key, todo=todo if attribute is pair.attributes.get("value") else "")

    def _operations(self, sources: list[Element]) -> dict[str, Any]:
        """Timeouts, the monitor's interval, what follows when it fails."""
        found: dict[str, float] = {}
        action = None
        for operation in _operations(sources):
            name, timeout_s = operation.get("name"), span_s(operation.get("timeout"))
            interval_s = span_s(operation.get("interval"))
            setting = {
                "start": "start_timeout",
                "promote": "start_timeout",
                "stop": "stop_timeout",
                "demote": "stop_timeout",
            }.get(name)
            if setting and timeout_s:
                found[setting] = max(found.get(setting, 0.0), round(timeout_s / _AGENT_PART, 1))
            if name == "monitor":
                if timeout_s:
                    found["monitor_timeout"] = max(found.get("monitor_timeout", 0.0), timeout_s)
                if interval_s and interval_s >= 1:
                    found["interval"] = min(found.get("interval", interval_s), interval_s)
                action = _ON_FAIL.get(operation.get("on-fail"), action)
        settings: dict[str, Any] = {setting: seconds(value_s) for setting, value_s in found.items()}
        return settings | ({"action": action} if action else {})

    def _tell_operations(self, sources: list[Element], key: str, watched: str = "") -> None:
        for operation in _operations(sources):
            name = operation.get("name")
            if name not in {"start", "stop", "promote", "demote", "monitor"}:
                self._lose(operation, "an agent is not asked for this, or is asked as it advises itself")
                continue
            self._account.holds(operation)
            for attribute in operation.attributes.values():
                self._tell(attribute, operation, attribute.what.partition("=")[0], key, watched)

    def _tell(self, attribute: Attribute, operation: Element, word: str, key: str, watched: str) -> None:
        name = operation.get("name")
        if word == "name":
            self._account.carried(attribute, key)
        elif word == "id":
            self._account.implied(attribute, "it only names the element")
        elif name == "monitor" and watched and word in {"timeout", "interval"}:
            self._account.implied(attribute, watched)
        elif word == "timeout" and span_s(attribute.value):
            setting = (
                "monitor_timeout"
                if name == "monitor"
                else "start_timeout"
                if name in {"start", "promote"}
                else "stop_timeout"
            )
            why = "" if name == "monitor" else "the agent is given nine tenths of it; the longer one of two holds"
            self._account.carried(attribute, f"{key}.{setting}", why=why)
        elif word == "interval" and name == "monitor" and (span_s(attribute.value) or 0) >= 1:
            self._account.carried(attribute, f"{key}.interval", why="one interval in all roles, the shorter one")
        elif word == "interval" and not span_s(attribute.value):
            self._account.implied(attribute, "it is done when it is due")
        elif word == "on-fail" and name == "monitor" and attribute.value in _ON_FAIL and not watched:
            todo = "the node does not leave the cluster for it" if attribute.value == "standby" else ""
            self._account.carried(attribute, f"{key}.action", todo=todo)
        elif word == "role":
            self._account.implied(attribute, "an agent is watched in every role that it has")

    def _lose(self, element: Element, why: str, todo: str = "") -> None:
        for item in element.items():
            if not self._account.is_decided(item):
                self._account.lost(item, why, todo)


def _operations(sources: list[Element]) -> list[Element]:
    return [one for source in sources for outer in source.each("operations") for one in outer.each("op")]

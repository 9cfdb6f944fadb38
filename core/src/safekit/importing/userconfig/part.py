"""What the readers of userconfig.xml share: one element's attributes, each decided about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from safekit.importing.account import Account, Item
from safekit.importing.draft import Draft
from safekit.importing.userconfig.words import Words
from safekit.importing.xml import Attribute, Element

SCOPES: Final = ("pre", "prim", "both", "second", "sec")
_ACTIONS: Final = {name: name for name in ("restart", "stopstart", "stop", "wait", "swap")} | {"noaction": "none"}


@dataclass
class Part:
    words: Words
    account: Account
    draft: Draft

    def value(self, element: Element, name: str) -> str:
        return self.words.text(element.attributes.get(name))

    def carry(self, element: Element, name: str, to: str, **more: str) -> None:
        """The attribute is under this key now, unless it is not there or was found unusable."""
        attribute = element.attributes.get(name)
        if attribute is not None and not self.account.is_decided(attribute):
            self.account.carried(attribute, to, **more)

    def judge(
        self, element: Element, name: str, same: tuple[str, ...], why: str, lost: str = "", todo: str = ""
    ) -> None:
        """Implied where the value is one of `same` (or `same` is empty and nothing is lost), else lost."""
        attribute = element.attributes.get(name)
        if attribute is None or self.account.is_decided(attribute):
            return
        if self.words.text(attribute).lower() in same or not lost:
            self.account.implied(attribute, why)
        else:
            self.account.lost(attribute, lost, todo)

    def lose(self, element: Element, why: str, *names: str, todo: str = "") -> None:
        """These attributes; without names the element and all in it."""
        items: list[Item] = [element.attributes[name] for name in names if name in element.attributes]
        for item in items if names else element.items():
            if not self.account.is_decided(item):
                self.account.lost(item, why, todo)

    def when(self, element: Element, name: str = "when") -> str | None:
        """The states in which it is on."""
        attribute = element.attributes.get(name)
        scope = self.words.text(attribute)
        if attribute is not None and scope not in SCOPES:
            todo = "choose one of " + ", ".join(SCOPES)
            self.account.lost(attribute, f"'{scope[:40]}' is not said here: it is on while primary or running", todo)
        return scope if scope in SCOPES else None

    def action(self, element: Element, default: str | None) -> str | None:
        attribute = element.attributes.get("action")
        if attribute is None:
            return default
        name = self.words.text(attribute).lower()
        if name not in _ACTIONS:
            todo = "react from outside: a hook of `safekit.hooks`, or a rule on its value"
            self.account.lost(attribute, "no program is run when it is down; action: none was written", todo)
        return _ACTIONS.get(name, "none")

    def written(self, attribute: Attribute | None) -> str | None:
        return None if attribute is None else self.words.written(attribute)


def compact(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}

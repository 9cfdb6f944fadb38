"""What a fence agent says of itself: its options and actions, in the XML of the fence agents' convention."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final
from xml.etree import ElementTree

from safekit_sdk import ConfigError

LIMIT_BYTES: Final = 256 * 1024
"""The largest of the agents in Debian 12 say 11 KB."""
_DOCUMENT: Final = re.compile(r"<resource-agent\b.*</resource-agent\s*>", re.DOTALL)
_HINT: Final = "is it a fence agent? it has to answer to action=metadata"


@dataclass(frozen=True, slots=True)
class Metadata:
    options: frozenset[str]
    actions: frozenset[str]

    def unknown(self, names: set[str]) -> list[str]:
        """A sentence for each name that the agent does not know."""
        return [self._mend(name) for name in sorted(names - self.options)]

    def _mend(self, name: str) -> str:
        near = get_close_matches(name, self.options, n=1)
        mend = f"did you mean '{near[0]}'?" if near else f"it knows {', '.join(sorted(self.options))}"
        return f"the agent has no option '{name}'; {mend}"


def parse(text: str) -> Metadata:
    """Of the agent's output; what it printed around the document is passed over. ConfigError when there is none, when
    it is too long, or when it has a document type, which could have entities."""
    if len(text.encode()) >= LIMIT_BYTES:
        raise ConfigError(f"the agent's metadata is longer than {LIMIT_BYTES} bytes", hint=_HINT)
    found = _DOCUMENT.search(text)
    if found is None:
        raise ConfigError("the agent gives no metadata", hint=_HINT)
    if "<!" in re.sub(r"<!--.*?-->|<!\[CDATA\[", "", found[0], flags=re.DOTALL):
        raise ConfigError("the agent's metadata has declarations, which are not read", hint=_HINT)
    try:
        root = ElementTree.fromstring(found[0])
    except ElementTree.ParseError as error:
        raise ConfigError(f"the agent's metadata cannot be read: {error}", hint=_HINT) from None
    return Metadata(_names(root, "parameters/parameter"), _names(root, "actions/action"))


def _names(root: ElementTree.Element, path: str) -> frozenset[str]:
    return frozenset(name for element in root.findall(path) if (name := element.get("name")))

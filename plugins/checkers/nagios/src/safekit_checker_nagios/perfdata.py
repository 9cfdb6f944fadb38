"""Output and performance data of a Monitoring plugin, as the Monitoring Plugins' development guidelines have them:
`'label'=value[UOM];[warn];[crit];[min];[max]`, and the several lines that Nagios 3 brought."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_BOUND = r"[^\s;]*"
_METRIC = re.compile(
    rf"""(?:'(?P<quoted>(?:[^']|'')+)'|(?P<plain>[^\s'=][^\s=]*))
    =(?:(?P<value>{_NUMBER})(?P<unit>[^\s;\d.]*)|(?P<undetermined>U))
    (?:;(?P<warn>{_BOUND}))?(?:;(?P<crit>{_BOUND}))?(?:;(?P<min>{_BOUND}))?(?:;(?P<max>{_BOUND}))?;*(?=\s|$)""",
    re.VERBOSE,
)
_WORD = re.compile(r"'[^']*'\S*|\S+")


@dataclass(frozen=True, slots=True)
class Output:
    """What a plugin printed."""

    text: str
    """Its first line, without performance data."""
    perfdata: str


@dataclass(frozen=True, slots=True)
class Metric:
    label: str
    value: str
    """As it was printed; `U` when the plugin could not determine it."""
    unit: str = ""
    warn: str = ""
    crit: str = ""
    min: str = ""
    max: str = ""

    @property
    def measured(self) -> str:
        """`value[UOM];[warn];[crit];[min];[max]` without what is empty at its end."""
        bounds = (self.warn, self.crit, self.min, self.max)
        return ";".join((f"{self.value}{self.unit}", *bounds)).rstrip(";")

    def __str__(self) -> str:
        """As a plugin prints it; `read_metrics` gives the same back."""
        label = self.label.replace("'", "''")
        return f"'{label}'={self.measured}"


def read_output(printed: str) -> Output:
    """The first line is the text. Behind a `|` in it is performance data, and so is everything behind the next one."""
    first, _, more = printed.partition("\n")
    text, _, begin = first.partition("|")
    rest = more.partition("|")[2]
    return Output(" ".join(text.split()), f"{begin} {' '.join(rest.split())}".strip())


def read_metrics(perfdata: str) -> list[Metric]:
    """In order. What is not of the form is passed by, word for word."""
    found = []
    position = 0
    while word := _WORD.search(perfdata, position):
        match = _METRIC.match(perfdata, word.start())
        if match:
            found.append(_metric(match))
        position = match.end() if match else word.end()
    return found


def _metric(match: re.Match[str]) -> Metric:
    part = match.groupdict(default="")
    label = part["quoted"].replace("''", "'") if part["quoted"] else part["plain"]
    value = part["value"] or part["undetermined"]
    return Metric(label, value, part["unit"], part["warn"], part["crit"], part["min"], part["max"])

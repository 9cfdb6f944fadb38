"""Every figure below build/bench on one page, with plots: build/bench/index.html. It needs no network to be read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from figures import PLACE, STATISTICS, Figure
from jinja2 import Environment, FileSystemLoader, StrictUndefined

MIDDLE, *_, MOST = STATISTICS


@dataclass(frozen=True, slots=True)
class Bar:
    """One contender at one figure. `part` and `most_part` are of the largest value of the plot, 0 to 1."""

    name: str
    contender: str
    value: float
    most: float
    """The worst of the runs; `value` when there is no other."""
    runs: int
    part: float = 0.0
    most_part: float = 0.0


@dataclass(frozen=True, slots=True)
class Plot:
    unit: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Chapter:
    name: str
    measured: str
    machine: dict[str, object]
    plots: tuple[Plot, ...]


def chapter(path: Path) -> Chapter:
    """Of one file as `figures.write` makes it."""
    document = json.loads(path.read_text(encoding="utf-8"))
    found = [Figure(**figure) for figure in document["figures"]]
    measured = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%d %B %Y, %H:%M UTC")
    return Chapter(path.stem, measured, document["machine"], tuple(_plots(found)))


def _plots(found: Sequence[Figure]) -> Iterator[Plot]:
    """One for each run of figures with the same unit, since only these compare by length."""
    for unit, group in groupby(_bars(found), key=lambda pair: pair[0]):
        bars = [bar for _, bar in group]
        longest = max((bar.most for bar in bars), default=0.0) or 1.0
        yield Plot(unit, tuple(_scaled(bar, longest) for bar in bars))


def _scaled(bar: Bar, longest: float) -> Bar:
    part, most = (max(value, 0.0) / longest for value in (bar.value, bar.most))
    return Bar(bar.name, bar.contender, bar.value, bar.most, bar.runs, part, most)


def _bars(found: Sequence[Figure]) -> Iterator[tuple[str, Bar]]:
    """The statistics of one figure are one bar: its median, and how far its worst run went."""
    worst = {name: figure for figure in found if (name := figure.name.removesuffix(f".{MOST}")) != figure.name}
    for figure in found:
        name, _, statistic = figure.name.rpartition(".")
        if statistic in STATISTICS and statistic != MIDDLE and (statistic != MOST or _has_middle(found, name)):
            continue
        name = name if statistic in STATISTICS else figure.name
        most = worst.get(name, figure)
        for contender, value in (("safekit", figure.value), *figure.peers.items()):
            reached = most.value if contender == "safekit" else most.peers.get(contender, value)
            yield figure.unit, Bar(name, contender, value, max(reached, value), figure.runs)


def _has_middle(found: Sequence[Figure], name: str) -> bool:
    return any(figure.name == f"{name}.{MIDDLE}" for figure in found)


def page(chapters: Sequence[Chapter]) -> str:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html").render(chapters=chapters)


def main() -> None:
    found = [chapter(path) for path in sorted(PLACE.glob("*.json"))]
    place = PLACE / "index.html"
    place.write_text(page(found), encoding="utf-8")
    print(f"{sum(len(plot.bars) for one in found for plot in one.plots)} figures of {len(found)} benches: {place}")


if __name__ == "__main__":
    main()

"""Panels of installed packages, good and bad ones; and the last hour of the checkers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from safekit_console.history import SPAN_S, Course, courses
from safekit_console.lately import Lately
from safekit_console.state import ModuleStatus

from console.conftest import Running
from console.safekitd import module
from safekit_sdk.panels import ModuleFacts, NodeFacts
from safekit_sdk.testing.distribution import install_distribution

PACKAGE = """
    import os, time
    from safekit_sdk.panels import Gauge, Panel, Sparkline, Table, Text

    print("a plugin that prints")

    def queue(module):
        if module.name != "web":
            return None
        used = float(module.nodes["node1"].facts["custom.queue"]["used"])
        rows = tuple((node, facts.state) for node, facts in module.nodes.items())
        return Panel(title="Queue <script>alert(1)</script>", parts=(
            Gauge(label="filled", value=used, text="of 40"),
            Table(head=("node", "state"), rows=rows),
            Sparkline(label="latency", points=(1.0, 3.0, 2.0), text="2 ms now"),
            Text(text='<img src=x onerror="alert(1)">', tone="care"),
        ))

    def raises(module):
        raise RuntimeError("no <b>luck</b>")

    def hangs(module):
        time.sleep(3600)

    def dies(module):
        os._exit(3)

    def eats(module):
        return Panel(title="x" * (8 << 30), parts=())

    def nonsense(module):
        return {"title": "x", "parts": [{"kind": "html", "text": "<b>"}]}
"""
NAMES = ("queue", "raises", "hangs", "dies", "eats", "nonsense")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    place = tmp_path / "site"
    place.mkdir()
    (place / "odd_panels.py").write_text(dedent(PACKAGE))
    panels = {name: f"odd_panels:{name}" for name in NAMES}
    install_distribution(place, "odd-panels", {"safekit.panels": {**panels, "absent": "no_such_package:panel"}})
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setattr("safekit_console.panels.ANSWER_S", 4.0)  # a process that imports, on a machine that is busy
    yield


async def test_broken_panels_are_named_and_the_good_one_is_shown(installed: None, running: Running) -> None:
    running.safekitd.inspected = {"custom.queue": {"used": "0.25"}}
    browser = await running.browser("anna", {"web": "monitor"})
    page = (await browser.client.get("/modules/web")).text
    assert "Queue &lt;script&gt;" in page
    assert "<script>alert" not in page
    assert "<img" not in page
    assert '<progress max="1" value="0.25">' in page
    assert "2 ms now" in page
    assert "RuntimeError: no &lt;b&gt;luck&lt;/b&gt;" in page
    for broken, said in (
        ("hangs", "it did not answer within"),
        ("dies", "its process ended"),
        ("eats", "MemoryError"),
        ("nonsense", "ValidationError"),
        ("absent", "ModuleNotFoundError"),
    ):
        section = page.partition(f"<h2>{broken}</h2>")[2].partition("</section>")[0]
        assert "odd-panels" in section
        assert said in section, (broken, section)
    told = (await browser.client.get("/api/v1/modules/web/panels")).json()
    assert {one["name"]: one["panel"] is not None for one in told} == {
        name: name == "queue" for name in (*NAMES, "absent")
    }
    await browser.client.aclose()
    panels = running.console.panels
    worker = panels._worker
    facts = ModuleFacts(name="shop", kind="mirror", nodes={"node1": NodeFacts(state="PRIM", readiness="Ready")})
    again = {shown.name: shown.trouble for shown in await panels.of(facts)}
    assert again == {one["name"]: one["trouble"] for one in told if one["trouble"]}
    assert panels._worker is worker, "what hung is left aside, and delays no other page"
    await panels.close()


async def test_without_panels_there_is_no_process(running: Running) -> None:
    browser = await running.browser("anna", {"web": "monitor"})
    assert (await browser.client.get("/modules/web")).status_code == 200
    assert running.console.panels._worker is None
    await browser.client.aclose()


async def test_many_who_ask_at_once_are_answered_by_one_question() -> None:
    now, asked = [0.0], 0
    lately = Lately(lambda: now[0])

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        if asked == 2:
            raise ValueError("once")
        return asked

    assert await asyncio.gather(*(lately.get(("a",), 1.0, ask) for _ in range(50))) == [1] * 50
    now[0] = 2.0
    with pytest.raises(ValueError, match="once"):
        await lately.get(("a",), 1.0, ask)
    assert await lately.get(("a",), 1.0, ask) == 3
    for n in range(1000):
        await lately.get((n,), 1.0, ask)
    assert len(lately._known) <= 200


def hour(*said: tuple[float, str], value: str = "up", since_s: float = 10.0) -> list[Course]:
    """`said`: seconds ago and health."""
    now = time.time()
    entries = [
        {"type": "VerdictChanged", "wall": now - ago_s, "body": f'{{"resource": "tcp.x", "health": "{health}"}}'}
        for ago_s, health in said
    ]
    values = [{"resource": "tcp.x", "value": value, "reason": "", "since_s": since_s, "facts": {}}]
    status = ModuleStatus.model_validate(module("web", "PRIM", values=values))
    return courses("node1", status, [*entries, {"type": "HostReady", "wall": now, "body": "{}"}], now, now)


def test_the_hour_is_drawn_from_what_was_said_and_what_is_so_now() -> None:
    (course,) = hour((5000.0, "up"), (1800.0, "down"), (1700.0, "down"), (1620.0, "up"), since_s=1620.0)
    assert [(one.at, one.value) for one in course.stretches] == [(0, "up"), (500, "down"), (550, "up")]
    assert course.falls == 1
    assert course.shares["down"] == pytest.approx(180.0, abs=1.0)
    assert sum(course.shares.values()) == pytest.approx(SPAN_S, abs=1.0)


def test_a_short_fall_is_seen_and_what_was_not_checked_is_empty() -> None:
    (course,) = hour((3000.0, "up"), (2000.0, "down"), (1999.9, "init"), (1000.0, "up"), since_s=1000.0)
    assert [one.value for one in course.stretches] == ["up", "down", "up"]
    assert course.stretches[1].width == 4
    assert course.stretches[2].at == 722
    assert sum(course.shares.values()) == pytest.approx(2000.0, abs=2.0)


def test_a_flapping_checker_keeps_the_drawing_small() -> None:
    (course,) = hour(*((3500.0 - n, ("up", "down")[n % 2]) for n in range(1000)), since_s=1.0)
    assert len(course.stretches) <= 200
    assert course.falls == 500
    assert all(one.at + one.width <= 1000 for one in course.stretches)

"""From one node to a cluster of two, by what the console says."""

from __future__ import annotations

from pathlib import Path

import lab_cluster
import pytest
from console_lab import PASSWORD, chromium, serve, setup_link
from lab_cluster import SAFEKIT
from playwright.sync_api import expect

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(200)]
PATIENCE_MS = 60_000
SHOTS = Path(__file__).parents[2] / "build/console"


def test_what_the_page_says_makes_a_cluster_of_two() -> None:
    with (
        lab_cluster.cluster(2, clients=1, formed=False) as made,
        chromium(made.lab.node("client1")) as browser,
    ):
        first, second = made.nodes
        made.safekit(first, "cluster", "init", "--node", first.name, "--address", first.address())
        made.safekit(first, "daemon", "start")
        link = setup_link(serve(made, first))
        page = browser.new_context(ignore_https_errors=True).new_page()
        page.set_default_timeout(PATIENCE_MS)
        defects: list[str] = []
        page.on("console", lambda told: defects.append(told.text) if "Content Security" in told.text else None)
        page.goto(link)
        page.get_by_label("Name").fill("anna")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_label("Once more").fill(PASSWORD)
        page.get_by_role("button", name="Begin").click()
        page.get_by_role("link", name="Add a node").click()
        page.get_by_label("Its name").fill(second.name)
        page.get_by_label("Its own address on lan").fill(second.address())
        page.get_by_role("button", name="Show what to type there").click()
        expect(page.locator("#joined")).to_contain_text("No other node has joined yet")
        for line in page.locator("#commands").inner_text().splitlines():
            second.run(["sh", "-c", f"PATH={Path(SAFEKIT).parent}:$PATH; {line}"])
        expect(page.locator("#joined")).to_contain_text("has joined, and answers", timeout=PATIENCE_MS)
        checked = page.locator("#checked")
        expect(checked).to_contain_text("all heartbeats take one network", timeout=PATIENCE_MS)
        expect(checked).not_to_contain_text("does not hear")
        expect(page.locator("#commands")).to_contain_text("safekit cluster join")
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHOTS / "new-cluster.png", full_page=True)
        page.get_by_role("link", name="Add your first module").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("New module")
        assert defects == []
        made.wait(made.all_hear_each_other, "the nodes hear each other")

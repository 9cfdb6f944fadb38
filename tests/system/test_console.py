"""The console in a real browser on real nodes: from the first link to a module that runs, a node's death with the page
open, and pages that everybody can use."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import console_abuse
import lab_cluster
import pytest
from console_lab import PASSWORD, PORT, chromium, memory_mib, serve, setup_link
from lab_cluster import VIP, Cluster
from playwright.sync_api import Browser, BrowserContext, Page, expect

from safekit_lab.node import Node

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]
PATIENCE_MS = 60_000
AXE = Path(__file__).parents[2] / "plugins/services/console/tests/console/axe.min.js"
SHOTS = Path(__file__).parents[2] / "build/console"
PAGES = {
    "overview": "/",
    "module": "/modules/web",
    "stop": "/modules/web/actions/stop",
    "force": "/modules/web/actions/prim?force=yes",
    "configuration": "/modules/web/configuration",
    "new": "/new/apache",
    "timeline": "/timeline",
    "why": "/modules/web/why",
    "cluster": "/cluster",
    "grow": "/cluster/grow",
    "diagnosis": "/diagnosis",
    "users": "/users",
    "account": "/me",
    "audit": "/audit",
}


@dataclass
class Consoles:
    made: Cluster
    browser: Browser

    @staticmethod
    def url(node: Node, path: str = "/") -> str:
        return f"https://{node.address()}:{PORT}{path}"

    @contextmanager
    def page(self, node: Node, path: str = "/", **settings: Any) -> Iterator[Page]:
        """A browser that is signed in, on a page of this node's console. It heard of no defect when it is closed."""
        with self.context(**settings) as context:
            page = context.new_page()
            self.sign_in(page, node)
            page.goto(self.url(node, path))
            yield page

    @contextmanager
    def context(self, **settings: Any) -> Iterator[BrowserContext]:
        context = self.browser.new_context(ignore_https_errors=True, **settings)
        context.set_default_timeout(PATIENCE_MS)
        defects: list[str] = []
        context.on("weberror", lambda error: defects.append(str(error.error)))
        context.on("console", lambda told: defects.append(told.text) if "Content Security" in told.text else None)
        try:
            yield context
            assert defects == []
        finally:
            context.close()

    def sign_in(self, page: Page, node: Node) -> None:
        page.goto(self.url(node, "/login"))
        page.get_by_label("Name").fill("anna")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_selector("#overview")


@pytest.fixture(scope="module")
def consoles() -> Iterator[Consoles]:
    """Two nodes without consoles or modules, and a browser on the client's machine."""
    with lab_cluster.cluster(2, clients=1) as made, chromium(made.lab.node("client1")) as browser:
        lab_cluster.home_pages(made)
        yield Consoles(made, browser)


@pytest.fixture(scope="module")
def ready(consoles: Consoles) -> Consoles:
    """Anna is administrator, and `web` runs: both came to be through pages alone."""
    first, second = consoles.made.nodes
    link = setup_link(serve(consoles.made, first))
    with consoles.context() as context:
        page = context.new_page()
        page.goto(link)
        page.get_by_label("Name").fill("anna")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_label("Once more").fill(PASSWORD)
        page.get_by_role("button", name="Begin").click()
        page.get_by_role("link", name="New module").click()
        page.get_by_role("link", name="apache").click()
        page.get_by_label("Name", exact=True).press_sequentially("web")
        page.get_by_label("Virtual addresses").press_sequentially("10.77.0.100")
        expect(page.locator("#verdict")).to_contain_text("prefix", timeout=PATIENCE_MS)
        page.get_by_label("Virtual addresses").press_sequentially("/24")
        expect(page.locator("#verdict")).to_contain_text("A good mirror module", timeout=PATIENCE_MS)
        expect(page.get_by_label("module.yaml")).to_have_value(re.compile(rf"address: {VIP}/24"))
        page.get_by_role("button", name="Show the plan").click()
        page.get_by_role("button", name="Apply on all nodes").click()
        page.get_by_role("link", name="Start", exact=True).click()
        page.get_by_role("button", name="Start").click()
        expect(page.locator("#module")).to_contain_text("PRIM", timeout=PATIENCE_MS)
        expect(page.locator("#module")).to_contain_text("SECOND", timeout=PATIENCE_MS)
    serve(consoles.made, second)
    consoles.made.roles()
    return consoles


def test_from_the_first_link_to_a_module_that_runs(ready: Consoles) -> None:
    assert ready.made.is_well()
    entries = json.loads(ready.made.safekit(ready.made.nodes[0], "log", "web", "-o", "json").stdout)
    (asked,) = [e for e in entries if '"start asked for"' in e["body"]]
    assert "console: anna (browser at 10.77.0.201)" in asked["body"]


def test_the_console_has_no_privileges_and_safekitd_knows_it(ready: Consoles) -> None:
    first = ready.made.nodes[0]
    (pid,) = first.run(["pgrep", "-u", "safekit-console", "-f", "console serve"]).stdout.split()
    status = first.run(["cat", f"/proc/{pid}/status"]).stdout
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^Uid:\s+[1-9]", status, re.MULTILINE)


DESK, PHONE = (1280, 900), (360, 740)


@pytest.mark.parametrize(
    ("scheme", "size"),
    [
        pytest.param("light", DESK, id="light desk"),
        pytest.param("dark", PHONE, id="dark phone"),
        pytest.param("dark", DESK, id="dark desk", marks=pytest.mark.long),
        pytest.param("light", PHONE, id="light phone", marks=pytest.mark.long),
    ],
)
def test_axe_finds_nothing_on_any_page(ready: Consoles, scheme: Any, size: tuple[int, int]) -> None:
    found: dict[str, list[str]] = {}
    SHOTS.mkdir(parents=True, exist_ok=True)
    place = {"width": size[0], "height": size[1]}
    with ready.page(ready.made.nodes[0], color_scheme=scheme, viewport=place, reduced_motion="reduce") as page:
        for name, path in PAGES.items():
            page.goto(ready.url(ready.made.nodes[0], path))
            page.evaluate(AXE.read_text())
            tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
            told = page.evaluate("tags => axe.run({runOnly: tags})", tags)
            wrong = [f"{one['id']}: {[node['html'][:120] for node in one['nodes'][:3]]}" for one in told["violations"]]
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                wrong.append("it is wider than the screen")
            if wrong:
                found[name] = wrong
            page.screenshot(path=SHOTS / f"{name}-{scheme}-{size[0]}.png", full_page=True)
    assert found == {}


def test_the_keyboard_is_enough(ready: Consoles) -> None:
    first = ready.made.nodes[0]
    with ready.context() as context:
        page = context.new_page()
        page.goto(ready.url(first, "/login"))
        expect(
            page.get_by_label("Name")
        ).to_be_focused()  # a browser does that when it draws the page, not when it has it
        for text in ("anna", PASSWORD):
            page.keyboard.type(text)
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector("#overview")
        ways = {"Skip to the content": "/#main", "web": "/modules/web", "More": "/modules/web"}
        for name, place in {**ways, "Stop by force": "/modules/web/actions/forcestop"}.items():
            _tab_to(page, name)
            page.keyboard.press("Enter")
            page.wait_for_url(ready.url(first, place))
        expect(page.get_by_role("heading", level=1)).to_have_text("Stop by force: web")


def _tab_to(page: Page, name: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText.trim()") == name:
            return
    raise AssertionError(f"Tab does not reach '{name}'")


def test_a_swap_is_seen_on_an_open_page(ready: Consoles) -> None:
    primary, secondary = ready.made.roles()
    with ready.page(primary) as page:
        named = page.locator(".top", has_text=secondary.name)
        tile = page.locator("#module-web .tile", has=named)  # each tile speaks of the other node, too
        ready.made.swap(secondary)
        expect(tile).to_contain_text("PRIM", timeout=PATIENCE_MS)
    ready.made.roles()


@pytest.mark.long
def test_what_is_done_to_the_console_disturbs_no_heartbeat(ready: Consoles) -> None:
    """A thousand wrong passwords, bodies without end, connections that say nothing for as long as they can."""
    first = ready.made.nodes[0]
    before = _last_entry(ready.made, first)
    client = ready.made.lab.node("client1")
    abuse = str(Path(lab_cluster.__file__).with_name("console_abuse.py"))
    done = client.run([sys.executable, abuse, first.address(), str(PORT)], timeout_s=280.0)
    told = json.loads(done.stdout)
    assert set(told["logins"]) == {"401", "429"}
    assert sum(told["logins"].values()) == console_abuse.LOGINS
    assert told["logins"]["401"] < 30
    assert told["oversized"] in {0, 413}
    assert told["ended"] == console_abuse.SLOW
    assert memory_mib(first, "VmHWM") < 640
    ready.made.wait(lambda: memory_mib(first) < 260, "the console has given its memory back")
    rules = [entry["type"] for entry in _entries(ready.made, first) if entry["id"] > before]
    assert "peer-lost" not in rules
    assert ready.made.is_well()


def test_when_its_node_dies_an_open_page_goes_over_to_the_other(ready: Consoles) -> None:
    primary, survivor = ready.made.roles()
    with ready.page(primary) as page:
        expect(page.locator("#live")).to_contain_text("Live", timeout=PATIENCE_MS)
        ready.made.follow_crash(primary, survivor)
        page.wait_for_url(ready.url(survivor), timeout=PATIENCE_MS)
        expect(page.locator("#module-web")).to_contain_text("ALONE", timeout=PATIENCE_MS)
        expect(page.locator("#module-web")).to_contain_text("ERROR")
        expect(page.locator("h1")).to_contain_text(f"If {survivor.name} failed now, web would stop.")
        page.goto(ready.url(survivor, "/modules/web/why"))
        expect(page.locator(".lead")).to_contain_text(f"{primary.name} was silent for")


def _entries(made: Cluster, node: Node) -> list[dict[str, Any]]:
    return list(json.loads(made.safekit(node, "log", "-n", "2000", "-o", "json").stdout))


def _last_entry(made: Cluster, node: Node) -> int:
    return int(_entries(made, node)[-1]["id"])

"""What the console costs and how quick it is, on a mirror of two lab nodes: build/bench/console.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import lab_cluster
from console_lab import PASSWORD, chromium, memory_mib, serve, setup_link
from figures import Figure, figures, statistic, table, write
from lab_cluster import Cluster
from playwright.sync_api import Page

from safekit_lab.node import Node

SWAPS = 6
LOADS = 10
STREAMS = 200
PAGES = 200
TABS = 10
"""Of the pages, so many are tabs of a real browser."""
CROWD_SWAPS = 4
PAGES_S = 40.0
REQUESTS = 400
LOAD = str(Path(__file__).with_name("console_load.py"))
PAINT = "(performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0)"
USEFUL = """() => new Promise((painted, failed) => {
  new PerformanceObserver((list) => {
    const last = list.getEntries().findLast((entry) => entry.element?.closest('#overview'));
    if (last) painted(last.startTime);
  }).observe({type: 'largest-contentful-paint', buffered: true});
  setTimeout(failed, 20000, new Error('nothing of the overview was painted'));
})"""
"""When the largest thing of the overview was there: the sentence that says what would happen if a node died now."""
WEIGHT = "performance.getEntries().reduce((sum, entry) => sum + (entry.encodedBodySize || 0), 0)"
WATCH = """() => {
  window.seen = [];
  const look = () => {
    const found = {};
    for (const tile of document.querySelectorAll('#module-web .tile'))
      found[tile.querySelector('.top > b').innerText] = tile.querySelector('.pill').innerText.replace(/\\s+/g, '/');
    window.seen.push([Date.now() / 1000, found]);
  };
  new MutationObserver(look).observe(document.getElementById('overview'),
    {subtree: true, childList: true, characterData: true, attributes: true});
}"""


def enter(page: Page, link: str) -> None:
    page.goto(link)
    page.fill("[name=name]", "anna")
    page.fill("[name=password]", PASSWORD)
    page.fill("[name=again]", PASSWORD)
    page.click("button.primary")
    page.wait_for_selector("#overview")


def token(page: Page) -> str:
    return str(
        page.evaluate(
            """async () => (await (await fetch('/api/v1/tokens', {method: 'POST', body: JSON.stringify(
                {label: 'bench', grants: {'*': 'monitor'}}), headers: {'content-type': 'application/json',
                'x-csrf': document.querySelector('meta[name=csrf]').content}})).json()).token"""
        )
    )


def decided(made: Cluster, node: Node) -> list[tuple[float, str]]:
    """When the engine of the node put `web` into which state."""
    entries = json.loads(made.safekit(node, "log", "web", "-n", "500", "-o", "json").stdout)
    bodies = [(float(entry["wall"]), json.loads(entry["body"])) for entry in entries if entry["kind"] == "decision"]
    return [(wall, body["after"]) for wall, body in bodies if body["before"] != body["after"]]


def latencies(made: Cluster, page: Page) -> list[float]:
    """From the engine's decision to the page that shows it, of what the page has seen since it was last asked; states
    that the next one replaced are not counted."""
    seen: list[tuple[float, dict[str, str]]] = page.evaluate("window.seen.splice(0)")
    since = seen[0][0] if seen else 0.0
    found = []
    for node in made.nodes:
        for wall, state in decided(made, node):
            shown = next((at for at, tiles in seen if at >= wall - 0.002 and tiles.get(node.name) == state), None)
            if wall >= since and shown is not None and shown - wall < 5.0:
                found.append((shown - wall) * 1000)
    return found


def visits(page: Page, url: str) -> list[Figure]:
    """Of the overview: by a browser that has nothing of it yet, and by one that was there before."""
    useful, weights, paints = [], [], []
    browser = page.context.browser
    assert browser is not None
    for _ in range(LOADS):
        context = browser.new_context(ignore_https_errors=True, storage_state=page.context.storage_state())
        first = context.new_page()
        first.goto(f"{url}/")
        useful.append(float(first.evaluate(USEFUL)))
        weights.append(float(first.evaluate(WEIGHT)) / 1024)
        context.close()
        page.goto(f"{url}/")
        page.evaluate(USEFUL)
        paints.append(float(page.evaluate(PAINT)))
    weight = Figure("page_weight.max", round(max(weights), 1), "KiB", LOADS)
    return [weight, *figures("first_useful_paint", useful, {}), *figures("first_paint", paints, {})]


def measure(made: Cluster, page: Page, url: str) -> list[Figure]:
    first, client = made.nodes[0], made.lab.node("client1")
    found = visits(page, url)
    page.evaluate(WATCH)
    for _ in range(SWAPS):
        made.swap(made.roles()[1])
    made.roles()
    found += figures("event_to_page", latencies(made, page), {})
    bearer, before = token(page), memory_mib(first)
    asked = json.loads(client.run([sys.executable, LOAD, "ask", url, bearer, str(REQUESTS)], timeout_s=120).stdout)
    told = json.loads(
        client.run([sys.executable, LOAD, "follow", url, bearer, str(STREAMS), "20"], timeout_s=120).stdout
    )
    assert told["failed"] == []
    assert len({stream for stream, _, _ in told["heard"]}) == STREAMS
    return [
        *found,
        Figure("memory.max", round(before, 1), "MiB", 1),
        Figure(f"memory_{STREAMS}_streams.max", round(memory_mib(first), 1), "MiB", 1),
        *crowd(made, page, url, bearer),
        Figure("status_requests.median", statistic("median", [asked["per_s"]]), "1/s", REQUESTS),
    ]


def crowd(made: Cluster, page: Page, url: str, bearer: str) -> list[Figure]:
    """Many pages of one module open while its primary moves: each shows it, and memory stays bounded. The overview is
    one more, on which it is seen how soon."""
    tabs = [page.context.new_page() for _ in range(TABS)]
    for tab in tabs:
        tab.goto(f"{url}/modules/web")
    client, first = made.lab.node("client1"), made.nodes[0]
    output = client.new_output()
    load = client.start([sys.executable, LOAD, "pages", url, bearer, str(PAGES - TABS), str(PAGES_S)], stdout=output)
    made.wait(lambda: "open" in output.read_text(), f"{PAGES} pages are open", 120.0)
    page.evaluate("window.seen.splice(0)")
    for _ in range(CROWD_SWAPS):
        made.swap(made.roles()[1])
    primary, _ = made.roles()
    for tab in tabs:
        tile = tab.locator(".tile", has=tab.locator(".top", has_text=primary.name))
        tile.get_by_text("PRIM", exact=True).wait_for(timeout=30_000)
    load.wait(PAGES_S + 60.0)
    told = json.loads(output.read_text().splitlines()[-1])
    assert told["failed"] == [], told["failed"][:3]
    assert len(told["took_ms"]) >= PAGES - TABS
    for tab in tabs:
        tab.close()
    return [
        *figures(f"event_to_page_{PAGES}_pages", latencies(made, page), {}),
        Figure(f"memory_{PAGES}_pages.max", round(memory_mib(first, "VmHWM"), 1), "MiB", 1),
        *figures(f"fetch_{PAGES}_pages", told["took_ms"], {}),
    ]


def main() -> None:
    with lab_cluster.cluster(2, clients=1) as made, chromium(made.lab.node("client1")) as browser:
        lab_cluster.add_apache_mirror(made)
        link = setup_link(serve(made, made.nodes[0]))
        page = browser.new_context(ignore_https_errors=True).new_page()
        enter(page, link)
        found = measure(made, page, link.partition("/setup")[0])
    print(write("console", found))
    print(table(found))


if __name__ == "__main__":
    main()

"""Actions: guarded, journaled with who asked, done once."""

from __future__ import annotations

import asyncio

from console.conftest import Running
from console.safekitd import module


async def test_an_action_says_who_asked_and_from_where(running: Running) -> None:
    token = await running.token("anna", {"web": "control"})
    async with running.client(token) as client:
        answer = await client.post("/api/v1/modules/web/actions", json={"action": "restart", "nodes": ["node2"]})
    assert answer.json() == {"node2": {"decisions": ["command asked for"], "revision": 2, "token": "T"} | LEFT}
    ((op, args, by),) = running.safekitd.asked
    assert (op, args) == ("command", {"module": "web", "command": "restart", "force": False})
    assert by.startswith("anna (token ")
    assert by.endswith(" at 127.0.0.1)")
    assert [(e.who, e.action, e.target, e.outcome) for e in running.console.store.audit(1)] == [
        ("anna", "restart", "web on node2", "done")
    ]


async def test_safekitd_orders_a_stop_of_several_nodes(running: Running) -> None:
    token = await running.token("anna", {"web": "control"})
    async with running.client(token) as client:
        answer = await client.post("/api/v1/modules/web/actions", json={"action": "stop", "nodes": ["*"]})
    assert answer.json() == {node: {"decisions": ["stop asked for"]} for node in ("node1", "node2")}
    ((op, args, _),) = running.safekitd.asked
    assert (op, args["module"], args["nodes"]) == ("stop", "web", ["node1", "node2"])


LEFT = {"nodes": {}, "late": []}


async def test_what_may_lose_data_wants_the_name_of_the_module(running: Running) -> None:
    token = await running.token("anna", {"*": "admin"})
    asked = {"action": "prim", "nodes": ["node1"], "force": True}
    async with running.client(token) as client:
        refused = await client.post("/api/v1/modules/web/actions", json=asked)
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:safekit:problem:unconfirmed")
        assert (await client.delete("/api/v1/modules/web")).status_code == 409
        assert running.safekitd.asked == []
        done = await client.post("/api/v1/modules/web/actions", json={**asked, "confirm": "web"})
        assert done.status_code == 200


async def test_an_idempotency_key_is_done_once_and_answers_alike(running: Running) -> None:
    token = await running.token("anna", {"*": "control"})
    headers = {"idempotency-key": "key-0001"}
    async with running.client(token) as client:
        first = await client.post("/api/v1/modules/web/actions", json={"action": "swap"}, headers=headers)
        second = await client.post("/api/v1/modules/web/actions", json={"action": "swap"}, headers=headers)
        other = await client.post("/api/v1/modules/web/actions", json={"action": "restart"}, headers=headers)
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert other.status_code == 422
    assert len(running.safekitd.asked) == 1


async def test_a_form_of_a_page_does_the_same(running: Running) -> None:
    browser = await running.browser("anna", {"web": "control"})
    fields = {"csrf": browser.csrf, "on": ["node1", "node2"]}
    answer = await browser.client.post("/modules/web/actions/start", data=fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/modules/web")
    assert len(running.safekitd.asked) == 2
    page = await browser.client.get("/modules/web", headers={"accept": "text/html"})
    assert "node1: command asked for" in page.text
    await browser.client.aclose()


async def test_a_change_is_seen_and_a_lost_node_too(running: Running) -> None:
    watch = running.console.watch
    running.safekitd.modules["node1"] = [module("web", "ALONE")]
    running.safekitd.lost.add("node2")
    running.safekitd.change()
    number = watch.snapshot.number
    async with asyncio.timeout(10):
        while (snapshot := watch.snapshot).nodes["node2"].status is not None:
            await watch.after(snapshot.number, 1.0)
    assert snapshot.number > number
    found = snapshot.module("web")["node1"]
    assert found is not None
    assert found.state == "ALONE"


async def test_bodies_are_bounded_and_told_in_json(running: Running) -> None:
    token = await running.token("anna", {"*": "admin"})
    async with running.client(token) as client:
        large = await client.post("/api/v1/modules/web/actions", content=b"x" * (300 << 10))
        assert (large.status_code, large.headers["content-type"]) == (413, "application/problem+json")
        unknown = await client.post("/api/v1/modules/web/actions", json={"action": "swap", "x": 1})
        assert (unknown.status_code, unknown.json()["where"]) == (422, "body.x")
        form = "&".join(f"a{n}=1" for n in range(300))
        kind = {"content-type": "application/x-www-form-urlencoded"}
        assert (await client.post("/login", content=form, headers=kind)).status_code == 400


async def test_changes_have_a_pace(running: Running) -> None:
    token = await running.token("anna", {"*": "control"})
    async with running.client(token) as client:
        codes = [(await client.post("/api/v1/modules/web/actions", json={})).status_code for _ in range(80)]
    assert codes[:60] == [422] * 60
    assert 429 in codes[60:]


def farm(held: int) -> dict[str, object]:
    owners = ["node1"] * 192 + ["node2"] * 63 + [""]
    return {"epoch": 3, "leader": "node1", "owners": owners, "weight": 300, "held": held, "moving": 0}


async def test_a_farm_shows_its_buckets_and_takes_weights(running: Running) -> None:
    running.safekitd.modules = {
        "node1": [module("web", "UP", kind="farm", farm=farm(192))],
        "node2": [module("web", "UP", kind="farm", farm=farm(63))],
    }
    running.safekitd.change()
    browser = await running.browser("anna", {"web": "control"})
    async with asyncio.timeout(10):
        while "75% of the clients" not in (page := await browser.client.get("/modules/web")).text:
            await running.console.watch.after(running.console.watch.snapshot.number, 0.1)
    assert 'aria-label="node1: 192 node2: 63 "' in page.text
    assert "Its part of the clients (75%) goes to node2 within seconds." in page.text
    fields = {"csrf": browser.csrf, "node": "node2", "weight": "0"}
    assert (await browser.client.post("/modules/web/weights", data=fields)).status_code == 303
    assert running.safekitd.asked[0][:2] == ("weight", {"module": "web", "weight": 0})
    await browser.client.aclose()


async def test_a_resynchronisation_shows_how_far_it_is(running: Running) -> None:
    facts = {"resync.total_bytes": "1000", "resync.done_bytes": "250", "resync.rate_bytes_per_s": "1048576"}
    running.safekitd.inspected = {"rfs.data": facts | {"resync.left_s": "12.0"}}
    browser = await running.browser("anna", {"*": "monitor"})
    page = await browser.client.get("/modules/web")
    assert "25%" in page.text
    assert "1.0 MiB/s · 12 s left" in page.text
    await browser.client.aclose()


async def test_who_may_not_see_a_module_sees_nothing_of_it(running: Running) -> None:
    browser = await running.browser("anna", {"shop": "monitor"})
    for path in ("/", "/timeline", "/me", "/api/v1/modules", "/api/v1/journal", "/api/v1/cluster"):
        assert "web" not in (await browser.client.get(path)).text.replace("/web", "")
    assert (await browser.client.get("/api/v1/modules/web")).status_code == 404
    await browser.client.aclose()


async def test_a_snapshot_is_a_file_and_is_written_down(running: Running) -> None:
    browser = await running.browser("anna", {"*": "admin"})
    page = await browser.client.post("/cluster/snapshot", data={"csrf": browser.csrf})
    call = await browser.client.post("/api/v1/cluster/snapshot", headers={"x-csrf": browser.csrf})
    for answer in (page, call):
        assert (answer.content, answer.headers["safekit-missing"]) == (b"\x1f\x8b\x08", "node2")
        name = "safekit-lab-19700101-000001.tar.gz"
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    entries = running.console.store.audit(2)
    assert [(entry.action, entry.outcome) for entry in entries] == [("make snapshot", "done")] * 2
    await browser.client.aclose()


async def test_the_commands_for_a_new_node_are_for_its_name_and_address(running: Running) -> None:
    browser = await running.browser("anna", {"*": "admin"})
    given = {"csrf": browser.csrf, "node": "node3", "address:lan": "10.0.0.3"}
    wrong = (
        ({"node": "a; reboot"}, "letters, digits"),
        ({"node": "node2"}, "of this name already"),
        ({"address:lan": "10.0.0"}, "own IP address"),
        ({"address:lan": "10.0.0.2"}, "has this address already"),
    )
    for change, said in wrong:
        answer = await browser.client.post("/cluster/grow", data=given | change)
        assert (answer.status_code, said in answer.text) == (422, True)
    assert running.safekitd.asked == []
    page = (await browser.client.post("/cluster/grow", data=given)).text
    assert "echo T | safekit cluster join - --node node3 --address 10.0.0.3\n" in page
    assert [op for op, _, _ in running.safekitd.asked] == ["token"]
    assert "has joined, and answers" in page
    assert "Nothing is wrong" in page
    await browser.client.aclose()

"""What somebody tries who wants in, or wants the console down."""

from __future__ import annotations

import asyncio

import pytest
from safekit_console import guard
from safekit_console.api import events
from safekit_console.store import AUDIT_ROWS, FAILED_ROWS

from console.conftest import PASSWORD, Running

FORM = {"content-type": "application/x-www-form-urlencoded"}


async def test_many_guesses_at_the_same_moment_are_no_more_than_one_after_the_other(running: Running) -> None:
    await running.console.accounts.add("anna", PASSWORD, {"*": "admin"})
    async with running.client() as client:
        tries = [client.post("/login", data={"name": "anna", "password": f"wrong {n}"}) for n in range(40)]
        codes = [answer.status_code for answer in await asyncio.gather(*tries)]
    assert codes.count(401) == 5
    assert codes.count(429) == 35


async def test_a_new_sign_in_ends_the_earlier_session_of_the_browser(running: Running) -> None:
    browser = await running.browser("anna", {"*": "admin"})
    before = browser.client.cookies["__Host-safekit"]
    await browser.client.post("/login", data={"name": "anna", "password": PASSWORD})
    async with running.client() as client:
        client.cookies.set("__Host-safekit", before)
        assert (await client.get("/api/v1/me")).status_code == 401
    assert len(running.console.store.sessions("anna")) == 1
    await browser.client.aclose()


async def test_what_is_refused_and_who_goes_is_written_down(running: Running) -> None:
    browser = await running.browser("anna", {"web": "monitor"})
    headers = {"x-csrf": browser.csrf}
    path = "/api/v1/modules/web/actions"
    assert (await browser.client.post(path, json={"action": "swap"}, headers=headers)).status_code == 403
    assert (await browser.client.post("/logout")).status_code == 403
    await browser.client.post("/logout", data={"csrf": browser.csrf})
    entries = [(one.who, one.action, one.target) for one in running.console.store.audit(2)]
    assert entries == [("anna", "sign out", ""), ("anna", "denied", f"POST {path}")]
    await browser.client.aclose()


async def test_failed_sign_ins_push_no_action_out_of_the_audit_journal(running: Running) -> None:
    store = running.console.store
    store.note("anna", "browser", "remove", "web", "done")
    store._db.execute("BEGIN")
    for _ in range(FAILED_ROWS + AUDIT_ROWS // 10):
        store.note("x", "browser", "sign in", "", "failed: wrong name or password")
    store._db.execute("COMMIT")
    (count,) = store._db.execute("SELECT count(*) FROM audit").fetchone()
    assert count <= FAILED_ROWS + 200
    assert store._db.execute("SELECT who FROM audit WHERE action = 'remove'").fetchall() == [("anna",)]


async def test_bodies_of_strangers_hold_a_bounded_memory_together(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "HELD_BYTES", 1 << 20)
    gate = asyncio.Event()

    async def slow() -> object:
        yield b"x" * (900 << 10)
        await gate.wait()
        yield b"x"

    async with running.client() as client:
        path = "/api/v1/modules/web/plan"
        first = asyncio.create_task(client.post(path, content=slow()))
        async with asyncio.timeout(10):
            while not guard._Body._held:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        refused = await client.post(path, content=b"x" * (900 << 10))
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:safekit:problem:busy")
        assert (await client.post("/login", content=b"name=anna&password=x", headers=FORM)).status_code == 401
        gate.set()
        assert (await first).status_code == 401
    assert guard._Body._held == 0


async def test_event_streams_are_bounded_also_when_all_come_at_once(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "STREAMS_EACH", 3)
    user = await running.console.accounts.add("anna", PASSWORD, {"*": "monitor"})
    _, token = await running.console.accounts.issue(user, "x", {"*": "monitor"}, 600.0)
    assert running.console.accounts.bearer(token) is not None
    monkeypatch.setitem(events._OPEN, "anna", 3)
    async with running.client(token) as client:
        answer = await client.get("/api/v1/events")
    assert (answer.status_code, "retry-after" in answer.headers) == (429, True)

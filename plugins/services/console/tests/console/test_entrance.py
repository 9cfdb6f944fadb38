"""Coming in: the link, the password, the lock-out, the session, the way over from another node."""

from __future__ import annotations

from pathlib import Path

import pytest
from argon2 import PasswordHasher
from safekit_console import accounts
from safekit_console.accounts import User
from safekit_console.handover import HandOver
from safekit_console.store import Store

from console.conftest import PASSWORD, Running

HTML = {"accept": "text/html"}


async def test_the_link_makes_one_administrator_and_no_second(running: Running) -> None:
    secret = await running.console.accounts.open_setup()
    async with running.client() as client:
        assert (await client.get(f"/setup/{secret}")).status_code == 200
        short = await client.post(f"/setup/{secret}", data={"name": "anna", "password": "short", "again": "short"})
        assert short.status_code == 422
        fields = {"name": "anna", "password": PASSWORD, "again": PASSWORD}
        assert (await client.post(f"/setup/{secret}", data=fields)).status_code == 303
        assert (await client.get("/", headers=HTML)).status_code == 200
        again = await client.post(f"/setup/{secret}", data={**fields, "name": "bo"})
        assert again.status_code == 410
    assert [user.name for user in running.console.accounts.users()] == ["anna"]


async def test_users_are_on_every_node(running: Running) -> None:
    await running.console.accounts.add("anna", PASSWORD, {"*": "admin"})
    assert "user/anna" in running.safekitd.records["node2"]
    assert PASSWORD not in str(running.safekitd.records)


async def test_a_guess_costs_as_much_as_it_has_to(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "PasswordHasher", PasswordHasher)
    user = await accounts.Accounts(running.console.records).add("anna", PASSWORD, {"*": "admin"})
    assert user.password.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


async def test_a_node_that_was_away_gets_what_it_missed(running: Running) -> None:
    running.safekitd.lost.add("node2")
    await running.console.accounts.add("anna", PASSWORD, {"*": "admin"})
    assert "user/anna" not in running.safekitd.records["node2"]
    running.safekitd.lost.clear()
    await running.console.records.level()
    assert "user/anna" in running.safekitd.records["node2"]


async def test_wrong_passwords_lock_out_at_that_address_and_are_written_down(running: Running) -> None:
    await running.console.accounts.add("anna", PASSWORD, {"*": "admin"})
    async with running.client() as client:
        codes = [
            (await client.post("/login", data={"name": "anna", "password": f"wrong {n}"})).status_code for n in range(7)
        ]
        assert codes == [401] * 5 + [429] * 2
        assert (await client.post("/login", data={"name": "anna", "password": PASSWORD})).status_code == 429
    outcomes = [entry.outcome for entry in running.console.store.audit(10)]
    assert outcomes == ["failed: wrong name or password"] * 5


async def test_a_session_ends_with_a_change_of_the_user_and_with_signing_out(running: Running) -> None:
    browser = await running.browser("anna", {"*": "admin"})
    await running.console.accounts.change("anna", grants={"*": "admin", "web": "monitor"})
    assert (await browser.client.get("/api/v1/me")).status_code == 401
    browser = await running.browser("anna", {})
    assert (await browser.client.post("/logout", data={"csrf": browser.csrf})).status_code == 303
    assert (await browser.client.get("/api/v1/me")).status_code == 401


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(running: Running) -> None:
    await running.console.accounts.add("anna", PASSWORD, {})
    async with running.client() as client:
        answer = await client.post("/login", data={"name": "anna", "password": PASSWORD, "next": "//evil.example/"})
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("__host-", "httponly", "secure", "samesite=strict", "path=/"))


async def test_another_site_cannot_sign_a_browser_in(running: Running) -> None:
    await running.console.accounts.add("anna", PASSWORD, {})
    async with running.client() as client:
        fields, headers = {"name": "anna", "password": PASSWORD}, {"sec-fetch-site": "cross-site"}
        assert (await client.post("/login", data=fields, headers=headers)).status_code == 403
        assert (await client.post("/login", data=fields)).status_code == 303


async def test_a_ticket_brings_its_user_over_once_and_to_one_node_only(running: Running) -> None:
    user = await running.console.accounts.add("anna", PASSWORD, {"*": "admin"})
    handover: HandOver = running.console.handover
    for ticket, comes in ((handover.ticket(user, "node2"), False), (handover.ticket(user, "node1"), True)):
        async with running.client() as client:
            await client.post("/handover", data={"ticket": ticket, "next": "/timeline"})
            assert ((await client.get("/api/v1/me")).status_code == 200) is comes
    async with running.client() as client:
        assert (await client.post("/handover", data={"ticket": ticket})).headers["location"] == "/login"
        assert (await client.post("/handover", data={"ticket": ticket[:-3] + "abc"})).headers["location"] == "/login"


async def test_somebody_stays_administrator(running: Running) -> None:
    token = await running.token("anna", {"*": "admin"})
    async with running.client(token) as client:
        assert (await client.put("/api/v1/users/anna", json={"grants": {}})).status_code == 409
        assert (await client.delete("/api/v1/users/anna")).status_code == 409


async def test_a_token_can_do_no_more_than_its_user_and_ends_with_him(running: Running) -> None:
    token = await running.token("anna", {"web": "control"})
    async with running.client(token) as client:
        more = await client.post("/api/v1/tokens", json={"label": "x", "grants": {"*": "monitor"}})
        assert more.status_code == 403
        less = await client.post("/api/v1/tokens", json={"label": "x", "grants": {"web": "monitor"}})
        assert less.status_code == 201
    async with running.client(less.json()["token"]) as client:
        assert (await client.post("/api/v1/modules/web/actions", json={"action": "swap"})).status_code == 403
    await running.console.accounts.add("root", PASSWORD, {"*": "admin"})
    await running.console.accounts.remove("anna")
    async with running.client(less.json()["token"]) as client:
        assert (await client.get("/api/v1/me")).status_code == 401


def test_sessions_of_an_earlier_version_go_on(tmp_path: Path) -> None:
    path = tmp_path / "console.db"
    store = Store(path, 60.0, 600.0)
    token = store.begin(User(name="anna", password="", grants={}), "10.0.0.9", "browser")
    store._db.execute("ALTER TABLE sessions DROP COLUMN certificate")
    store.close()
    store = Store(path, 60.0, 600.0)
    session = store.session(token)
    assert session is not None
    assert (session.user, session.certificate) == ("anna", "")
    store.close()

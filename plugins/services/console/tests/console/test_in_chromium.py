"""The ways in that lead through pages, in a real browser: of a provider, with a directory's password, with a
certificate; and what a page that changes does to the keyboard."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from playwright.async_api import Browser, Page, async_playwright, expect
from safekit_console import signin
from safekit_console.parts import Console
from safekit_console.settings import ConsoleSettings

from console import slapd
from console.conftest import PASSWORD
from console.people import Authority, Card
from console.provider import CLIENT, SECRET, Provider
from console.safekitd import Safekitd, module
from console.serving import free_port, serving_console
from console.slapd import Slapd

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]
GROUPS = {"operators": {"web": "control", "*": "monitor"}}
PATIENCE_MS = 20_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """Debian's."""
    async with async_playwright() as playwright:
        program = shutil.which("chromium")
        found = await playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield found
        await found.close()


@dataclass
class Place:
    """A console and a browser that looks at it."""

    safekitd: Safekitd
    console: Console
    browser: Browser
    url: str

    @asynccontextmanager
    async def page(self, card: Card | None = None) -> AsyncIterator[Page]:
        more: dict[str, Any] = {}
        if card:
            more["client_certificates"] = [{"origin": self.url, "certPath": card.file, "keyPath": card.file}]
        context = await self.browser.new_context(ignore_https_errors=True, **more)
        context.set_default_timeout(PATIENCE_MS)
        told: list[str] = []
        context.on("console", lambda one: told.append(one.text) if "Content Security" in one.text else None)
        try:
            yield await context.new_page()
            assert told == []
        finally:
            await context.close()


@asynccontextmanager
async def at(place: Path, browser: Browser, **chosen: Any) -> AsyncIterator[Place]:
    """With these settings, on a cluster whose mirror `web` runs."""
    safekitd, port = Safekitd(place / "control.sock"), free_port()
    await safekitd.start()
    for node, state in (("node1", "PRIM"), ("node2", "SECOND")):
        safekitd.modules[node] = [module("web", state)]
    known: dict[str, Any] = {"address": "127.0.0.1", "port": port, "var": place, "socket": safekitd.path}
    settings = ConsoleSettings(**known, names=("localhost",), **chosen)
    signin.check(settings)
    try:
        async with serving_console(settings) as console:
            await console.accounts.add("anna", PASSWORD, {"*": "admin"})
            yield Place(safekitd, console, browser, f"https://localhost:{port}")
    finally:
        await safekitd.close()


async def test_at_a_provider(tmp_path: Path, chromium: Browser) -> None:
    (tmp_path / "provider").mkdir()
    provider, secret = Provider(tmp_path / "provider"), tmp_path / "secret"
    secret.write_text(SECRET)
    with provider.serving():
        known = {"oidc_issuer": provider.issuer, "oidc_client_id": CLIENT, "oidc_secret_file": secret}
        async with at(tmp_path, chromium, groups=GROUPS, oidc_ca=provider.ca, **known) as place, place.page() as page:
            await page.goto(f"{place.url}/modules/web")
            await page.get_by_role("link", name="Sign in with your organisation").click()
            await expect(page).to_have_url(re.compile(rf"^{provider.issuer}/authorize"))
            await page.get_by_label("Badge").fill("7")
            await page.get_by_role("button", name="Continue").click()
            await page.wait_for_url(f"{place.url}/modules/web")
            await expect(page.locator(".me")).to_contain_text("oidc:bo")
            await expect(page.locator("#live")).to_contain_text("Live")
            await page.go_back()  # the answer is good once
            await page.goto(f"{place.url}/me")
            await page.get_by_role("button", name="Sign out").click()
            await page.wait_for_url(f"{place.url}/login")
            provider.claims["groups"] = ["others"]
            await page.get_by_role("link", name="Sign in with your organisation").click()
            await page.get_by_role("button", name="Continue").click()
            await expect(page.locator("main")).to_contain_text("none of your groups has a role here")
            assert place.console.store.audit(1)[0].outcome == "failed: none of your groups has a role here"


async def test_with_the_password_of_a_directory(tmp_path: Path, chromium: Browser) -> None:
    (tmp_path / "slapd").mkdir()
    directory, secret = Slapd(tmp_path / "slapd"), tmp_path / "secret"
    secret.write_text(slapd.CONSOLE_PASSWORD)
    known = {"ldap_base": slapd.BASE, "ldap_bind_dn": slapd.CONSOLE, "ldap_groups_base": f"ou=groups,{slapd.BASE}"}
    known |= {"ldap_host": f"localhost:{directory.port}", "ldap_secret_file": secret, "ldap_ca": directory.ca}
    with directory.serving():
        async with at(tmp_path, chromium, groups=GROUPS, **known) as place, place.page() as page:
            await page.goto(f"{place.url}/timeline")
            for password, told in (("wrong", "The name or the password is wrong."), (slapd.PASSWORD, "")):
                await page.get_by_label("Name").fill("bo")
                await page.get_by_label("Password").fill(password)
                await page.get_by_role("button", name="Sign in", exact=True).click()
                if told:
                    await expect(page.locator("main")).to_contain_text(told)
            await page.wait_for_url(f"{place.url}/timeline")
            await expect(page.locator(".me")).to_contain_text("ldap:bo")
            await page.goto(f"{place.url}/modules/web/actions/swap")
            await expect(page.get_by_role("heading", level=1)).to_contain_text("web")


async def test_with_a_certificate(tmp_path: Path, chromium: Browser) -> None:
    people, crl = Authority(tmp_path), tmp_path / "people.crl"
    crl.write_bytes(people.revoke())
    card = people.card("Anna", names=[x509.RFC822Name("anna@example.org")])
    users = {"email:anna@example.org": "anna"}
    async with at(tmp_path, chromium, client_ca=people.file, client_crl=crl, client_users=users) as place:
        async with place.page() as page:
            await page.goto(f"{place.url}/login")
            await page.get_by_role("button", name="Sign in with a certificate").click()
            await expect(page.locator("main")).to_contain_text("Your browser showed no certificate")
        async with place.page(card) as page:
            await page.goto(f"{place.url}/modules/web")
            await page.get_by_role("button", name="Sign in with a certificate").click()
            await page.wait_for_url(re.compile(re.escape(place.url) + "/(modules/web)?$"))
            await expect(page.locator(".me")).to_contain_text("anna")
            await expect(page.locator("#live")).to_contain_text("Live")
            await page.goto(f"{place.url}/audit")
            await expect(page.locator("tbody tr").first).to_contain_text("certificate email:anna@example.org")
            crl.write_bytes(people.revoke(card))
            await page.wait_for_url(re.compile(re.escape(place.url) + "/login"))


async def test_the_keyboard_stays_where_it_is_while_the_page_changes(tmp_path: Path, chromium: Browser) -> None:
    async with at(tmp_path, chromium) as place, place.page() as page:
        await page.goto(f"{place.url}/login")
        await page.get_by_label("Name").fill("anna")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
        link = page.get_by_role("link", name="web", exact=True)
        await link.focus()
        for modules, shown in (
            ([module("web", "STOP", "NotReady")], "STOP"),
            ([module("app", "SECOND"), module("web", "SECOND")], "app"),
            ([module("web", "WAIT", "Transient")], "WAIT"),
        ):
            place.safekitd.modules["node2"] = modules
            place.safekitd.change()
            await expect(page.locator("#overview")).to_contain_text(shown)
            await expect(link).to_be_focused()

"""Signing in with a certificate, by real TLS: who owns a good one and is known, and nobody else."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from cryptography import x509
from safekit_console import access, signin
from safekit_console.api import events
from safekit_console.pages import certified
from safekit_console.parts import Console
from safekit_console.settings import ConsoleSettings
from safekit_console.signin.certificates import Certificates

from console.conftest import PASSWORD
from console.people import BY_SERVERS, Authority, Card
from console.safekitd import Safekitd, module
from console.serving import free_port, serving_console
from safekit_sdk import ConfigError

pytestmark = pytest.mark.asyncio(loop_scope="module")
ACTION = "/api/v1/modules/web/actions"
SWAP = {"action": "swap"}
NO_PAGE = {"x-csrf": "certificate"}
USERS: dict[str, Any] = {
    "email:anna@example.org": "anna",
    "cn:robot": {"web": "control"},
    "uri:spiffe://example.org/watcher": {"*": "monitor"},
    "cn:gone": "gone",
    "cn:watcher": "anna",
}


@dataclass
class Served:
    """A console that serves by TLS, as `safekit-console` does, and asks for certificates of `people`."""

    safekitd: Safekitd
    console: Console
    people: Authority
    crl: Path
    ca: Path
    port: int

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def client(self, card: Card | None = None, **more: Any) -> httpx.AsyncClient:
        trust = card.trust(self.ca) if card else ssl.create_default_context(cafile=str(self.ca))
        return httpx.AsyncClient(verify=trust, base_url=self.url, **more)

    async def sign_in(self, client: httpx.AsyncClient) -> httpx.Response:
        certified._TRIES._known.clear()
        return await client.post("/login/certificate", data={"next": "/timeline"})

    def anna(self, **more: Any) -> Card:
        return self.people.card("Anna", names=[x509.RFC822Name("Anna@example.org")], **more)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serving(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    tmp_path = tmp_path_factory.mktemp("served")
    people, port = Authority(tmp_path), free_port()
    (tmp_path / "people.crl").write_bytes(people.revoke())
    safekitd = Safekitd(tmp_path / "control.sock")
    await safekitd.start()
    safekitd.modules["node1"] = [module("web", "PRIM")]
    settings = ConsoleSettings(
        address="127.0.0.1",
        port=port,
        var=tmp_path,
        socket=safekitd.path,
        client_ca=people.file,
        client_crl=tmp_path / "people.crl",
        client_users=USERS,
    )
    signin.check(settings)
    async with serving_console(settings) as console:
        ca = tmp_path / "console-ca.pem"
        ca.write_text(console.records.get("key/authority")["certificate"])
        await console.accounts.add("anna", PASSWORD, {"*": "admin"})
        yield Served(safekitd, console, people, tmp_path / "people.crl", ca, port)
    await safekitd.close()


@pytest.fixture
def served(serving: Served) -> Served:
    """Nothing is revoked, nobody locked out, nothing was done."""
    serving.crl.write_bytes(serving.people.revoke())
    serving.console.lock_out._known.clear()
    serving.console.store.end_all("anna")
    access._REFUSED._known.clear()
    serving.safekitd.asked.clear()
    return serving


async def test_a_browser_signs_in_with_the_button_and_the_journal_says_how(served: Served) -> None:
    card = served.anna()
    async with served.client(card, http2=True) as client:
        assert 'action="/login/certificate"' in (await client.get("/login")).text
        answer = await served.sign_in(client)
        assert (answer.status_code, answer.headers["location"]) == (303, "/timeline")
        me = await client.get("/api/v1/me")
        assert (me.http_version, me.json()) == ("HTTP/2", {"name": "anna", "grants": {"*": "admin"}})
    entry = served.console.store.audit(1)[0]
    assert (entry.who, entry.action, entry.outcome) == ("anna", "sign in", "done")
    assert entry.target == f"certificate email:anna@example.org (sha256:{card.fingerprint})"


async def test_who_has_none_signs_in_with_the_password_as_ever(served: Served) -> None:
    async with served.client() as client:
        assert "showed no certificate" in (await served.sign_in(client)).text
        assert (await client.get("/api/v1/me")).status_code == 401
        assert (await client.post("/login", data={"name": "anna", "password": PASSWORD})).status_code == 303
        assert (await client.get("/api/v1/me")).status_code == 200


async def test_a_program_needs_no_session_and_is_named_in_what_it_does(served: Served) -> None:
    card = served.people.card("robot")
    async with served.client(card) as client:
        assert (await client.get("/api/v1/me")).json() == {"name": "cert:robot", "grants": {"web": "control"}}
        assert (await client.post(ACTION, json=SWAP)).status_code == 403
        assert (await client.post(ACTION, json=SWAP, headers=NO_PAGE)).status_code == 200
        assert (await client.post("/api/v1/cluster/join-token", json={}, headers=NO_PAGE)).status_code == 403
        assert (await client.get("/", headers={"accept": "text/html"})).status_code == 303
    origin = f"program with certificate {card.fingerprint[:16]} at 127.0.0.1"
    assert served.safekitd.asked[-1][2] == f"cert:robot ({origin})"
    assert {(one.who, one.origin) for one in served.console.store.audit(2)} == {("cert:robot", origin)}


async def test_curl_with_a_certificate(served: Served) -> None:
    words = [
        "curl",
        "-sS",
        "--max-time",
        "10",
        "--cacert",
        str(served.ca),
        "--cert",
        str(served.people.card("robot").file),
    ]
    done = await asyncio.to_thread(
        subprocess.run, [*words, f"{served.url}/api/v1/me"], capture_output=True, text=True, timeout=20
    )
    assert '"name":"cert:robot"' in done.stdout, done.stderr


async def test_a_certificate_that_is_not_quite_right_ends_the_connection(served: Served, tmp_path: Path) -> None:
    email = [x509.RFC822Name("anna@example.org")]
    for card in (
        Authority(tmp_path).card("robot"),  # an authority of the same name
        served.people.card("robot", days=(-3, -1)),
        served.people.card("robot", days=(1, 3)),
        served.people.card("robot", names=email, use=BY_SERVERS),
    ):
        async with served.client(card) as client:
            with pytest.raises(httpx.TransportError):
                await client.get("/api/v1/me")
    async with served.client() as client:
        assert (await client.get("/health")).status_code == 200


async def test_who_is_not_known_or_gone_or_locked_or_two_stays_outside(served: Served) -> None:
    watcher = [x509.UniformResourceIdentifier("spiffe://example.org/watcher")]
    for card, said in (
        (served.people.card("stranger"), "nobody's here"),
        (served.people.card("robot", "robot"), "nobody's here"),
        (served.people.card("ROBOT"), "nobody's here"),
        (served.people.card("x", names=[x509.RFC822Name("anna@example.org.evil")]), "nobody's here"),
        (served.people.card("x", names=[x509.DNSName("anna@example.org")]), "nobody's here"),
        (served.people.card("gone"), "no account 'gone'"),
        (served.people.card("robot", names=watcher), "of several users"),
    ):
        async with served.client(card) as client:
            answer = await client.get("/api/v1/me")
            assert (answer.status_code, said in answer.json()["detail"]) == (403, True), answer.text
            page = await served.sign_in(client)
            assert (page.status_code, "set-cookie" in page.headers) == (403, False)
            assert said in served.console.store.audit(1)[0].outcome
    for _ in range(5):
        served.console.lock_out.try_once("anna", "127.0.0.1")
    async with served.client(served.anna()) as client:
        assert (await client.get("/api/v1/me")).status_code == 429
        assert (await served.sign_in(client)).status_code == 429


async def test_what_one_writes_into_headers_is_no_certificate(served: Served) -> None:
    pem = served.anna().file.read_text().replace("\n", " ").strip()
    names = ("x-ssl-client-cert", "x-client-cert", "x-forwarded-client-cert", "client-cert", "ssl-client-s-dn")
    async with served.client() as client:
        for name in (*names, "safekit_console.shown", "state"):
            assert (await client.get("/api/v1/me", headers={name: pem})).status_code == 401


async def test_another_site_gets_nothing_by_a_browser_that_shows_its_certificate_unasked(served: Served) -> None:
    async with served.client(served.anna()) as client:
        for named in (
            {"origin": "https://evil.example"},
            {"sec-fetch-site": "cross-site"},
            {"referer": "https://evil.example/"},
        ):
            assert (await client.post(ACTION, json=SWAP, headers=named | NO_PAGE)).status_code == 401
            assert (await client.get("/api/v1/me", headers=named)).status_code == 401
        form = {"content-type": "application/x-www-form-urlencoded"}
        assert (await client.post(ACTION, content=b"csrf=certificate", headers=form)).status_code == 403
        away = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
        assert (await client.post("/login/certificate", headers=away)).status_code == 403
        assert "set-cookie" not in (await client.get("/login/certificate")).headers
        assert (await served.sign_in(client)).status_code == 303
        own = {"sec-fetch-site": "same-origin", "origin": served.url}
        assert (await client.post(ACTION, json=SWAP, headers=own | NO_PAGE)).status_code == 403
    assert served.safekitd.asked == []


async def test_the_cookie_of_a_session_is_worth_nothing_without_its_certificate(served: Served) -> None:
    async with served.client(served.anna()) as client:
        await served.sign_in(client)
        cookie = client.cookies[access.COOKIE]
        for other in (served.client(), served.client(served.anna()), served.client(served.people.card("robot"))):
            async with other:
                other.cookies.set(access.COOKIE, cookie)
                assert (await other.get("/api/v1/me")).status_code == 401
        assert (await client.get("/api/v1/me")).status_code == 200


async def test_what_is_revoked_ends_on_an_open_connection_too(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SIGN_OF_LIFE_S", 0.1)
    card, robot = served.anna(), served.people.card("robot")
    async with served.client(card) as client, served.client(robot) as other:
        await served.sign_in(client)
        async with client.stream("GET", "/api/v1/events") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "event: consoles"
            assert (await other.get("/api/v1/me")).status_code == 200
            served.crl.write_bytes(served.people.revoke(card, robot))
            async with asyncio.timeout(10):
                async for _ in lines:
                    """Until it ends."""
        assert (await client.get("/api/v1/me")).status_code == 401
        answer = await other.get("/api/v1/me")
        assert (answer.status_code, "revoked" in answer.text) == (403, True)
    assert served.console.store.sessions("anna") == []


async def test_a_resumed_tls_session_brings_its_certificate_and_is_looked_at_anew(served: Served) -> None:
    card = served.anna()
    trust = card.trust(served.ca)
    first, session, _ = await asyncio.to_thread(_ask, served.port, trust, None)
    again, _, resumed = await asyncio.to_thread(_ask, served.port, trust, session)
    assert (first, again, resumed) == (200, 200, True)
    served.crl.write_bytes(served.people.revoke(card))
    last, _, resumed = await asyncio.to_thread(_ask, served.port, trust, session)
    assert (last, resumed) == (403, True)


def _ask(port: int, trust: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[int, ssl.SSLSession | None, bool]:
    with (
        socket.create_connection(("127.0.0.1", port), 10.0) as plain,
        trust.wrap_socket(plain, server_hostname="localhost", session=session) as tls,
    ):
        tls.sendall(b"GET /api/v1/me HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        code = int(tls.recv(4096).split()[1])
        return code, tls.session, bool(tls.session_reused)


@pytest.mark.parametrize("change", ["old", "of another", "missing", "empty"])
async def test_without_a_list_that_counts_nobody_comes_in(served: Served, tmp_path: Path, change: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    texts = {"old": served.people.revoke(days=(-9, -2)), "of another": Authority(other).revoke(), "empty": b""}
    if change in texts:
        served.crl.write_bytes(texts[change])
    else:
        served.crl.unlink()
    async with served.client(served.anna()) as client:
        answer = await client.get("/api/v1/me")
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:safekit:problem:certificate")


async def test_a_list_that_cannot_be_read_for_a_moment_ends_no_session(served: Served) -> None:
    """As `curl -o` writes it."""
    async with served.client(served.anna()) as client:
        await served.sign_in(client)
        served.crl.write_bytes(b"")
        assert (await client.get("/api/v1/me")).status_code == 503
        served.crl.write_bytes(served.people.revoke())
        assert (await client.get("/api/v1/me")).status_code == 200


async def test_a_host_with_many_addresses_tries_as_often_as_one(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = (f"fd00:1:2:3::{number:x}" for number in range(1, 1000))
    monkeypatch.setattr(certified, "address_of", lambda _: next(addresses))
    async with served.client() as client:
        answers = [(await client.post("/login/certificate")).status_code for _ in range(25)]
    certified._TRIES._known.clear()
    assert (answers[0], answers[-1]) == (401, 429)


async def test_a_page_goes_over_to_another_node_with_its_certificate_only(served: Served) -> None:
    card, handover = served.anna(), served.console.handover
    user = served.console.accounts.known("anna")
    for other in (served.client(), served.client(served.anna())):
        async with other:
            await other.post("/handover", data={"ticket": handover.ticket(user, "node1", card.fingerprint)})
            assert access.COOKIE not in other.cookies
    async with served.client(card) as client:
        await client.post("/handover", data={"ticket": handover.ticket(user, "node1", card.fingerprint)})
        cookie = client.cookies[access.COOKIE]
    async with served.client() as other:
        other.cookies.set(access.COOKIE, cookie)
        assert (await other.get("/api/v1/me")).status_code == 401


async def test_sessions_end_when_the_account_or_the_operators_word_changes(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served.client(served.anna()) as client:
        await served.sign_in(client)
        certificates = served.console.certificates
        assert certificates is not None
        monkeypatch.setattr(certificates, "_known", {"cn:Anna": ("bo", None)})
        assert (await client.get("/api/v1/me")).status_code == 401
        monkeypatch.undo()
        await served.sign_in(client)
        await served.console.accounts.change("anna", grants={"*": "admin", "web": "monitor"})
        assert (await client.get("/api/v1/me")).status_code == 401
        await served.console.accounts.change("anna", grants={"*": "admin"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"client_users": {}}, "SAFEKIT_CONSOLE_CLIENT_USERS"),
        ({"client_ca": None}, "SAFEKIT_CONSOLE_CLIENT_CA"),
        ({"client_crl": Path("/nowhere")}, "no such file"),
        ({"client_ca": Path(__file__)}, "right kind"),
        ({"client_users": {"email:a@b": "a", "email:A@b": "b"}}, "twice"),
        ({"client_users": {"cn:a b": {"*": "monitor"}, "uri:a/b": {"*": "admin"}}}, "twice"),
    ],
)
async def test_settings_that_cannot_be_are_told_at_the_start(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    known = {"client_ca": Authority(tmp_path).file, "client_users": USERS}
    with pytest.raises(ConfigError, match=said):
        chosen = ConsoleSettings().model_copy(update=known | change)
        signin.check(chosen)
        Certificates(chosen)

"""Signing in at an OpenID provider: with its groups' roles, and not with anything that is not quite so."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from safekit_console import server, signin
from safekit_console.pages import elsewhere
from safekit_console.settings import ConsoleSettings
from safekit_console.signin import flow as flows
from safekit_console.signin import provider as providers
from safekit_console.signin.flow import Flow

from console.conftest import Running
from console.provider import CLIENT, SECRET, Key, Provider
from safekit_sdk import ConfigError

GROUPS = {"operators": {"web": "control", "*": "monitor"}, "web-admins": {"web": "admin"}}


@pytest_asyncio.fixture
async def provider(tmp_path: Path, running: Running) -> AsyncIterator[Provider]:
    """One that the running console knows."""
    place = tmp_path / "provider"
    place.mkdir()
    found = Provider(place)
    with found.serving():
        use(running, settings(found, place))
        yield found


def settings(provider: Provider, place: Path, **more: Any) -> ConsoleSettings:
    (place / "secret").write_text(SECRET + "\n")
    return ConsoleSettings(
        var=place,
        groups=GROUPS,
        oidc_issuer=provider.issuer,
        oidc_client_id=CLIENT,
        oidc_secret_file=place / "secret",
        oidc_ca=provider.ca,
        **more,
    )


def use(running: Running, chosen: ConsoleSettings) -> None:
    signin.check(chosen)
    oidc = Flow(chosen, providers.Provider(chosen))
    running.console = replace(running.console, settings=chosen, oidc=oidc)
    running.app = server.application(running.console)
    elsewhere._TRIES._known.clear()


async def come_back(
    client: httpx.AsyncClient, provider: Provider, change: Callable[[str], str] = str, to: str = "/timeline"
) -> httpx.Response:
    begun = await client.get("/login/oidc", params={"next": to})
    assert begun.status_code == 303, begun.text
    back = urlsplit(change(provider.authorize(begun.headers["location"])))
    return await client.get(f"{back.path}?{back.query}")


async def test_members_of_a_group_come_in_with_its_roles(running: Running, provider: Provider) -> None:
    provider.claims["groups"] = ["operators", "web-admins", "others", 7]
    async with running.client() as client:
        assert "/login/oidc?next=/" in (await client.get("/login")).text
        answer = await come_back(client, provider)
        assert (answer.status_code, 'content="0; url=/timeline"' in answer.text) == (200, True)
        told = (await client.get("/api/v1/me")).json()
        page = (await client.get("/me")).text
    assert told == {"name": "oidc:bo", "grants": {"web": "admin", "*": "monitor"}}
    assert "Present password" not in page
    entry = running.console.store.audit(1)[0]
    assert (entry.who, entry.action, entry.outcome) == ("oidc:bo", "sign in", "done")
    assert "user/oidc:bo" in running.safekitd.records["node2"]


async def test_who_has_no_group_with_a_role_stays_outside(running: Running, provider: Provider) -> None:
    for groups in ([], ["others"], None, {"operators": True}, "operatorsx"):
        provider.claims["groups"] = groups
        async with running.client() as client:
            answer = await come_back(client, provider)
            assert answer.status_code == 403
            assert "none of your groups has a role here" in answer.text
            assert (await client.get("/api/v1/me")).status_code == 401


NOW = int(time.time())


WRONG: tuple[tuple[dict[str, Any], dict[str, Any], str], ...] = (
    ({"alg": "none"}, {}, "not signed as it has to be"),
    ({"alg": "HS256"}, {}, "not signed as it has to be"),
    ({"kid": "unknown"}, {}, "not signed as it has to be"),
    ({"crit": ["x"], "x": 1}, {}, "not signed as it has to be"),
    ({}, {"nonce": "another"}, "not for this sign-in"),
    ({}, {"nonce": None}, "not for this sign-in"),
    ({}, {"aud": "another"}, "for another client"),
    ({}, {"aud": [CLIENT, "another"]}, "for another client"),
    ({}, {"aud": [CLIENT, "another"], "azp": "another"}, "for another client"),
    ({}, {"iss": "https://evil.example"}, "of another issuer"),
    ({}, {"exp": NOW - 3600}, "has expired"),
    ({}, {"exp": True}, "has expired"),
    ({}, {"iat": NOW + 3600}, "of the future"),
    ({}, {"sub": ""}, "names nobody"),
    ({}, {"preferred_username": "../bo"}, "no name that can be used"),
    ({}, {"preferred_username": "x" * 64}, "no name that can be used"),
    ({}, {"preferred_username": ["bo"]}, "no name that can be used"),
)


async def test_a_token_that_is_not_quite_right_lets_nobody_in(running: Running, provider: Provider) -> None:
    right = dict(provider.header), dict(provider.claims)
    for header, claims, said in WRONG:
        provider.header, provider.claims = right[0] | header, right[1] | claims
        elsewhere._TRIES._known.clear()
        async with running.client() as client:
            answer = await come_back(client, provider)
            assert answer.status_code in {401, 403}
            assert said in answer.text, (header, claims)
            assert (await client.get("/api/v1/me")).status_code == 401
        assert said in running.console.store.audit(1)[0].outcome


async def test_a_token_of_another_key_of_the_same_name_lets_nobody_in(running: Running, provider: Provider) -> None:
    provider.key = Key("k1")
    async with running.client() as client:
        assert "BadSignatureError" in (await come_back(client, provider)).text


async def test_an_answer_is_good_once_and_in_the_browser_that_asked(running: Running, provider: Provider) -> None:
    async with running.client() as client, running.client() as other:
        begun = await client.get("/login/oidc")
        back = urlsplit(provider.authorize(begun.headers["location"]))
        stolen = await other.get(f"{back.path}?{back.query}")
        assert "in another browser" in stolen.text
        late = await client.get(f"{back.path}?{back.query}")
        assert "ended already" in late.text
        assert (await come_back(client, provider)).status_code == 200
        replayed = await come_back(client, provider, lambda place: place.replace("code=code1", "code=code0"))
        assert "did not take the code" in replayed.text
        forged = await come_back(client, provider, lambda place: place.replace("state=", "state=x"))
        assert "not begun here" in forged.text
        mixed = await come_back(client, provider, lambda place: place.replace("iss=https", "iss=http"))
        assert "of another provider" in mixed.text
        broken = await come_back(client, provider, lambda place: place.replace("code=", "error="))
        assert "broken off" in broken.text


async def test_nobody_is_led_to_another_site(running: Running, provider: Provider) -> None:
    for to in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"):
        async with running.client() as client:
            answer = await come_back(client, provider, to=to)
        assert 'content="0; url=/"' in answer.text
    async with running.client() as client:
        begun = await client.get("/login/oidc", headers={"host": "evil.example"})
    asked = parse_qs(urlsplit(begun.headers["location"]).query)["redirect_uri"]
    assert asked == ["https://10.0.0.1:9453/login/oidc/answer"]
    cookie = begun.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("__host-safekit-oidc", "httponly", "secure", "samesite=lax"))


async def test_new_keys_are_asked_for_and_not_for_every_stranger(
    running: Running, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running.client() as client:
        assert (await come_back(client, provider)).status_code == 200
        provider.key = Key("k2")
        provider.published.append(provider.key)
        assert (await come_back(client, provider)).status_code == 401
        assert provider.asked.count("/keys") == 1
        monkeypatch.setattr(providers, "KEYS_AGAIN_S", -1.0)
        assert (await come_back(client, provider)).status_code == 200
    assert provider.asked.count("/keys") == 2
    assert provider.asked.count("/.well-known/openid-configuration") == 1


LIES: tuple[tuple[dict[str, str], str], ...] = (
    ({"issuer": "https://evil.example"}, "calls itself"),
    ({"token_endpoint": "http://localhost/token"}, "no https address"),
    ({"jwks_uri": "file:///etc/passwd"}, "no https address"),
    ({"authorization_endpoint": "https://user@evil.example/"}, "no https address"),
    ({"pad": "x" * (300 << 10)}, "too large"),
)


async def test_a_provider_that_is_none_is_not_asked_further(running: Running, provider: Provider) -> None:
    async with running.client() as client:
        for discovery, said in LIES:
            provider.discovery = discovery
            answer = await client.get("/login/oidc")
            assert (answer.status_code, said in answer.text) == (503, True), discovery


async def test_a_provider_that_redirects_or_has_another_certificate_is_not_followed(
    running: Running, provider: Provider, tmp_path: Path
) -> None:
    provider.redirects = "https://localhost/elsewhere"
    async with running.client() as client:
        assert "answers 302" in (await client.get("/login/oidc")).text
        provider.redirects = ""
        use(running, settings(provider, tmp_path / "provider").model_copy(update={"oidc_ca": None}))
    async with running.client() as client:
        assert "does not answer (ConnectError)" in (await client.get("/login/oidc")).text


async def test_other_roles_end_the_earlier_sessions_and_another_person_begins_anew(
    running: Running, provider: Provider
) -> None:
    async with running.client() as client, running.client() as later:
        await come_back(client, provider)
        user = running.console.accounts.known("oidc:bo")
        _, token = await running.console.accounts.issue(user, "x", {"web": "monitor"}, 600.0)
        await come_back(later, provider)
        assert (await client.get("/api/v1/me")).status_code == 200
        provider.claims["groups"] = ["web-admins"]
        await come_back(later, provider)
        assert (await client.get("/api/v1/me")).status_code == 401
        assert running.console.accounts.bearer(token) is not None
        provider.claims["sub"] = "id-2"
        async with running.client() as another:
            await come_back(another, provider)
        assert (await later.get("/api/v1/me")).status_code == 401
        assert running.console.accounts.bearer(token) is None


async def test_what_was_vouched_for_ends_and_is_no_local_administrator(running: Running, provider: Provider) -> None:
    accounts = running.console.accounts
    await accounts.arrive("oidc:cy", "id-3", {"*": "admin"}, 600.0)
    assert not any(user.is_admin for user in accounts.users())
    assert await accounts.verify("oidc:cy", "") is None
    with pytest.raises(Exception, match="those of his groups"):
        await accounts.change("oidc:cy", password="correct horse battery")
    await accounts.arrive("oidc:cy", "id-3", {"*": "admin"}, -1.0)
    assert accounts.user("oidc:cy") is None
    await accounts.add("anna", "correct horse battery", {"*": "admin"})
    await accounts.remove("oidc:cy")


async def test_sign_ins_under_way_are_bounded(
    running: Running, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "BEGUN", 5)
    flow = running.console.oidc
    assert flow is not None
    for _ in range(20):
        await flow.begin("/", "https://node1/login/oidc/answer")
    assert len(flow._begun) == 5
    async with running.client() as client:
        codes = [(await client.get("/login/oidc")).status_code for _ in range(25)]
    assert codes[:20] == [303] * 20
    assert codes[-1] == 429


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"oidc_client_id": ""}, "SAFEKIT_CONSOLE_OIDC_CLIENT_ID"),
        ({"oidc_secret_file": None}, "SAFEKIT_CONSOLE_OIDC_SECRET_FILE"),
        ({"oidc_secret_file": Path("/nowhere")}, "cannot be read"),
        ({"oidc_issuer": "http://localhost"}, "https only"),
        ({"oidc_ca": Path("/nowhere")}, "no such file"),
        ({"groups": {}}, "no group has a role"),
    ],
)
def test_settings_that_let_nobody_in_are_told_at_the_start(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    (tmp_path / "secret").write_text(SECRET)
    known = {"oidc_issuer": "https://localhost", "oidc_client_id": "x", "oidc_secret_file": tmp_path / "secret"}
    with pytest.raises(ConfigError, match=said):
        signin.check(ConsoleSettings(groups=GROUPS).model_copy(update=known | more))

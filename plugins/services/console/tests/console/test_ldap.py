"""Signing in with the password of a directory: OpenLDAP's server, and one that is none."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safekit_console import server, signin
from safekit_console.settings import ConsoleSettings
from safekit_console.signin.directory import Directory

from console import slapd
from console.conftest import PASSWORD, Running
from console.slapd import Slapd
from safekit_sdk import ConfigError

GROUPS = {"operators": {"web": "control", "*": "monitor"}, "web-admins": {"web": "admin"}}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    found = Slapd(tmp_path_factory.mktemp("slapd"))
    (found.ca.parent / "secret").write_text(slapd.CONSOLE_PASSWORD + "\n")
    with found.serving():
        yield found


def settings(directory: Slapd, **more: Any) -> ConsoleSettings:
    known = {
        "groups": GROUPS,
        "ldap_host": f"localhost:{directory.port}",
        "ldap_base": slapd.BASE,
        "ldap_groups_base": f"ou=groups,{slapd.BASE}",
        "ldap_bind_dn": slapd.CONSOLE,
        "ldap_secret_file": directory.ca.parent / "secret",
        "ldap_ca": directory.ca,
    }
    return ConsoleSettings(**(known | more))


def use(running: Running, chosen: ConsoleSettings) -> None:
    signin.check(chosen)
    running.console = replace(running.console, settings=chosen, directory=Directory(chosen))
    running.app = server.application(running.console)


async def sign_in(running: Running, name: str, password: str) -> tuple[int, dict[str, Any], str]:
    """What is answered, who one is then, and the page."""
    async with running.client() as client:
        answer = await client.post("/login", data={"name": name, "password": password})
        me = await client.get("/api/v1/me")
    return answer.status_code, me.json() if me.status_code == 200 else {}, answer.text


async def test_members_of_a_group_come_in_with_its_roles(running: Running, directory: Slapd) -> None:
    use(running, settings(directory))
    for name in ("bo", "BO"):
        code, me, _ = await sign_in(running, name, slapd.PASSWORD)
        assert (code, me) == (303, {"name": "ldap:bo", "grants": {"web": "control", "*": "monitor"}})
    assert running.console.store.audit(1)[0].who == "ldap:bo"
    use(running, settings(directory, ldap_member="memberUid"))
    code, me, _ = await sign_in(running, "cy", slapd.PASSWORD)
    assert (code, me["grants"]) == (303, {"web": "admin"})


async def test_what_is_not_quite_right_lets_nobody_in(running: Running, directory: Slapd) -> None:
    use(running, settings(directory))
    tries = [("bo", "wrong"), ("bo", ""), ("", slapd.PASSWORD), ("*", slapd.PASSWORD), ("b*", slapd.PASSWORD)]
    tries += [("bo)(uid=*", slapd.PASSWORD), ("nobody", slapd.PASSWORD), ("double", slapd.PASSWORD), ("bo\0", "x")]
    for name, password in tries:
        code, me, page = await sign_in(running, name, password)
        assert (code, me) == (401, {}), (name, page)
    code, me, page = await sign_in(running, "cy", slapd.PASSWORD)
    assert (code, me, "none of your groups has a role here" in page) == (403, {}, True)


async def test_wrong_passwords_of_a_directory_lock_out_too(running: Running, directory: Slapd) -> None:
    use(running, settings(directory))
    codes = [(await sign_in(running, ("bo", "Bo")[n % 2], f"wrong {n}"))[0] for n in range(6)]
    assert codes == [401] * 5 + [429]


async def test_a_local_user_is_never_looked_for_elsewhere(running: Running, directory: Slapd) -> None:
    use(running, settings(directory))
    await running.console.accounts.add("anna", PASSWORD, {"*": "admin"})
    assert (await sign_in(running, "anna", slapd.PASSWORD))[0] == 401
    assert (await sign_in(running, "anna", PASSWORD))[1]["name"] == "anna"


async def test_where_the_directory_cannot_be_asked_local_users_still_come_in(
    running: Running, directory: Slapd
) -> None:
    await running.console.accounts.add("anna", PASSWORD, {"*": "admin"})
    troubles: tuple[tuple[dict[str, Any], str], ...] = (
        ({"ldap_host": "localhost:1"}, "ConnectionRefusedError"),
        ({"ldap_ca": None}, "SSLCertVerificationError"),
        ({"ldap_bind_dn": f"cn=none,{slapd.BASE}"}, "own password"),
        ({"ldap_base": "dc=elsewhere"}, "code 32"),
    )
    for change, said in troubles:
        use(running, settings(directory, **change))
        code, me, page = await sign_in(running, "bo", slapd.PASSWORD)
        assert (code, me, said in page) == (503, {}, True), page
    assert (await sign_in(running, "anna", PASSWORD))[0] == 303


async def test_what_is_no_directory_is_told(running: Running, directory: Slapd) -> None:
    said = [b"HTTP/1.1 200 OK\r\n\r\n", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80" * 600, b"\x30\x03\x02\x01"]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(said[-1])
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*directory.files)
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as evil:
        port = evil.sockets[0].getsockname()[1]
        use(running, settings(directory, ldap_host=f"localhost:{port}"))
        while said:
            code, _, page = await sign_in(running, "bo", slapd.PASSWORD)
            assert (code, "the directory cannot be asked" in page) == (503, True), said.pop()
            said.pop()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ldap_base": ""}, "SAFEKIT_CONSOLE_LDAP_BASE"),
        ({"ldap_host": "ldap://localhost"}, "by TLS only"),
        ({"ldap_secret_file": None}, "no file with"),
        ({"ldap_ca": Path("/nowhere")}, "no such file"),
        ({"groups": {}}, "no group has a role"),
    ],
)
def test_settings_that_let_nobody_in_are_told_at_the_start(directory: Slapd, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        signin.check(settings(directory, **change))

"""The http checker against real servers, good ones and odd ones."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_checker_http import HttpChecker, HttpConfig

from safekit_sdk import Health, Verdict
from safekit_sdk.testing import a_context

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def checker(tmp_path: Path, url: str, **settings: Any) -> HttpChecker:
    config = HttpConfig.model_validate({"url": url, "timeout": "1s", **settings})
    return HttpChecker(config, a_context(tmp_path))


async def look(tmp_path: Path, url: str, **settings: Any) -> Verdict:
    made = checker(tmp_path, url, **settings)
    verdict = await asyncio.wait_for(made.check(), made.config.timeout.seconds)
    assert "\n" not in verdict.reason
    return verdict


async def test_a_good_answer_is_up_with_its_status_and_latency(tmp_path: Path, serving: Any) -> None:
    async with serving(GOOD) as server:
        verdict = await look(tmp_path, server.url)
    assert verdict.health is Health.UP
    assert verdict.facts["status"] == "200"
    assert float(verdict.facts["latency_ms"]) < 1000
    assert server.questions[0].startswith(b"GET / HTTP/1.1\r\n")
    assert b"connection: close" in server.questions[0].lower()


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "it answers 503, wanted 200-399"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "it answers 404"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not HTTP"),
        (b"", "closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"a" * 70000 + b"\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello", "not HTTP"),
    ],
)
async def test_a_bad_answer_is_down_and_says_what_was_seen(
    tmp_path: Path, serving: Any, answer: bytes, what: str
) -> None:
    async with serving(answer) as server:
        verdict = await look(tmp_path, server.url)
    assert verdict.health is Health.DOWN, verdict
    assert what in verdict.reason


async def test_what_counts_as_up_is_a_setting(tmp_path: Path, serving: Any) -> None:
    async with serving(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n") as server:
        assert (await look(tmp_path, server.url, status=["200-299", 404])).health is Health.UP
        assert (await look(tmp_path, server.url, status=["403"])).health is Health.DOWN


@pytest.mark.parametrize(
    ("answer", "health"),
    [
        (GOOD, Health.UP),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", Health.UP),
        (b"HTTP/1.0 200 OK\r\n\r\nhello until the end", Health.UP),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ngoodbye", Health.DOWN),
    ],
)
async def test_the_body_is_searched_however_it_is_sent(
    tmp_path: Path, serving: Any, answer: bytes, health: Health
) -> None:
    async with serving(answer) as server:
        verdict = await look(tmp_path, server.url, body="h[e]llo")
    assert verdict.health is health
    assert health is Health.UP or "begins 'goodbye'" in verdict.reason


async def test_a_body_without_end_is_read_to_a_bound(tmp_path: Path, serving: Any) -> None:
    async def flood(writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(10_000):
            writer.write(b"2000\r\n" + b"x" * 8192 + b"\r\n")
            await writer.drain()

    async with serving(flood) as server:
        assert (await look(tmp_path, server.url, timeout="5s")).health is Health.UP
        assert (await look(tmp_path, server.url, timeout="5s", body="y")).health is Health.DOWN


async def test_an_answer_that_drips_is_down_within_the_timeout(tmp_path: Path, serving: Any) -> None:
    async def drip(writer: asyncio.StreamWriter, head: bytes) -> None:
        for byte in GOOD:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.1)

    async with serving(drip) as server:
        verdict = await look(tmp_path, server.url)
    assert verdict.health is Health.DOWN
    assert "no answer in time" in verdict.reason


async def test_a_slow_answer_is_down_when_a_bound_is_set(tmp_path: Path, serving: Any) -> None:
    async def late(writer: asyncio.StreamWriter, head: bytes) -> None:
        await asyncio.sleep(0.2)
        writer.write(GOOD)

    async with serving(late) as server:
        assert (await look(tmp_path, server.url)).health is Health.UP
        assert "50ms are allowed" in (await look(tmp_path, server.url, slow="50ms")).reason


async def test_redirects_are_an_answer_or_followed_but_never_to_another_server(tmp_path: Path, serving: Any) -> None:
    async def answer(writer: asyncio.StreamWriter, head: bytes) -> None:
        if b" /there " in head:
            writer.write(GOOD)
            return
        target = b"http://127.0.0.1:1/" if b" /away " in head else b"/there"
        writer.write(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + target + b"\r\n\r\n")

    async with serving(answer) as server:
        assert (await look(tmp_path, server.url)).facts["status"] == "302"
        assert (await look(tmp_path, server.url, redirects=1)).facts["status"] == "200"
        away = await look(tmp_path, server.url + "away", redirects=1)
    assert away.health is Health.DOWN
    assert "another server" in away.reason


async def test_redirects_in_a_circle_are_followed_as_often_as_is_said(tmp_path: Path, serving: Any) -> None:
    async with serving(b"HTTP/1.1 301 Moved\r\nContent-Length: 0\r\nLocation: /\r\n\r\n") as server:
        verdict = await look(tmp_path, server.url, redirects=3, status=[200])
    assert verdict.health is Health.DOWN
    assert len(server.questions) == 4


async def test_a_server_is_asked_over_ipv6(tmp_path: Path, serving: Any) -> None:
    async with serving(GOOD, at="::1") as server:
        assert (await look(tmp_path, server.url)).health is Health.UP
    assert b"host: [::1]:" in server.questions[0].lower()
    assert "refused" in (await look(tmp_path, server.url)).reason


async def test_a_unix_socket_is_asked_and_down_when_nobody_listens_or_it_is_not_there(
    tmp_path: Path, serving: Any
) -> None:
    path = tmp_path / "app.sock"
    async with serving(GOOD, socket_path=path) as server:
        assert (await look(tmp_path, "http://app/", socket=str(path))).health is Health.UP
        assert b"host: app\r\n" in server.questions[0].lower()
    assert "refused" in (await look(tmp_path, "http://app/", socket=str(path))).reason
    path.unlink()
    gone = await look(tmp_path, "http://app/", socket=str(path))
    assert (gone.health, "is not there" in gone.reason) == (Health.DOWN, True)


async def test_a_unix_socket_whose_server_accepts_no_more_is_down(tmp_path: Path) -> None:
    path = tmp_path / "full.sock"
    with contextlib.ExitStack() as opened:
        server = opened.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(str(path))
        server.listen(0)
        opened.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
        verdict = await look(tmp_path, "http://app/", socket=str(path))
    assert (verdict.health, "accepts no more" in verdict.reason) == (Health.DOWN, True)


async def test_secrets_in_headers_are_sent_and_never_told(tmp_path: Path, serving: Any) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cret")
    secret.chmod(0o600)
    async with serving(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n") as server:
        verdict = await look(tmp_path, server.url, headers={"x-token": f"file:{secret}", "Accept": "text/plain"})
        assert b"x-token: s3cret" in server.questions[0].lower()
        assert b"accept: text/plain" in server.questions[0].lower()
        assert "s3cret" not in f"{verdict}"
        secret.chmod(0o644)
        assert (await look(tmp_path, server.url, headers={"x-token": f"file:{secret}"})).health is Health.UNKNOWN


async def test_the_host_header_is_a_setting(tmp_path: Path, serving: Any) -> None:
    async with serving(GOOD) as server:
        await look(tmp_path, server.url, host="www.example.org")
    assert b"host: www.example.org\r\n" in server.questions[0].lower()


async def test_a_name_that_does_not_resolve_is_unknown(tmp_path: Path) -> None:
    assert (await look(tmp_path, "http://no-such-name.invalid/")).health is Health.UNKNOWN


async def test_refused_is_down(tmp_path: Path, serving: Any) -> None:
    async with serving(GOOD) as server:
        url = server.url
    assert "refused" in (await look(tmp_path, url)).reason


async def test_a_trusted_certificate_is_up_with_the_days_that_are_left(
    tmp_path: Path, serving: Any, authority: Any
) -> None:
    async with serving(GOOD, authority.context("127.0.0.1", days=30)) as server:
        verdict = await look(tmp_path, server.url, verify=str(authority.file))
        assert verdict.health is Health.UP
        assert 29 < float(verdict.facts["certificate_days"]) <= 30
        few = await look(tmp_path, server.url, verify=str(authority.file), min_certificate_days=40)
    assert few.health is Health.DOWN
    assert "at least 40" in few.reason


async def test_a_certificate_that_soon_expires_is_up_with_a_warning_that_the_log_tells_once(
    tmp_path: Path, serving: Any, authority: Any
) -> None:
    async with serving(GOOD, authority.context("127.0.0.1", days=5.5)) as server:
        made = checker(tmp_path, server.url, verify=str(authority.file))
        verdicts = [await made.check() for _ in range(2)]
        quiet = await look(tmp_path, server.url, verify=str(authority.file), warn_certificate_days=5)
    assert [(said.health, "5.5 days only" in said.reason) for said in verdicts] == [(Health.UP, True)] * 2
    assert len(made.context.lines) == 1  # type: ignore[attr-defined]
    assert "days" not in quiet.reason


async def test_a_server_that_asks_for_a_certificate_is_shown_one(tmp_path: Path, serving: Any, authority: Any) -> None:
    own = str(authority.certified("checker.example.org"))
    async with serving(GOOD, authority.context("127.0.0.1", asks_clients=True)) as server:
        shown = await look(tmp_path, server.url, verify=str(authority.file), client_certificate=own)
        hidden = await look(tmp_path, server.url, verify=str(authority.file))
    assert (shown.health, hidden.health) == (Health.UP, Health.DOWN)


async def test_a_server_that_is_silent_in_the_midst_of_tls_is_down(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        verdict = await look(tmp_path, f"https://127.0.0.1:{silent.getsockname()[1]}/", timeout="300ms")
    assert (verdict.health, "no answer in time" in verdict.reason) == (Health.DOWN, True)


@pytest.mark.parametrize(
    ("names", "days", "trusted", "what"),
    [
        (["127.0.0.1"], 30, False, "certificate is not accepted"),
        (["127.0.0.1"], -1, True, "expired"),
        (["other.example.org"], 30, True, "certificate is not accepted"),
    ],
)
async def test_a_certificate_that_is_not_good_is_down_unless_it_is_not_verified(
    tmp_path: Path, serving: Any, authority: Any, names: list[str], days: float, trusted: bool, what: str
) -> None:
    async with serving(GOOD, authority.context(*names, days=days)) as server:
        verdict = await look(tmp_path, server.url, verify=str(authority.file) if trusted else True)
        assert verdict.health is Health.DOWN
        assert what in verdict.reason
        assert (await look(tmp_path, server.url, verify=False)).health is Health.UP


async def test_a_certificate_is_checked_for_the_given_host(tmp_path: Path, serving: Any, authority: Any) -> None:
    async with serving(GOOD, authority.context("www.example.org")) as server:
        verdict = await look(tmp_path, server.url, verify=str(authority.file), host="www.example.org")
    assert verdict.health is Health.UP


async def test_certificates_that_cannot_be_read_are_our_own_trouble(tmp_path: Path, serving: Any) -> None:
    async with serving(GOOD) as server:
        verdict = await look(tmp_path, server.url.replace("http", "https"), verify=str(tmp_path / "missing.pem"))
    assert verdict.health is Health.UNKNOWN


async def test_tls_to_a_server_without_it_is_down(tmp_path: Path, serving: Any) -> None:
    async with serving(GOOD) as server:
        verdict = await look(tmp_path, server.url.replace("http", "https"))
    assert verdict.health is Health.DOWN


def states(group: int) -> set[str]:
    """Of the processes of a group, as proc(5) has them."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                found.add(fields[0])
    return found


async def test_a_real_apache_that_is_stopped_accepts_and_is_down(tmp_path: Path, apache: tuple[int, int]) -> None:
    group, port = apache
    url = f"http://127.0.0.1:{port}/"
    assert (await look(tmp_path, url, status=["100-499"])).facts["status"] in ("403", "404")
    os.killpg(group, signal.SIGSTOP)
    while states(group) != {"T"}:  # noqa: ASYNC110 - on a busy machine it takes effect a little later
        await asyncio.sleep(0.01)
    verdict = await look(tmp_path, url, status=["100-499"])
    assert verdict.health is Health.DOWN
    assert "no answer in time" in verdict.reason
    os.killpg(group, signal.SIGCONT)
    assert (await look(tmp_path, url, status=["100-499"])).health is Health.UP


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"url": "ftp://host/"}, "does not begin with http"),
        ({"url": "http://me:pw@host/"}, "password does not go into a url"),
        ({"url": "http:///path"}, "names no host"),
        ({"url": "http://host:0/"}, "port"),
        ({"url": "http://host:99999/"}, "port"),
        ({"url": "http://host/a b"}, "percent-encode"),
        ({"url": "http://host/", "status": ["2xx"]}, "neither a status"),
        ({"url": "http://host/", "status": ["299-200"]}, "neither a status"),
        ({"url": "http://host/", "body": "("}, "regular expression"),
        ({"url": "http://host/", "method": "HEAD", "body": "x"}, "no body"),
        ({"url": "http://host/", "headers": {"X-A": "a\r\nB: c"}}, "control characters"),
        ({"url": "http://host/", "headers": {"X A": "a"}}, "headers"),
        ({"url": "https://host/", "verify": False, "min_certificate_days": 3}, "needs `verify`"),
        ({"url": "http://host/", "slow": "3s"}, "shorter than"),
        ({"url": "http://host/", "socket": "app.sock"}, "absolute path"),
        ({"url": "http://host/", "socket": "/" + "x" * 107}, "at most 107"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        HttpConfig.model_validate(settings)


@pytest.mark.parametrize(
    ("url", "ident"),
    [("http://127.0.0.1/", "127.0.0.1"), ("https://[::1]:8443/a?b=c", "1_8443_a_b_c"), ("http://a/" + "x" * 99, None)],
)
def test_an_identifier_comes_from_the_url(url: str, ident: str | None) -> None:
    found = HttpChecker.ident(HttpConfig.model_validate({"url": url}))
    assert found == (ident or found[:63])

"""Every route, with every role: made from the routes that there are, so that none can be forgotten."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from fastapi.routing import APIRoute
from safekit_console import server
from safekit_console.access import Needs
from safekit_console.roles import Role

from console.conftest import Running

OPEN = {"/health", "/login", "/logout", "/setup/{secret}", "/handover", "/preferences", "/authority.pem"}
OPEN |= {"/login/oidc", "/login/oidc/answer", "/login/certificate"}
"""What works without being signed in; each of them checks for itself what it needs."""
BODIES: dict[str, Any] = {
    "/api/v1/cluster/join-token": {},
    "/api/v1/modules/{module}/actions": {"action": "start", "nodes": ["*"]},
    "/api/v1/modules/{module}/values/{resource}": {"value": "up"},
    "/api/v1/modules/{module}/weights/{node}": {"weight": 1},
    "/api/v1/module-files": {"app": "apache", "module": "new", "kind": "light"},
    "/api/v1/modules/{module}/validate": {"text": "kind: light"},
    "/api/v1/modules/{module}/plan": {"files": {"module.yaml": "kind: light"}},
    "/api/v1/modules/{module}/configuration": {"files": {"module.yaml": "kind: light"}},
    "/api/v1/me/password": {"old": "x", "new": "y"},
    "/api/v1/tokens": {"label": "x", "grants": {}},
    "/api/v1/users": {"name": "bo", "password": "correct horse battery", "grants": {}},
    "/api/v1/users/{user}": {"password": ""},
}
WORDS = {"module": "web", "node": "node1", "resource": "custom.x", "action": "start", "version": "1"}
WORDS |= {"user": "nobody", "token": "none", "session": "none", "secret": "none", "app": "apache"}
GRANTS = (
    {},
    {"shop": "admin"},
    {"web": "monitor"},
    {"web": "control"},
    {"*": "monitor"},
    {"*": "control"},
    {"*": "admin"},
)


def routes() -> list[tuple[str, APIRoute]]:
    """Each with its whole path."""
    found = [(f"{server.PREFIX}{route.path}", route) for router in server.API for route in router.routes]
    found += [(route.path, route) for router in server.PAGES for route in router.routes]
    return [(path, route) for path, route in found if isinstance(route, APIRoute)]


def needs(route: APIRoute) -> list[Role]:
    found, places = [], [route.dependant]
    while places:
        one = places.pop()
        places += one.dependencies
        if isinstance(one.call, Needs):
            found.append(one.call.role)
    return found


def effective(grants: dict[str, str], path: str) -> int:
    ranks = {"monitor": 1, "control": 2, "admin": 3}
    whole = ranks.get(grants.get("*", ""), 0)
    return max(whole, ranks.get(grants.get("web", ""), 0)) if "{module}" in path else whole


async def test_every_route_says_what_it_needs(running: Running) -> None:
    assert len(routes()) > 60
    assert [path for path, route in routes() if path not in OPEN and len(needs(route)) != 1] == []
    own = [route for route in running.app.routes if isinstance(route, APIRoute)]
    assert own == []


async def test_every_call_of_the_api_with_every_role(running: Running) -> None:
    found = [(path, route, method) for path, route in routes() for method in route.methods if "/api/" in path]
    tokens = {i: await running.token(f"user{i}", grants) for i, grants in enumerate(GRANTS)}
    wrong = []
    for (path, route, method), i in itertools.product(found, tokens):
        if path == "/api/v1/events":
            continue
        needed = needs(route)[0]
        running.console.changes._known.clear()
        async with running.client(tokens[i]) as client:
            answer = await client.request(method, path.format(**WORDS), json=BODIES.get(path))
        may = effective(GRANTS[i], path) >= needed
        refused = answer.status_code == 403 or (answer.status_code == 404 and "you may see" in answer.text)
        refused = refused and "cannot change a password" not in answer.text
        if refused is may or answer.status_code in {401, 500}:
            wrong.append((method, path, GRANTS[i], answer.status_code, answer.text[:100]))
    assert wrong == []


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer sk_1_2"}, {"cookie": "__Host-safekit=x"}])
async def test_nothing_is_told_to_who_is_not_signed_in(running: Running, headers: dict[str, str]) -> None:
    wrong = []
    for path, route in routes():
        for method in route.methods - {"HEAD"}:
            if path in OPEN:
                continue
            async with running.client() as client:
                body = BODIES.get(path)
                answer = await client.request(method, path.format(**WORDS), json=body, headers=headers)
            if answer.status_code != 401:
                wrong.append((method, path, answer.status_code))
    assert wrong == []


async def test_a_browsers_change_without_the_word_of_its_session_is_refused(running: Running) -> None:
    browser = await running.browser("admin", {"*": "admin"})
    wrong = []
    for path, route in routes():
        for method in route.methods - {"GET", "HEAD"}:
            if path in OPEN:
                continue
            running.console.changes._known.clear()
            answer = await browser.client.request(method, path.format(**WORDS), json=BODIES.get(path))
            if answer.status_code != 403 or "did not come from a page" not in answer.text:
                wrong.append((method, path, answer.status_code))
    await browser.client.aclose()
    assert wrong == []
    assert running.safekitd.asked == []


async def test_every_page_is_shown_to_an_administrator(running: Running) -> None:
    browser = await running.browser("admin", {"*": "admin"})
    wrong = []
    for path, route in routes():
        if "/api/" in path or "GET" not in route.methods or path in OPEN:
            continue
        for language in ("en", "fr"):
            headers = {"accept": "text/html", "accept-language": language}
            answer = await browser.client.get(path.format(**WORDS), headers=headers)
            policy = answer.headers.get("content-security-policy", "")
            if answer.status_code != 200 or "script-src 'self';" not in policy or " style=" in answer.text:
                wrong.append((path, answer.status_code, answer.text[-300:]))
    await browser.client.aclose()
    assert wrong == []

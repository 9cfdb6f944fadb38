"""Every call of the API with what nobody should send: it is answered, and never with a defect."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import quote

import pytest

from console.conftest import Running
from console.test_every_route import WORDS

ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    1 << 70,
    0.5,
    1e308,
    "",
    "x" * 5000,
    "\x00\n\r",
    "../../etc/passwd",
    "%00%2e%2e",
    "<script>alert(1)</script>",
    "𝕏 ü \u202e",
    "'; DROP TABLE sessions; --",
    "{{ 7 * 7 }}",
    "%(module)s",
    [],
    {},
    [[[[]]]],
    {"*": "admin"},
    ["node1"] * 200,
)
RAW = (
    b"",
    b"{",
    b"null",
    b"[" * 500 + b"]" * 500,
    b"\xff\xfe",
    b'{"a": NaN}',
    b'{"action": "stop", "action": "start"}',
)
EACH = 12


def resolve(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def body(chance: random.Random, schema: dict[str, Any], document: dict[str, Any]) -> Any:
    """Of the right form, with what is wrong in it; now and then something else altogether."""
    if chance.random() < 0.1:
        return chance.choice(ODD)
    found = {name: chance.choice(ODD) for name in resolve(schema, document).get("properties", {})}
    if chance.random() < 0.3:
        found[chance.choice(("x", "__class__", "csrf"))] = chance.choice(ODD)
    return {name: value for name, value in found.items() if chance.random() < 0.9}


def path_of(chance: random.Random, template: str) -> str:
    """Now and then an odd word in it."""
    odd = [one for one in ODD if isinstance(one, str) and one]
    words = {name: chance.choice(odd) if chance.random() < 0.2 else word for name, word in WORDS.items()}
    return template.format(**{name: quote(word, safe="") for name, word in words.items()})


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_that_is_sent_to_the_api_is_answered_with_a_defect(running: Running, seed: int) -> None:
    chance = random.Random(seed)
    token = await running.token("anna", {"*": "admin"})
    wrong = []
    async with running.client(token) as client:
        document = (await client.get("/api/v1/openapi.json")).json()
        calls = [(path, verb, call) for path, verbs in document["paths"].items() for verb, call in verbs.items()]
        assert len(calls) > 35
        for path, verb, call in calls:
            if path.endswith("/events"):
                continue
            schema = call.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            for number in range(EACH if schema else 3):
                running.console.changes._known.clear()
                content = {"json": body(chance, schema, document)} if schema else {}
                if schema and number < len(RAW) and seed == 0:
                    content = {"content": RAW[number], "headers": {"content-type": "application/json"}}
                query = {
                    one["name"]: str(chance.choice(ODD)) for one in call.get("parameters", ()) if one["in"] == "query"
                }
                answer = await client.request(verb, path_of(chance, path), params=query, **content)
                kind = answer.headers.get("content-type", "")
                if answer.status_code == 500 or (answer.status_code >= 400 and kind != "application/problem+json"):
                    wrong.append((verb, path, content, answer.status_code, answer.text[:200]))
    assert wrong == []


async def test_what_a_page_shows_of_others_is_text(running: Running) -> None:
    """A name, a reason, a message cannot become a part of the page."""
    evil = '<img src=x onerror="alert(1)">'
    for module in running.safekitd.modules["node1"]:
        module["reason"] = evil
    running.safekitd.change()
    await running.console.watch.after(running.console.watch.snapshot.number, 5.0)
    browser = await running.browser("anna", {"*": "admin"})
    for path in ("/", "/modules/web", f"/timeline?module={evil}", f"/login?next={evil}"):
        page = await browser.client.get(path, headers={"accept": "text/html", "user-agent": evil})
        assert "<img" not in page.text
    await browser.client.aclose()

"""The plugin on a node: what preflight says, late answers, cancellation, what is left after the end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_witness import LeaseConfig, LeaseWitness, wire
from safekit_witness.messages import Answer, Failed, Granted
from safekit_witness.tokens import Token

from safekit_sdk import ConfigError, Lease, PeerError
from safekit_sdk.testing.leaks import Belongings, left_since
from safekit_sdk.testing.suspension import cancelled_at, count_suspensions

from .servers import WitnessProcess, a_node, free_port, token_file, until_given


def a_token(port: int = 4810, address: str = "192.0.2.1") -> str:
    return str(Token(address, port, wire.key_pair().public, wire.key_pair().secret))


def objections(setting: str) -> list[str]:
    return LeaseWitness.preflight(LeaseConfig.model_validate({"token": setting}), "mirror")


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_a_token_says_all_that_a_node_needs(address: str) -> None:
    pair, server = wire.key_pair(), wire.key_pair()
    token = Token(address, 4810, server.public, pair.secret)
    assert Token.parse(str(token)) == token
    assert len(str(token).split()) == 1
    assert pair.secret not in repr(token)


def test_a_token_that_was_cut_or_mistyped_is_refused_and_not_shown() -> None:
    text = a_token()
    for wrong in (text[:-1], text[1:], text.swapcase(), text[:20] + "A" + text[21:], "skw2-" + text[5:], "skw1-é", "x"):
        if wrong != text:
            with pytest.raises(ConfigError, match="not the token of a witness") as caught:
                Token.parse(wrong)
            assert wrong not in str(caught.value) or len(wrong) < 3


def test_preflight_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    path, one = tmp_path / "token", a_token()
    assert "cannot be read" in objections(f"file:{path}")[0]
    assert "safekit-witness admit" in objections(f"file:{path}")[0]
    cases = {
        (): "there are no tokens",
        ("what",): "not the token of a witness",
        (one, a_token(4811)): "two witnesses decide only while both are there",
        tuple(a_token(4810 + n) for n in range(4)): "there are 4 tokens",
        (one, one, a_token(4811)): "named twice",
        (a_token(1024), a_token(1024), a_token(1025)): "named twice",
    }
    for tokens, what in cases.items():
        assert what in objections(token_file(path, *tokens))[0]
    assert objections(token_file(path, one)) == []
    assert objections(token_file(path, one, a_token(4811), "", a_token(4812))) == []
    path.chmod(0o644)
    assert "open to others; chmod 600" in objections(f"file:{path}")[0]


@pytest.mark.parametrize(
    "settings",
    [{"lease": "900ms"}, {"lease": "61m"}, {"lease": "1s", "timeout": "1s"}, {"timeout": "1ms"}, {"token": "x"}],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        LeaseConfig.model_validate({"token": "file:/token", **settings})


async def test_a_late_answer_is_not_taken_for_that_of_a_later_request(one: WitnessProcess, tmp_path: Path) -> None:
    node = a_node(tmp_path, one.admit())
    try:
        first = await until_given(node, "node1")
        os.kill(one.pid, signal.SIGSTOP)
        try:
            for _ in range(3):
                with pytest.raises(PeerError):
                    await node.acquire("web", "node1", 0)
        finally:
            os.kill(one.pid, signal.SIGCONT)
        lease = await until_given(node, "node1")
        assert lease.epoch > first.epoch
        assert await node.renew("web", "node1", lease.epoch) == lease, "it is the last one that was given"
        assert "node1 has it" in await node.probe("web", "node1")
    finally:
        await node.close()


class OlderWitness(threading.Thread):
    """It knows no `after`, and refuses what it does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.pair, self.port = wire.key_pair(), free_port()
        self.listener = wire.Listener(self.pair.secret, "127.0.0.1", self.port, lambda _: True)
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            self.listener.wait(0.05)
            for one in self.listener.receive(8):
                self.listener.send(one.route, self.answer(json.loads(one.data)).model_dump_json().encode())
        self.listener.close()

    def answer(self, request: dict[str, Any]) -> Answer:
        unknown = set(request["event"]) - {"kind", "node", "epoch", "ttl_s"}
        if unknown:
            why = f"a malformed message: Extra inputs are not permitted at 'event.acquire.{unknown.pop()}'"
            return Answer(id="", reply=Failed(reason=why))
        return Answer(id=request["id"], reply=Granted(epoch=request["event"]["epoch"], ttl_s=1.0))


async def test_an_older_witness_refuses_what_it_cannot_promise_and_the_node_says_why(tmp_path: Path) -> None:
    older = OlderWitness()
    older.start()
    node = a_node(tmp_path, str(Token("127.0.0.1", older.port, older.pair.public, wire.key_pair().secret)))
    try:
        assert await node.acquire("web", "node1", 7) == Lease(7, 1.0)
        with pytest.raises(PeerError, match=r"did not understand a message: .* at 'event\.acquire\.after'"):
            await node.acquire("web", "node1", 7, 6)
        assert await node.acquire("web", "node1", 7) == Lease(7, 1.0)
    finally:
        await node.close()
        older.ended.set()
        older.join()


async def test_a_call_may_be_cancelled_anywhere(three: tuple[WitnessProcess, ...], tmp_path: Path) -> None:
    before = Belongings.now()
    node = a_node(tmp_path, *(one.admit() for one in three))
    lease = await until_given(node, "node1")
    for _ in range(3):
        suspensions = await count_suspensions(node.renew("web", "node1", lease.epoch))
        for at in range(1, suspensions + 1):
            await cancelled_at(at, node.renew("web", "node1", lease.epoch))
            await cancelled_at(at, node.acquire("other", "node1", 0))
    assert await node.renew("web", "node1", lease.epoch) == lease
    assert isinstance(await until_given(node, "node1", "other"), Lease)
    asking = asyncio.create_task(node.renew("web", "node1", lease.epoch))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await node.close()
    assert await left_since(before) == []

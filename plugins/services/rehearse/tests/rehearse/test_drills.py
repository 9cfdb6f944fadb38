"""Which clusters are not drilled, how long a harm lasts, and what counts as an interruption."""

from __future__ import annotations

import asyncio

import pytest
from safekit_rehearse.cluster import Promises
from safekit_rehearse.drills import DRILLS, length_s, refusals
from safekit_rehearse.probe import Asked, Probe, Target, summarize

from safekit_sdk import ConfigError

MIRROR = {"name": "web", "kind": "mirror"}
SAFE = Promises(lost_s=1.0, start_s=10.0, stop_s=5.0, take_over_s=16.0, fault_s=8.0, excluded=True, fences=False)


def refused(drill: str, kind: str = "mirror", **changed: object) -> bool:
    changed = {"fences": drill == "fence"} | changed
    return bool(refusals(DRILLS[drill], MIRROR | {"kind": kind}, SAFE.model_copy(update=changed)))


def test_where_both_nodes_would_run_it_they_are_not_parted() -> None:
    parting = {name for name in DRILLS if refused(name, excluded=False)}
    assert parting == {"freeze", "partition", "isolate", "fence"}


def test_where_nothing_takes_over_no_node_is_taken_away() -> None:
    assert {name for name in DRILLS if refused(name, take_over_s=None)} == {
        "kill-daemon",
        "freeze",
        "isolate",
        "power-off",
        "fence",
    }


def test_where_a_silent_node_is_fenced_none_is_made_silent() -> None:
    silent = {"kill-daemon", "freeze", "partition", "isolate", "slow-disk"}
    assert {name for name in DRILLS if refused(name, fences=True)} == silent


def test_where_nothing_fences_the_power_of_no_node_is_cut() -> None:
    assert refused("fence", fences=False)
    assert not refused("fence", fences=True)


def test_a_farm_has_no_roles_to_exchange() -> None:
    assert {name for name in DRILLS if refused(name, "farm")} == {"swap", "partition", "fence"}
    assert {name for name in DRILLS if refused(name, "light")} == set(DRILLS)


def test_a_harm_lasts_as_long_as_what_is_promised_takes() -> None:
    assert length_s(DRILLS["isolate"], SAFE, None) == 21.0
    assert length_s(DRILLS["partition"], SAFE, None) == 3.0
    assert length_s(DRILLS["isolate"], SAFE, 7.0) == 7.0


def test_an_interruption_runs_from_the_first_failed_request_to_the_first_good_answer_after_it() -> None:
    asked = [
        Asked(0.0, 0.01),
        Asked(1.0, 2.0, "x"),
        Asked(1.5, 2.5, "x"),
        Asked(2.6, 2.7),
        Asked(3.0, 3.5, "y"),
        Asked(4, 4.1),
    ]
    found = summarize(reversed(asked))
    assert found.interruption_ms == 1700.0
    assert (found.requests, found.failed, found.errors) == (6, 3, {"x": 2, "y": 1})
    assert summarize([Asked(0.0, 0.1)]).interruption_ms == 0.0
    assert summarize([Asked(0.0, 0.1), Asked(1.0, 1.1, "x")]).interruption_ms is None


@pytest.mark.parametrize("url", ["ftp://x/", "http://", "tcp://x", "http://x:99999/", "http://x/\r\nHost: y", "x"])
def test_what_cannot_be_asked_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="cannot be asked"):
        Target.parse(url)


async def seen_of(answer: bytes, scheme: str) -> set[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if scheme == "http":
            await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Probe(Target.parse(f"{scheme}://127.0.0.1:{port}")).running() as probe:
        async with asyncio.timeout(10.0):
            while len(probe.asked) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    return {one.error for one in probe.asked}


@pytest.mark.parametrize(
    ("answer", "scheme", "errors"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\nhello", "http", {""}),
        (b"HTTP/1.0 503 Busy\r\n\r\n", "http", {"status 503"}),
        (b"rubbish\r\n\r\n", "http", {"no HTTP"}),
        (b"", "http", {"IncompleteReadError"}),
        (b"", "tcp", {""}),
    ],
)
def test_a_probe_tells_a_good_answer_from_a_bad_one(answer: bytes, scheme: str, errors: set[str]) -> None:
    assert asyncio.run(seen_of(answer, scheme)) == errors

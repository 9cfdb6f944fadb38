"""Observers hear everything and can spoil nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from safekit.plugins import Observers
from safekit_sdk import PluginError, hookimpl

EVENT = {"module": "web", "node": "n1", "before": "WAIT/Ready", "after": "PRIM/Ready", "why": "start"}
WITHIN_S = 10.0


class Ear:
    """Remembers what it heard."""

    def __init__(self) -> None:
        self.heard: list[dict[str, str]] = []
        self.done = threading.Event()

    @hookimpl
    def state_changed(self, module: str, before: str, after: str, why: str) -> None:
        self.heard.append({"module": module, "before": before, "after": after, "why": why})
        if why == "last":
            self.done.set()


class Breaks(Ear):
    @hookimpl
    def state_changed(self, why: str) -> None:  # type: ignore[override]
        raise RuntimeError(f"cannot bear {why}")


@pytest.fixture
def troubles() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def observers(troubles: list[tuple[str, str]]) -> Iterator[Observers]:
    made = Observers(on_trouble=lambda name, trouble: troubles.append((name, trouble)), queue_size=3)
    yield made
    made.close()


def test_an_observer_hears_each_event_in_order(observers: Observers) -> None:
    ear = Ear()
    observers.register(ear, "ear")
    observers.start()
    observers.notify("state_changed", **EVENT)
    observers.notify("state_changed", **{**EVENT, "why": "last"})
    assert ear.done.wait(WITHIN_S)
    assert [event["why"] for event in ear.heard] == ["start", "last"]


def test_an_observer_that_raises_is_dropped_and_the_others_go_on(
    observers: Observers, troubles: list[tuple[str, str]]
) -> None:
    first, last = Ear(), Ear()
    for name, observer in (("first", first), ("breaks", Breaks()), ("last", last)):
        observers.register(observer, name)
    observers.start()
    observers.notify("state_changed", **EVENT)
    observers.notify("state_changed", **{**EVENT, "why": "last"})
    assert first.done.wait(WITHIN_S)
    assert last.done.wait(WITHIN_S)
    assert troubles == [("breaks", "state_changed raised RuntimeError: cannot bear start; it hears nothing more")]


def test_what_start_gives_is_part_of_every_event(observers: Observers) -> None:
    ear = Ear()
    observers.register(ear, "ear")
    observers.start(module="web", node="n1")
    observers.notify("state_changed", before="", after="", why="last")
    assert ear.done.wait(WITHIN_S)
    assert ear.heard[0]["module"] == "web"


def test_an_event_that_no_hook_describes_goes_nowhere(observers: Observers) -> None:
    ear = Ear()
    observers.register(ear, "ear")
    observers.start()
    observers.notify("no_such_event", **EVENT)
    observers.notify("state_changed", why="an argument is missing")
    observers.notify("state_changed", **{**EVENT, "why": "last"})
    assert ear.done.wait(WITHIN_S)
    assert [event["why"] for event in ear.heard] == ["last"]


def test_a_hanging_observer_never_delays_who_tells(observers: Observers) -> None:
    entered, release = threading.Event(), threading.Event()

    class Hangs:
        @hookimpl
        def state_changed(self, why: str) -> None:
            entered.set()
            release.wait(WITHIN_S)

    observers.register(Hangs(), "hangs")
    observers.start()
    observers.notify("state_changed", **EVENT)
    assert entered.wait(WITHIN_S)
    for _ in range(10):
        observers.notify("state_changed", **EVENT)
    assert observers.lost == 7
    release.set()


def test_without_observers_there_is_no_thread() -> None:
    before = threading.active_count()
    observers = Observers()
    observers.start()
    observers.notify("state_changed", **EVENT)
    assert threading.active_count() == before
    observers.close()


class Async:
    @hookimpl
    async def state_changed(self, why: str) -> None: ...


class Generator:
    @hookimpl
    def state_changed(self, why: str) -> Iterator[None]:
        yield


class Unknown:
    @hookimpl
    def state_chnaged(self, why: str) -> None: ...


class WrongArgument:
    @hookimpl
    def state_changed(self, reason: str) -> None: ...


class Nothing:
    def state_changed(self, why: str) -> None: ...


class CannotBeMade:
    def __init__(self) -> None:
        raise OSError("no socket")


@pytest.mark.parametrize(
    ("observer", "said"),
    [
        (Async, "state_changed is an `async def` or a generator, which nothing would run"),
        (Generator, "state_changed is an `async def` or a generator, which nothing would run"),
        (Unknown, "unknown hook 'state_chnaged'"),
        (WrongArgument, "reason"),
        (Nothing, "implements no hook"),
        (CannotBeMade, "no socket"),
    ],
)
def test_an_observer_that_could_never_work_is_refused_when_it_registers(
    observers: Observers, observer: Any, said: str
) -> None:
    with pytest.raises(PluginError, match="observer 'mine'") as caught:
        observers.register(observer, "mine")
    assert said in str(caught.value)
    assert caught.value.hint
    observers.register(Ear(), "mine")


def test_a_second_observer_of_one_name_is_refused_and_the_first_stays(observers: Observers) -> None:
    ear = Ear()
    observers.register(ear, "ear")
    with pytest.raises(PluginError, match="there are two observers 'ear'"):
        observers.register(Ear(), "ear")
    observers.start()
    observers.notify("state_changed", **{**EVENT, "why": "last"})
    assert ear.done.wait(WITHIN_S)


def test_a_hidden_coroutine_is_found_at_the_first_event(observers: Observers, troubles: list[tuple[str, str]]) -> None:
    async def later() -> None: ...

    class Hidden:
        @hookimpl
        def state_changed(self, why: str) -> Any:
            return later()

    ear = Ear()
    observers.register(ear, "ear")
    observers.register(Hidden(), "hidden")
    observers.start()
    observers.notify("state_changed", **{**EVENT, "why": "last"})
    assert ear.done.wait(WITHIN_S)
    observers.close()
    assert troubles == [
        (
            "hidden",
            "state_changed raised TypeError: state_changed returned a coroutine, which nothing would run; "
            "it hears nothing more",
        )
    ]


SOURCE = """
    from safekit_sdk import hookimpl
    heard = []

    @hookimpl
    def check_failed(module, checker, error):
        heard.append((module, checker, error))
"""


def test_installed_observers_are_loaded_and_a_broken_one_is_left_out(
    distributions: Any, observers: Observers, troubles: list[tuple[str, str]]
) -> None:
    distributions.add("safekit-good", SOURCE, {"safekit.hooks": {"good": "heard"}})
    (distributions.site / "safekit_good-1.0.dist-info" / "entry_points.txt").write_text(
        "[safekit.hooks]\ngood = safekit_good\n"
    )
    distributions.add("safekit-bad", "1 / 0", {"safekit.hooks": {"bad": "x"}})
    observers.start(module="web", node="n1")
    observers.notify("check_failed", checker="http.home", error="hung")
    observers.close()
    import safekit_good  # type: ignore[import-not-found]

    assert safekit_good.heard == [("web", "http.home", "hung")]
    assert [name for name, trouble in troubles if "ZeroDivisionError" in trouble] == ["bad"]

"""What a plan says about time: from a fault to a verdict, to a rule, to the service again."""

from __future__ import annotations

import pytest

from safekit.config.compiled import CompiledModule
from safekit.config.plan import diff, lines
from safekit.config.timing import Promises, bounds, latencies, order, promises

from .kit import compiled

FILE = """\
kind: mirror
isolation: availability
handle_time: 15s
pipeline:
  - vip: {address: 10.0.0.9/24, interface: lo, start_timeout: 5s, stop_timeout: 5s, force_stop_timeout: 5s}
  - service: {name: web, command: [/bin/true], start_timeout: 20s, stop_timeout: 20s, force_stop_timeout: 10s}
checkers:
  - tcp: {name: port, port: 80, interval: 2s, timeout: 5s, fall: 3, action: swap}
  - module: {module: db, start_after: 30s}
rules:
  - "slow: if (tcp.port == down) for 1m then restart"
  - "full: if (custom.queue == down) for 5s then stop"
disabled_rules: [module_db]
"""


@pytest.fixture(scope="module")
def module() -> CompiledModule:
    return compiled(FILE)


def test_each_checker_and_rule_in_force_has_a_line_and_the_worst_of_all_the_last(module: CompiledModule) -> None:
    told = list(latencies(module))
    assert told[0] == "checker tcp.port: a fault is told within 17s (interval 2s × fall 3 + timeout 5s)"
    assert told[1].endswith("(interval 10s × fall 1 + timeout 5s), but none in the first 30s")
    rules = dict(line.removeprefix("rule ").split(": ", 1) for line in told if line.startswith("rule"))
    assert rules["tcp_port"] == "swap within 32s of a fault (verdict 17s + handle_time 15s)"
    assert rules["slow"] == "restart within 92s of a fault (verdict 17s + for 1m + handle_time 15s)"
    assert rules["full"] == "stop for 5s + handle_time 15s after it became true"
    assert "module_db" not in rules
    assert told[-1] == (
        "a fault that a checker tells: acted on within 92s, the service back within 162s (rule slow: restart)"
    )


def test_a_checker_that_looks_at_nothing_by_the_clock_promises_no_time(module: CompiledModule) -> None:
    silent = tuple(checker.model_copy(update={"polls": False}) for checker in module.checkers)
    told = list(latencies(module.model_copy(update={"checkers": silent})))
    assert told[0] == "checker tcp.port: tells a fault as it happens"
    assert "rule slow: restart for 1m + handle_time 15s after it became true" in told
    assert "the service back" not in told[-1]


def test_a_new_module_has_its_steps_in_order_with_what_users_notice(module: CompiledModule) -> None:
    assert list(order(module)) == [
        "1. vip.10.0.0.9 (on while prim): started within 5s, stopped within 10s; a restart leaves it",
        "2. service.web (on while prim): started within 30s, stopped within 40s; "
        "a restart takes it away for at most 70s",
    ]
    assert [line.strip() for line in lines(diff(None, module))][1:3] == list(order(module))
    assert diff(module, module).steps == ()


def test_what_is_promised_in_seconds_is_what_the_words_say(module: CompiledModule) -> None:
    assert promises(module) == Promises(
        lost_s=1.0, start_s=35.0, stop_s=50.0, take_over_s=36.0, fault_s=162.0, excluded=False, fences=False
    )
    assert "take-over after a crash: noticed after 1s, then at most 35s to start: within 36s" in list(bounds(module))


def test_where_nothing_takes_over_by_itself_nothing_is_promised(module: CompiledModule) -> None:
    safe = promises(module.model_copy(update={"isolation": "safety"}))
    assert (safe.take_over_s, safe.excluded) == (None, True)
    farm = promises(module.model_copy(update={"kind": "farm"}))
    assert (farm.take_over_s, farm.excluded) == (1.0, True)

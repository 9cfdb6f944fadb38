"""What differs between two module files: keys, not lines."""

from __future__ import annotations

from safekit.config.difference import Difference, differences

BASE = """\
kind: mirror # the shop
heartbeat: {interval: 100ms, lost_after: 1s}
pipeline:
  - vip: {address: 10.0.0.9/24}
  - service: {name: shop, command: [/bin/shop]}
checkers:
  - tcp: {name: port, port: 80}
rules:
  - "a: if (tcp.port == down) then restart"
"""


def found(after: str, before: str = BASE) -> list[tuple[str, str]]:
    return [
        (one.sign, one.path) for one in differences({"module.yaml": before.encode()}, {"module.yaml": after.encode()})
    ]


def test_comments_order_of_keys_and_quotes_make_no_difference() -> None:
    written = BASE.replace("# the shop", "# another").replace(
        "interval: 100ms, lost_after: 1s", 'lost_after: "1s", interval: 100ms'
    )
    assert found(written) == []


def test_a_value_is_told_by_the_way_to_it() -> None:
    [one] = differences(
        {"module.yaml": BASE.encode()}, {"module.yaml": BASE.replace("lost_after: 1s", "lost_after: 2s").encode()}
    )
    assert one == Difference("heartbeat.lost_after", "change", "1s", "2s")


def test_an_entry_that_is_put_in_does_not_change_those_after_it() -> None:
    assert found(BASE.replace("pipeline:\n", "pipeline:\n  - rfs: {directory: /srv}\n")) == [
        ("add", "pipeline.rfs[/srv]")
    ]
    assert found(BASE.replace("  - tcp: {name: port, port: 80}\n", "  []\n")) == [("remove", "checkers.tcp[port]")]


def test_a_setting_of_an_entry_is_told_and_an_order_too() -> None:
    assert found(BASE.replace("port: 80", "port: 81")) == [("change", "checkers.tcp[port].port")]
    first, second = "  - vip: {address: 10.0.0.9/24}\n", "  - service: {name: shop, command: [/bin/shop]}\n"
    assert found(BASE.replace(first + second, second + first)) == [("move", "pipeline")]


def test_rules_are_known_by_their_label_and_twins_by_their_number() -> None:
    assert found(BASE.replace("restart", "stop")) == [("change", "rules[a]")]
    twins = BASE.replace("  - tcp: {name: port, port: 80}\n", "  - tcp: {name: port, port: 80}\n" * 2)
    assert found(twins) == [("add", "checkers.tcp[port]#2")]


def test_files_beside_the_module_file_are_told_by_their_size() -> None:
    before = {"module.yaml": BASE.encode(), "bin/start": b"a", "old": b""}
    after = {"module.yaml": BASE.encode(), "bin/start": b"ab", "new": b""}
    assert [(one.sign, one.path) for one in differences(before, after)] == [
        ("change", "file bin/start"),
        ("add", "file new"),
        ("remove", "file old"),
    ]

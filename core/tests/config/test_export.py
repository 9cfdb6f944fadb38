"""Whatever a module file says: written out again from what is in force, it means the same."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safekit.config.edit import to_yaml
from safekit.config.export import module_file
from safekit.config.text import read

from .kit import compiled

Settings = dict[str, Any]
words = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t\x85"), max_size=30)
durations = st.sampled_from(["100ms", "1s", "2.5s", "1m", "1h30m"])
actions = st.sampled_from(["none", "restart", "stopstart", "stop"])
ports = st.integers(1, 65535)


def optional(required: Settings, **others: Any) -> st.SearchStrategy[Settings]:
    return st.fixed_dictionaries(required, optional=others)


timing = {"interval": durations, "timeout": durations, "fall": st.integers(1, 5), "rise": st.integers(1, 5)}
checkers = st.one_of(
    optional({"tcp": optional({"name": words, "port": ports, "action": actions}, host=st.just("::1"), **timing)}),
    optional({"custom": optional({"name": words, "command": st.lists(words, min_size=1, max_size=2)}, **timing)}),
    optional({"module": optional({"name": words, "module": words}, on=st.sampled_from(["this", "any"]))}),
)
arguments = st.lists(texts.map(lambda text: text.replace("\0", "")).filter(bool), max_size=3)
services = st.fixed_dictionaries(
    {
        "service": optional(
            {
                "name": words,
                "command": arguments.map(lambda more: ["/bin/true", *(one.replace("%", "%%") for one in more)]),
            },
            user=words,
            directory=st.just("/srv/100%%"),
            start_timeout=durations,
            log_size_kb=st.integers(1, 4096),
            action=actions,
        )
    }
)
apps = st.just({"apache": {"name": "web"}})


@st.composite
def modules(draw: st.DrawFn) -> Settings:
    kind = draw(st.sampled_from(["mirror", "farm", "light"]))
    unique: Any = {"max_size": 3, "unique_by": lambda entry: next((name, own["name"]) for name, own in entry.items())}
    found: Settings = {"kind": kind, "checkers": draw(st.lists(checkers, **unique))}
    found["pipeline"] = draw(st.lists(st.one_of(services, apps), **unique))
    found |= draw(
        optional(
            {},
            description=texts.map(lambda text: text.replace("%", "%%")),
            variables=st.dictionaries(
                words.map(lambda word: word.replace("-", "_")), st.one_of(texts, st.booleans(), st.integers())
            ),
            boot=st.sampled_from(["auto", "on", "off"]),
            max_loops=st.integers(1, 1000),
            loop_interval=durations,
            handle_time=durations,
            heartbeat=st.just({"interval": "200ms", "lost_after": "2s"}),
            nodes=st.just(["n2", "n1"]),
        )
    )
    if kind == "mirror":
        found |= draw(optional({}, isolation=st.just("availability"), default_primary=st.just("n1")))
    names = [f"{name}.{own['name']}" for entry in found["checkers"] for name, own in entry.items()]
    tests = st.sampled_from([*names, "custom.queue"]).flatmap(
        lambda name: st.sampled_from([f"{name} == down", f"!({name} == up)", "full"])
    )
    found["conditions"] = {"full": "custom.queue == down || custom.other == unknown"}
    conditions = draw(st.lists(st.lists(tests, min_size=1, max_size=3).map(" && ".join), max_size=3))
    rules = [
        f"r{n}: if ({one}) for {n}s then {draw(actions.filter('none'.__ne__))}" for n, one in enumerate(conditions, 1)
    ]
    found["rules"] = [{"rule": rule, "message": "100%% of it"} if draw(st.booleans()) else rule for rule in rules]
    found["disabled_rules"] = [f"r{n}" for n in range(1, len(rules) + 1) if draw(st.booleans())]
    return found


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(modules())
def test_what_is_in_force_is_a_module_file_that_means_the_same(content: Settings) -> None:
    first = compiled(to_yaml(content))
    written = module_file(first)
    again = compiled(written)
    assert again.signature == first.signature
    assert module_file(again) == written


def test_a_rule_in_the_place_of_another_one_stays_in_its_place() -> None:
    first = compiled(
        "kind: light\nrules: ['tcp_ssh: if (tcp.ssh == down) for 5s then stop', 'z: if (tcp.db == up) then stop']\n"
        "checkers: [tcp: {name: ssh, port: 22}, tcp: {name: db, port: 23}]\ndisabled_rules: [tcp_db]\n"
    )
    assert [rule.label for rule in first.rules] == ["tcp_ssh", "tcp_db", "z"]
    assert compiled(module_file(first)).signature == first.signature


@settings(max_examples=25, deadline=None)
@given(
    st.recursive(
        st.one_of(texts, st.booleans(), st.integers(), st.none()),
        lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
        max_leaves=10,
    )
)
def test_whatever_is_written_is_read_again(value: Any) -> None:
    assert read(to_yaml({"variables": {"it": value}}).encode(), "x").value == {"variables": {"it": value}}

"""A module that waits for another: `depends_on`, and the checker that it is short for."""

from __future__ import annotations

from importlib.metadata import EntryPoints, entry_points

import pytest

from safekit.config.compiler import compile_module
from safekit.plugins import discovery

from .kit import FILE, NODES, compiled, mistakes, told

SHORT = "kind: light\ndepends_on: [db, {module: cache, on: this}]\n"
NO_NODE = "there is no node 'n3' in the cluster"
LONG = """\
kind: light
checkers:
  - module: {name: depends-db, module: db, on: any}
  - module: {name: depends-cache, module: cache, on: this}
"""


def test_it_is_short_for_checkers_that_keep_the_module_waiting() -> None:
    module = compiled(SHORT)
    assert module.signature == compiled(LONG).signature
    assert [(checker.resource, checker.scope) for checker in module.checkers] == [
        ("module.depends-db", "pre"),
        ("module.depends-cache", "pre"),
    ]
    assert module.rules[0].text == "module_depends-db: if (module.depends-db == down) then wait;"
    assert module.packages.keys() == {"safekit-checker-module"}


def test_it_comes_after_the_files_own_checkers_and_those_of_its_parts() -> None:
    part = b"depends_on: [cache]\ncheckers:\n  - module: {module: a}\n"
    text = "kind: light\ninclude: [part.yaml]\ndepends_on: [db]\ncheckers:\n  - module: {module: b}\n"
    module = compile_module(text, FILE, NODES, "web", beside={"part.yaml": part})
    assert [checker.ident for checker in module.checkers] == ["a", "b", "depends-cache", "depends-db"]
    assert [checker.origin for checker in module.checkers][2:] == ["web/part.yaml:1:14", f"{FILE}:3:14"]


@pytest.mark.parametrize(
    ("given", "where", "message", "hint"),
    [
        ("[web]", "2:14", "'web' would wait for itself", "remove it"),
        (
            "[{module: db, on: n3}]",
            "2:31",
            "there is no node 'n3' in the cluster",
            "this, any, or a node: this, any, n1, n2",
        ),
        ("[{module: db, of: n1}]", "2:27", "unknown key 'of'", "keys here: module, on"),
        ("[db, {module: db, on: this}]", "2:28", None, None),
        ("db", "2:13", "depends_on: must be a list, not 'db'", ""),
    ],
)
def test_a_mistake_is_told_where_it_is(given: str, where: str, message: str | None, hint: str | None) -> None:
    found = mistakes(f"kind: light\ndepends_on: {given}\n")
    if message is None:
        assert "'module.depends-db' is here twice" in found[0]
    else:
        assert found == [told(where, message, hint or "")]


def test_a_checker_that_is_not_installed_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(group: str) -> EntryPoints:
        return EntryPoints(one for one in entry_points(group=group) if one.name != "module")

    monkeypatch.setattr(discovery, "_installed", without)
    [mistake] = mistakes(SHORT.replace(", {module: cache, on: this}", ""))
    assert mistake.startswith(f"{FILE}:2:14: there is no checker 'module' on this node")
    assert "`pip install safekit-checker-module`" in mistake

"""Parts of a module file in other files, variables of a node, and those of the environment."""

from __future__ import annotations

from typing import Any

import pytest

from safekit.config.compiled import CompiledModule
from safekit.config.compiler import compile_module
from safekit.config.errors import ConfigErrors
from safekit_sdk import ConfigError

from .kit import FILE, NODES, told

MAIN = """\
kind: mirror
include: [parts/checks.yaml]
pipeline:
  - drawbridge: {address: 10.0.0.9/24}
checkers:
  - lighthouse: {port: 80}
"""
CHECKS = b"""\
isolation: availability
checkers:
  - lighthouse: {port: 22}
"""


@pytest.fixture(autouse=True)
def plugins(distributions: Any) -> Any:
    distributions.add_all()
    return distributions


def compiled(text: str, node: str = "", **beside: bytes) -> CompiledModule:
    files = {name.replace("__", "/") + ".yaml": content for name, content in beside.items()}
    return compile_module(text, FILE, NODES, "web", node=node, beside=files)


def mistakes(text: str, node: str = "", **beside: bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compiled(text, node, **beside)
    error = caught.value
    return [str(one) for one in (error.errors if isinstance(error, ConfigErrors) else [error])]


class TestIncludes:
    def test_lists_come_before_and_values_give_way(self) -> None:
        module = compiled(MAIN, parts__checks=CHECKS)
        assert [checker.resource for checker in module.checkers] == ["lighthouse.22", "lighthouse.80"]
        assert module.isolation == "availability"
        assert compiled(MAIN + "isolation: safety\n", parts__checks=CHECKS).isolation == "safety"

    def test_a_mistake_is_told_where_it_stands(self) -> None:
        bad = CHECKS.replace(b"port: 22", b"port: 22, prot: 1")
        assert mistakes(MAIN, parts__checks=bad)[0].startswith("web/parts/checks.yaml:3:28: unknown key 'prot'")
        assert mistakes(MAIN.replace("port: 80", "port: 80, prot: 1"), parts__checks=CHECKS)[0].startswith(
            f"{FILE}:6:28: "
        )

    def test_one_that_is_not_there_is_told_with_the_nearest_name(self) -> None:
        assert mistakes(MAIN, parts__check=CHECKS) == [
            told(
                "2:11",
                "there is no file 'parts/checks.yaml' in the module's directory",
                "did you mean 'parts/check.yaml'?",
            )
        ]

    @pytest.mark.parametrize("name", ["../other/module.yaml", "/etc/passwd", "a/../../b", "~root"])
    def test_nothing_outside_of_the_directory_can_be_included(self, name: str) -> None:
        [mistake] = mistakes(MAIN.replace("parts/checks.yaml", f'"{name}"'))
        assert mistake.startswith(f"{FILE}:2:11: ")

    def test_circles_and_depth_are_bounded(self) -> None:
        circle = mistakes(MAIN.replace("parts/checks", "a"), a=b"include: [b.yaml]\n", b=b"include: [a.yaml]\n")
        assert circle == ["web/b.yaml:1:11: 'a.yaml' includes itself\n  to do: remove one include"]
        deep = {f"a{n}": f"include: [a{n + 1}.yaml]\n".encode() for n in range(12)}
        assert "includes in each other" in mistakes(MAIN.replace("parts/checks", "a0"), "", **deep)[0]


class TestVariablesOfANode:
    TEXT = (
        "kind: mirror\nvariables: {PORT: 80}\nnode_variables: {n2: {PORT: 81}}\n"
        'checkers:\n  - lighthouse: {port: "%PORT%"}\n'
    )

    def test_each_node_has_its_own(self) -> None:
        ports = [compiled(self.TEXT, node).checkers[0].effective["port"] for node in NODES]
        assert ports == [80, 81]
        assert [compiled(self.TEXT, node).variables["PORT"] for node in NODES] == ["80", "81"]

    def test_what_is_the_same_on_all_nodes_cannot_use_them(self) -> None:
        [mistake] = mistakes(self.TEXT + 'description: "on %PORT%"\n')
        assert mistake.startswith(f"{FILE}:6:18: 'PORT' may be another on each node")

    def test_a_node_that_is_none_and_one_without_a_value_are_told(self) -> None:
        assert "did you mean 'n2'?" in mistakes(self.TEXT.replace("n2:", "n22:"))[0]
        lacking = self.TEXT.replace("variables: {PORT: 80}\n", "", 1).replace("n2: {PORT: 81}", "n1: {PORT: 1}, n2: {}")
        assert "'PORT' has no value on 'n2'" in mistakes(lacking, "n1")[0]


class TestTheEnvironment:
    TEXT = 'kind: mirror\ncheckers:\n  - lighthouse: {port: "%env:HARBOUR%"}\n'

    def test_a_variable_of_it_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HARBOUR", "8081")
        assert compiled(self.TEXT).checkers[0].effective["port"] == 8081

    def test_one_that_is_not_set_and_one_that_is_a_secret_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HARBOUR", raising=False)
        assert "the environment has no variable 'HARBOUR'" in mistakes(self.TEXT)[0]
        monkeypatch.setenv("DB_PASSWORD", "hunter2")
        [mistake] = mistakes(self.TEXT.replace("HARBOUR", "DB_PASSWORD"))
        assert "env:DB_PASSWORD" in mistake
        assert "hunter2" not in mistake

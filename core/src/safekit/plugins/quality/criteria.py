"""What each tier asks of a package. Only what can be seen from outside is asked; a tier includes those before it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from safekit.plugins.discovery import APPS, CHECKERS, RESOURCES, WITNESSES
from safekit.plugins.quality.subject import Loaded, Subject

HINTED_PART: Final = 0.75
"""Of the errors that are raised for operators, if more than one has none. These pass on what a program said."""


class Tier(StrEnum):
    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"


Troubles = Iterable[str]


@dataclass(frozen=True, slots=True)
class Criterion:
    tier: Tier
    name: str
    asks: str
    troubles: Callable[[Subject], Troubles]
    needs_tests: bool = False
    """Whether it can be judged only where the package's own tests are at hand."""


def _of(path: Path, node: ast.AST) -> str:
    return f"{path.name}:{getattr(node, 'lineno', 0)}"


def _calls(trees: list[tuple[Path, ast.Module]]) -> Iterator[tuple[Path, ast.Call, str]]:
    for path, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield path, node, ast.unparse(node.func)


def _imports(trees: list[tuple[Path, ast.Module]]) -> Iterator[tuple[str, str]]:
    """The imported module, and where."""
    for path, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, _of(path, node)) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module, _of(path, node)


def loads(subject: Subject) -> Troubles:
    if not subject.loaded:
        yield "it has no entry point of a group that safekit loads"
    for one in subject.loaded:
        if one.trouble:
            yield f"{one.name}: {one.trouble}"
        elif not one.is_strict:
            yield f"{one.name}: its model takes settings that it does not know"


def uses_only_the_sdk(subject: Subject) -> Troubles:
    own = {path.parts[-2] if path.name == "__init__.py" else path.stem for path in subject.sources}
    for module, where in _imports(subject.trees()):
        top = module.partition(".")[0]
        if (top == "safekit" or (top.startswith("safekit_") and top != "safekit_sdk")) and top not in own:
            yield f"{where} imports {module}, which is not the SDK"


def requires_the_sdk(subject: Subject) -> Troubles:
    if _configured(subject) and not any(re.match(r"safekit-sdk\b(?!-)", one) for one in subject.requires):
        yield "its metadata does not require safekit-sdk"


def has_a_readme(subject: Subject) -> Troubles:
    if not subject.readme.startswith(f"# {subject.name}\n"):
        yield f"its README does not begin with `# {subject.name}`"
    for one in _configured(subject):
        yield from (f"{one.name}: an example of the README is refused: {said}" for said in one.bad_examples)
        if one.is_step and not one.examples and not one.trouble:
            yield f"{one.name}: the README has no example, a block of YAML with the entry in its list"


def documents_its_keys(subject: Subject) -> Troubles:
    for one in _configured(subject):
        yield from (f"{one.name}: the setting `{key}` has no docstring" for key in one.undescribed)
        untold = (key for key in one.keys if f"`{key}`" not in subject.readme)
        yield from (f"{one.name}: the README does not tell `{key}`" for key in untold)


def passes_the_suite(subject: Subject) -> Troubles:
    given = {
        ast.unparse(node.value).rpartition(".")[2]
        for _, tree in _suites(subject)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == "plugin" for target in node.targets)
    }
    for one in _configured(subject):
        if one.is_step and one.class_name not in given:
            yield f"no test gives {one.class_name} to a suite of safekit_sdk.testing.conformance"


def tests_the_real_thing(subject: Subject) -> Troubles:
    tests = subject.tests()
    for module, where in _imports(tests):
        if module in {"unittest.mock", "mock", "pytest_mock"}:
            yield f"{where} imports {module}"
    for path, tree in tests:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in _SKIPS:
                yield f"{_of(path, node)} has {ast.unparse(node)}"


_SKIPS: Final = {
    "pytest.skip",
    "pytest.mark.skip",
    "pytest.mark.skipif",
    "pytest.mark.xfail",
    "pytest.xfail",
    "pytest.importorskip",
    "unittest.mock",
}


def says_what_to_do(subject: Subject) -> Troubles:
    raised = [found for found in _calls(subject.trees()) if found[2] in {"ConfigError", "PluginError"}]
    bare = [_of(path, node) for path, node, _ in raised if not any(one.arg == "hint" for one in node.keywords)]
    if len(bare) > max(1.0, (1 - HINTED_PART) * len(raised)):
        yield f"{len(bare)} of {len(raised)} errors have no hint: {', '.join(bare[:10])}"


def looks_before(subject: Subject) -> Troubles:
    for one in subject.of(RESOURCES, APPS):
        if not one.examines and not one.trouble:
            yield f"{one.name}: neither `preflight` nor `examine` says what a machine lacks for it"


def is_typed(subject: Subject) -> Troubles:
    if not any((path.parent / "py.typed").is_file() for path in subject.sources):
        yield "there is no py.typed in its package"


def is_bounded(subject: Subject) -> Troubles:
    for path, node, name in _calls(subject.trees()):
        given = {one.arg for one in node.keywords}
        positions = _TIMED.get(name)
        if positions is not None and "timeout" not in given and len(node.args) < positions:
            yield f"{_of(path, node)} calls {name} without a timeout"
        if name in _UNBOUNDED and not node.args and "maxsize" not in given:
            yield f"{_of(path, node)} makes a {name} without a bound"
        if name in _REFUSED:
            yield f"{_of(path, node)} calls {name}: {_REFUSED[name]}"
        if any(one.arg == "shell" and ast.unparse(one.value) != "False" for one in node.keywords):
            yield f"{_of(path, node)} runs a shell"
    for path, tree in subject.trees():
        yield from (f"{_of(path, node)} sleeps in a coroutine" for node in _sleeps(tree))


_TIMED: Final = {
    "subprocess.run": 99,
    "subprocess.check_output": 99,
    "subprocess.check_call": 99,
    "subprocess.call": 99,
    "socket.create_connection": 2,
    "urllib.request.urlopen": 3,
    "urlopen": 3,
}
"""Calls that wait, and the number of positional arguments among which the timeout is."""
_UNBOUNDED: Final = {"asyncio.Queue", "queue.Queue", "Queue", "asyncio.LifoQueue", "asyncio.PriorityQueue"}
_REFUSED: Final = {
    "asyncio.wait_for": "Python 3.11 loses a cancellation in it; use asyncio.timeout",
    "queue.SimpleQueue": "it has no bound",
    "os.system": "it runs a shell",
    "os.popen": "it runs a shell",
    "asyncio.create_subprocess_shell": "it runs a shell",
}


def _sleeps(tree: ast.Module) -> Iterator[ast.AST]:
    for function in ast.walk(tree):
        if isinstance(function, ast.AsyncFunctionDef):
            yield from (
                node
                for node in ast.walk(function)
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep"
            )


def is_broken_in_tests(subject: Subject) -> Troubles:
    if not any(one.is_step for one in subject.of(RESOURCES, APPS)):
        return
    defined = {
        name
        for _, tree in _suites(subject)
        for node in ast.walk(tree)
        for name in ([node.name] if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else _targets(node))
    }
    if "make_broken" not in defined:
        yield "its conformance tests have no `make_broken`: nobody sees what it says when its thing breaks"
    if not defined & {"failing_config", "start_cannot_fail"}:
        yield "its conformance tests have no `failing_config`, nor a reason in `start_cannot_fail`"


def _targets(node: ast.AST) -> list[str]:
    return [ast.unparse(target) for target in node.targets] if isinstance(node, ast.Assign) else []


def explains_its_facts(subject: Subject) -> Troubles:
    for one in subject.of(CHECKERS):
        if not one.tells_facts and not one.trouble:
            yield f"{one.name}: `facts` does not say what its verdicts carry"


def _suites(subject: Subject) -> list[tuple[Path, ast.Module]]:
    """Test files that use the conformance suites."""
    return [
        (path, tree)
        for path, tree in subject.tests()
        if any(module.startswith("safekit_sdk.testing.conformance") for module, _ in _imports([(path, tree)]))
    ]


def _configured(subject: Subject) -> list[Loaded]:
    return subject.of(CHECKERS, RESOURCES, APPS, WITNESSES)


CRITERIA: Final = (
    Criterion(Tier.BRONZE, "loads", "each entry point loads, is of this API, and refuses unknown settings", loads),
    Criterion(Tier.BRONZE, "sdk-only", "of safekit it imports the SDK alone", uses_only_the_sdk),
    Criterion(Tier.BRONZE, "requires", "its metadata require safekit-sdk", requires_the_sdk),
    Criterion(
        Tier.BRONZE, "readme", "the README names the package and has examples that its models take", has_a_readme
    ),
    Criterion(Tier.BRONZE, "keys", "each own setting has a docstring and is in the README", documents_its_keys),
    Criterion(Tier.BRONZE, "conformance", "each class is given to its conformance suite", passes_the_suite, True),
    Criterion(Tier.SILVER, "real", "its tests use no mocks and skip nothing", tests_the_real_thing, True),
    Criterion(Tier.SILVER, "hints", "three of four errors for operators say what to do", says_what_to_do),
    Criterion(Tier.SILVER, "looks-before", "resources and applications say what a machine lacks", looks_before),
    Criterion(Tier.SILVER, "typed", "it has py.typed", is_typed),
    Criterion(Tier.GOLD, "bounded", "no wait without a timeout, no queue without a bound, no shell", is_bounded),
    Criterion(Tier.GOLD, "breaks", "tests break what is started, and make a start fail", is_broken_in_tests, True),
    Criterion(Tier.GOLD, "facts", "checkers explain the facts of their verdicts", explains_its_facts),
)

"""A plugin is loaded by name; whatever is wrong with it ends as an error that says whose it is."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from safekit.plugins import load, load_object
from safekit_sdk import Checker, ConfigError, PluginError

GROUP = "safekit.checkers"


def test_a_good_plugin_is_its_class(distributions: Any) -> None:
    distributions.add_all()
    assert issubclass(load(GROUP, "lighthouse"), Checker)
    assert load("safekit.resources", "drawbridge").__name__ == "Drawbridge"
    assert load("safekit.apps", "harbour").__name__ == "Harbour"


def test_only_the_plugin_that_was_asked_for_is_imported(distributions: Any) -> None:
    distributions.add_all()
    load(GROUP, "lighthouse")
    assert "safekit_checker_lighthouse" in sys.modules
    assert "safekit_harbour" not in sys.modules


def test_a_plugin_installed_after_the_first_load_is_loaded(distributions: Any) -> None:
    """stevedore alone would answer from its cache."""
    distributions.add_checker()
    load(GROUP, "lighthouse")
    distributions.add(
        "safekit-checker-second",
        "from safekit_checker_lighthouse import Config, Lighthouse\nclass Second(Lighthouse): ...",
        {GROUP: {"second": "Second"}},
    )
    assert load(GROUP, "second").__name__ == "Second"


def _refusal(distributions: Any, source: str) -> tuple[Any, Any]:
    distributions.add_checker(source)
    with pytest.raises((PluginError, ConfigError)) as caught:
        load(GROUP, "lighthouse")
    return caught.value, distributions.site / "safekit_checker_lighthouse.py"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("\nraise ValueError('no lamp')", "ValueError: no lamp"),
        ("\nraise SystemExit('bye')", "SystemExit: bye"),
        ("\nthis is no Python", "SyntaxError: invalid syntax (safekit_checker_lighthouse.py, line 2)"),
    ],
)
def test_an_import_that_raises_names_the_package_and_the_line(distributions: Any, source: str, said: str) -> None:
    error, path = _refusal(distributions, source)
    assert isinstance(error, PluginError)
    assert str(error) == (
        f"{path}:2: the checker 'lighthouse' (package safekit-checker-lighthouse 1.0) cannot be loaded: {said}\n"
        "  to do: `pip install --upgrade safekit-checker-lighthouse`; "
        "if it stays, tell the author of safekit-checker-lighthouse"
    )


def test_a_dependency_that_is_not_installed_is_named(distributions: Any) -> None:
    error, _ = _refusal(distributions, "import no_such_library_xyz")
    assert isinstance(error, ConfigError)
    assert str(error) == (
        "the checker 'lighthouse' (package safekit-checker-lighthouse 1.0) cannot be loaded: "
        "the Python module 'no_such_library_xyz' is not installed\n"
        "  to do: `pip install --force-reinstall safekit-checker-lighthouse` installs it with what it needs"
    )


def test_an_entry_point_to_nothing_is_a_plugin_error(distributions: Any) -> None:
    error, _ = _refusal(distributions, "")
    assert isinstance(error, PluginError)
    assert "has no attribute 'Lighthouse'" in str(error)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("Lighthouse = 42", "is not a Checker class: safekit_checker_lighthouse:Lighthouse is of type int"),
        (
            "from safekit_sdk import Resource, ResourceConfig\nclass Lighthouse(Resource[ResourceConfig], api=1): ...",
            "is not a Checker class: safekit_checker_lighthouse:Lighthouse is the class Lighthouse",
        ),
        ("from safekit_sdk import Checker\nclass Lighthouse(Checker, api=1): ...", "names no configuration model"),
        (
            "from safekit_sdk import Checker, Config\nclass Lighthouse(Checker[Config], api=1): ...",
            "names no configuration model",
        ),
    ],
)
def test_a_class_of_the_wrong_kind_is_refused(distributions: Any, source: str, said: str) -> None:
    error, _ = _refusal(distributions, source)
    assert isinstance(error, PluginError)
    assert said in error.message
    assert "safekit-checker-lighthouse 1.0" in error.message
    assert error.hint


@pytest.mark.parametrize(
    ("api", "said", "hint"),
    [
        ("", "does not say which SDK it was written for", "its author adds api=1"),
        (", api=2", "was written for SDK API 2; this node has 1", "upgrade safekit-sdk and safekit"),
        (", api=-1", "was written for SDK API -1; this node has 1", "upgrade the plugin's package"),
    ],
)
def test_a_plugin_for_another_sdk_is_refused(distributions: Any, api: str, said: str, hint: str) -> None:
    source = f"from safekit_sdk import Checker, CheckerConfig\nclass Lighthouse(Checker[CheckerConfig]{api}): ..."
    error, _ = _refusal(distributions, source)
    assert isinstance(error, PluginError)
    assert said in error.message
    assert error.message.endswith("(package safekit-checker-lighthouse 1.0)")
    assert hint in error.hint


def test_an_object_is_loaded_as_it_is(distributions: Any) -> None:
    distributions.add("safekit-tool", "app = object()", {"safekit.commands": {"tool": "app"}})
    assert load_object("safekit.commands", "tool") is sys.modules["safekit_tool"].app

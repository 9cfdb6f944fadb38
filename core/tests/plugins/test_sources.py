"""What a package's sources say is read, not run."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from safekit.plugins import declared_api, readme
from safekit.plugins.sources import MAX_SOURCE_BYTES, source_files, syntax
from safekit_sdk import ConfigError

CLASS = "class Lighthouse(Checker[Config], api=7): ..."


def test_the_api_of_a_class_is_known_without_running_it(distributions: Any) -> None:
    module = distributions.add("safekit-checker-mine", f"raise SystemExit('executed')\n{CLASS}", {})
    assert declared_api(f"{module}:Lighthouse") == 7
    assert module not in sys.modules


def test_a_class_in_another_file_of_its_package_is_found(distributions: Any) -> None:
    package = distributions.site / "safekit_far"
    package.mkdir()
    (package / "__init__.py").write_text("from safekit_far.checker import Lighthouse")
    (package / "checker.py").write_text(CLASS)
    assert declared_api("safekit_far:Lighthouse") == 7
    assert [path.name for path in source_files("safekit_far.checker")] == ["__init__.py", "checker.py"]


@pytest.mark.parametrize(
    "source",
    ["", "class Lighthouse(Other): ...", "class Lighthouse(A, api=x): ...", "class Lighthouse(A, api=True): ...", "]"],
)
def test_an_api_that_is_not_written_down_is_not_known(distributions: Any, source: str) -> None:
    module = distributions.add("safekit-checker-mine", source, {})
    assert declared_api(f"{module}:Lighthouse") is None


def test_what_is_not_there_or_too_large_has_no_syntax(distributions: Any) -> None:
    assert source_files("no_such_module_xyz") == []
    large = distributions.site / "large.py"
    large.write_text("#" * (MAX_SOURCE_BYTES + 1))
    assert syntax(large) is None
    assert syntax(distributions.site / "nothing.py") is None


def test_the_documentation_of_a_package_is_in_its_metadata(distributions: Any) -> None:
    headers = "Summary: Watches\n\n# safekit-checker-sea\n\nWatches the sea.\n"
    distributions.add("safekit-checker-sea", "", {"safekit.checkers": {"sea": "Sea"}}, headers=headers)
    for name in ("safekit-checker-sea", "sea"):
        assert readme(name) == "# safekit-checker-sea\n\nWatches the sea."


def test_who_asks_for_documentation_that_is_not_there_is_told(distributions: Any) -> None:
    for package in ("safekit-checker-sea", "safekit-sea"):
        distributions.add(package, "", {"safekit.checkers": {"sea": "Sea"}})
    for name, said in (
        ("sae", "no package 'sae' with a plugin is installed"),
        ("sea", "'sea' is brought by several packages\n  to do: say which: safekit-checker-sea or safekit-sea"),
        ("safekit-sea", "the package safekit-sea brings no documentation"),
    ):
        with pytest.raises(ConfigError) as caught:
            readme(name)
        assert said in str(caught.value)

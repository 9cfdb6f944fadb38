"""What is installed is known without running any of it."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from safekit.plugins import discover
from safekit.plugins.discovery import CHECKERS, PluginInfo, find, names
from safekit_sdk import ConfigError


def test_discovery_runs_no_plugin_code(distributions: Any) -> None:
    module = distributions.add(
        "safekit-checker-mine", "raise SystemExit('executed')", {"safekit.checkers": {"mine": "Mine"}}
    )
    assert [found.name for found in discover() if found.package == "safekit-checker-mine"] == ["mine"]
    assert module not in sys.modules


def test_discovery_tells_what_the_package_says_of_itself(distributions: Any) -> None:
    headers = """
        Summary: Watches the sea
        Requires-Dist: safekit-sdk-extra (>=9)
        Requires-Dist: safekit-sdk>=0.1,<2 ; python_version >= "3.11"
        Project-URL: Source, https://example.org/src
        Project-URL: Documentation, https://example.org/docs
    """
    distributions.add("safekit-checker-sea", "", {"safekit.checkers": {"sea": "Sea"}}, version="2.3", headers=headers)
    assert (
        PluginInfo(
            group="safekit.checkers",
            name="sea",
            value="safekit_checker_sea:Sea",
            package="safekit-checker-sea",
            version="2.3",
            summary="Watches the sea",
            requires_sdk=">=0.1,<2",
            docs_url="https://example.org/docs",
        )
        in discover()
    )


def test_a_package_that_says_nothing_of_itself_is_found_too(distributions: Any) -> None:
    distributions.add("safekit-mute", "", {"safekit.apps": {"mute": "Mute"}})
    [found] = [found for found in discover() if found.name == "mute"]
    assert (found.summary, found.requires_sdk, found.docs_url) == ("", "", "")


def test_a_package_that_only_shows_panels_is_found_too(distributions: Any) -> None:
    distributions.add("queue-panels", "", {"safekit.panels": {"queue": "queue"}})
    assert [(one.group, one.package) for one in discover() if one.name == "queue"] == [
        ("safekit.panels", "queue-panels")
    ]


def test_a_package_installed_while_we_run_is_found(distributions: Any) -> None:
    assert "late" not in names(CHECKERS)
    distributions.add("safekit-checker-late", "", {"safekit.checkers": {"late": "Late"}})
    assert "late" in names(CHECKERS)


@pytest.mark.parametrize(
    ("group", "package"),
    [
        ("safekit.checkers", "safekit-checker-nowhere"),
        ("safekit.resources", "safekit-resource-nowhere"),
        ("safekit.apps", "safekit-nowhere"),
        ("safekit.witnesses", "safekit-witness-nowhere"),
    ],
)
def test_a_missing_plugin_names_the_package_to_install(group: str, package: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no .* 'nowhere' on this node(.|\n)*`pip install {package}`"):
        find(group, "nowhere")


def test_a_missing_plugin_names_near_misses(distributions: Any) -> None:
    distributions.add_checker()
    with pytest.raises(ConfigError) as caught:
        find(CHECKERS, "lighthose")
    assert str(caught.value) == (
        "there is no checker 'lighthose' on this node\n"
        "  to do: did you mean 'lighthouse'? If not, `pip install safekit-checker-lighthose`"
    )


def test_one_name_from_two_packages_is_refused_and_both_are_named(distributions: Any) -> None:
    distributions.add_checker()
    distributions.add("somebody-elses", "", {"safekit.checkers": {"lighthouse": "Other"}})
    with pytest.raises(ConfigError) as caught:
        find(CHECKERS, "lighthouse")
    assert str(caught.value) == (
        "the checker 'lighthouse' is provided by 2 packages: safekit-checker-lighthouse, somebody-elses\n"
        "  to do: remove all but one: pip uninstall somebody-elses"
    )

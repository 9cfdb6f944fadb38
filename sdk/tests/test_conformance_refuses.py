"""Each suite fails a plugin that breaks a promise: the suites themselves can fail, and for the right reason."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from safekit_sdk.testing.conformance.plugin import our_needs
from safekit_sdk.testing.fakes import install_fakes

MUTANTS = [Path(__file__).with_name(name) for name in ("mutants.py", "mutants_of_resources.py")]
CLASSES = {
    name: path for path in MUTANTS for name in re.findall(r"^class Test(\w+)", path.read_text("utf-8"), re.MULTILINE)
}
"""Where each mutant's suite is, in the order of the files."""
PACKAGE = {
    "test_its_entry_point_leads_to_the_class",
    "test_its_distribution_has_a_readme_and_needs_the_sdk",
    "test_importing_it_is_quick_and_brings_nothing_of_ours_but_the_sdk",
    "test_its_module_file_has_the_app_in_the_pipeline",
}
"""What mutants fail because they are in no package of their own."""
EXPECTED = {
    "Optimist": {
        "it_says_down_with_a_reason_when_the_thing_is_down",
        "it_sees_a_change_in_both_directions",
    },
    "Taciturn": {"it_says_down_with_a_reason_when_the_thing_is_down"},
    "Blocking": {"a_check_does_not_block_the_event_loop"},
    "Keeping": {"a_check_leaves_nothing_behind"},
    "Careless": {"a_check_can_be_cancelled_at_any_point_and_leaves_nothing_behind"},
    "Straying": {"a_check_leaves_nothing_behind"},
    "Parent": {"a_check_can_be_cancelled_at_any_point_and_leaves_nothing_behind"},
    "Once": {"closing_twice_and_without_a_check_is_no_error"},
    "Stubborn": {"it_sees_a_change_in_both_directions"},
    "BrokenByCancel": {"a_check_that_was_cancelled_can_be_followed_by_another"},
    "Late": {"a_silent_thing_is_told_within_the_timeout_without_blocking"},
    "Ending": {
        "a_watch_says_down_and_up_again_when_the_thing_changes",
        "a_watch_is_cancelled_at_once_and_leaves_nothing_behind",
        "a_watch_without_checks_tells_the_health_that_it_finds",
    },
    "Shy": {"a_watch_without_checks_tells_the_health_that_it_finds"},
    "Deaf": {"a_watch_is_cancelled_at_once_and_leaves_nothing_behind"},
    "Sloppy": {
        "the_class_is_written_for_this_sdk_and_says_what_it_is",
        "the_identifier_can_be_used_in_rules",
        "a_machine_on_which_it_works_has_nothing_to_object_to",
        "its_remarks_are_a_few_short_sentences",
        "an_unknown_setting_is_refused",
        "every_setting_is_documented",
        "times_are_durations_with_units",
        "the_schema_can_be_exported",
        "a_configuration_does_not_change",
    },
    "Doubling": {"a_second_start_changes_nothing"},
    "Forgetful": {"it_starts_and_stops", "one_process_starts_another_looks_a_third_stops"},
    "Half": {
        "what_a_failed_start_left_is_gone_after_a_stop",
        "a_start_can_be_cancelled_at_any_point_and_stopped",
    },
    "Locked": {"a_process_killed_in_the_midst_of_a_start_leaves_nothing_after_a_forced_stop"},
    "Raising": {"a_stop_without_a_start_and_a_second_stop_are_no_error[stop]"},
    "Meddling": {"a_look_at_the_status_changes_nothing", "a_change_of_state_that_is_told_changes_nothing"},
    "BlockingStart": {"a_call_does_not_block_the_event_loop[start]"},
    "Open": {"it_leaves_no_descriptor_task_or_child"},
    "Successful": {"what_a_failed_start_left_is_gone_after_a_stop"},
    "NothingGiven": {"what_a_failed_start_left_is_gone_after_a_stop"},
    "Blind": {"it_starts_and_stops"},
    "BlindRole": {
        "promotion_and_demotion_can_be_repeated_and_undone",
        "what_broke_can_be_stopped_and_started_again",
        "a_watch_says_down_when_the_started_resource_breaks",
    },
    "LeavingChild": {"a_start_can_be_cancelled_at_any_point_and_stopped"},
    "CarelessApp": {
        "its_checkers_are_entries_that_their_plugins_accept",
        "its_rules_can_be_read",
        "it_writes_a_module_file_for_each_kind",
    },
    "Generous": {
        "one_node_at_a_time_has_the_lease",
        "a_released_lease_goes_to_the_other_node_with_a_greater_epoch",
        "a_lease_of_an_old_epoch_is_not_renewed",
        "a_witness_that_is_not_reached_is_an_error_within_the_timeout",
        "who_does_not_know_of_the_other_nodes_last_lease_is_refused",
        "a_refusal_changes_nothing",
    },
    "Forgetting": {"what_the_other_node_was_given_is_not_forgotten_over_what_this_one_was_given_since"},
    "Noting": {"a_refusal_changes_nothing"},
}


WHOLE = ("Taciturn", "Keeping", "Careless", "Doubling")
"""Mutants that run their whole suite, to see that nothing else fails."""


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Which tests each mutant failed, by one run of them all."""
    place = tmp_path_factory.mktemp("mutants")
    run_mutants(place)
    failed: dict[str, set[str]] = {mutant: set() for mutant in EXPECTED}
    for case in ElementTree.parse(place / "result.xml").iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed[case.attrib["classname"].rpartition(".Test")[2]].add(case.attrib["name"])
    return failed


def run_mutants(place: Path) -> None:
    path = os.pathsep.join([str(MUTANTS[0].parent), str(install_fakes(place / "site"))])
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(place), "-c", os.devnull, "--timeout=100"]
    options += ["-o", "junit_family=xunit1", f"--junitxml={place}/result.xml", "--basetemp", f"{place}/tmp"]
    options += ["-o", "asyncio_default_fixture_loop_scope=function"]
    tests = [f"{CLASSES[m]}::Test{m}::test_{test}" for m, names in EXPECTED.items() if m not in WHOLE for test in names]
    argv = [sys.executable, "-m", "pytest", *options, *tests, *(f"{CLASSES[mutant]}::Test{mutant}" for mutant in WHOLE)]
    env = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=110, check=False, cwd=place)
    assert done.returncode == 1, done.stdout + done.stderr


@pytest.mark.parametrize("mutant", EXPECTED)
def test_a_broken_promise_is_found(failures: dict[str, set[str]], mutant: str) -> None:
    expected = {f"test_{name}" for name in EXPECTED[mutant]}
    assert expected <= failures[mutant], f"not found: {expected - failures[mutant]}"


def test_our_distributions_are_told_from_others() -> None:
    requires = ["safekit_sdk>=0.1", "safekit-checker-http", "h11>=0.14", "safekitty", "safekit-lab[x]; extra == 'test'"]
    assert our_needs(requires) == {"safekit-sdk", "safekit-checker-http"}


def test_every_mutant_is_accounted_for() -> None:
    assert list(CLASSES) == list(EXPECTED)


@pytest.mark.parametrize("mutant", WHOLE)
def test_a_mutant_fails_nothing_else(failures: dict[str, set[str]], mutant: str) -> None:
    assert failures[mutant] - PACKAGE == {f"test_{name}" for name in EXPECTED[mutant]}

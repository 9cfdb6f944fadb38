"""What applications share besides their processes: programs on this machine, module files, services."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from safekit_sdk import ConfigError, ModuleRequest
from safekit_sdk.installed import AbsolutePath, find_program, sentence, started_by_systemd
from safekit_sdk.module_files import with_data, without_data
from safekit_sdk.services import ServicesConfig

VIPS = ("10.0.0.100/24",)


def test_a_program_is_found_by_the_first_name_that_is_there(tmp_path: Path) -> None:
    assert find_program(None, "no-such-program", "sh").name == "sh"
    with pytest.raises(ConfigError) as told:
        find_program(None, "no-such-program", packages="the-package")
    assert "apt-get install the-package" in sentence(told.value)
    with pytest.raises(ConfigError, match="is not there"):
        find_program(tmp_path / "program", "sh")


@pytest.mark.parametrize("path", ["relative", "/a/../b"])
def test_a_path_is_absolute(path: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(AbsolutePath).validate_python(path)


def test_a_unit_that_nobody_enabled_is_no_finding() -> None:
    assert started_by_systemd("no-such-unit") == []


def test_what_runs_twice_without_harm_is_available_and_what_has_data_safe() -> None:
    pages = without_data(ModuleRequest("web", "mirror", VIPS), "Web", {"web": {}}, 80)
    data = with_data(ModuleRequest("db", "mirror", VIPS), "Db", {"db": {}}, [{"directory": "/srv"}])
    assert pages["isolation"] == "availability"
    assert "isolation" not in data
    assert data["pipeline"] == [{"rfs": {"directory": "/srv"}}, {"vip": {"address": VIPS[0]}}, {"db": {}}]


@pytest.mark.parametrize(
    "request_",
    [ModuleRequest("db", "farm", VIPS), ModuleRequest("db", "mirror"), ModuleRequest("db", "mirror", VIPS, port=1)],
)
def test_what_data_cannot_be_asked_for_is_refused_with_what_to_do(request_: ModuleRequest) -> None:
    with pytest.raises(ConfigError) as told:
        with_data(request_, "Db", {"db": {}}, ())
    assert told.value.hint


@pytest.mark.parametrize("options", [{}, {"services": "a", "user": "b"}])
def test_services_that_cannot_be_meant_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ServicesConfig.model_validate(options).steps()

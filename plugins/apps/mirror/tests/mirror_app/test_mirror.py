"""The module files that it makes: each step is one that its plugin accepts, and what cannot be meant is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_mirror import MirrorApp, MirrorConfig

from safekit_sdk import ConfigError, ModuleRequest, ResourceState
from safekit_sdk.testing import a_context
from safekit_sdk.testing.conformance.app import check_entry

VIPS = ("10.0.0.100/24",)


def made(kind: Any = "mirror", vips: tuple[str, ...] = VIPS, port: int | None = None, **options: str) -> list[Any]:
    steps: list[Any] = MirrorApp.module_file(ModuleRequest("erp", kind, vips, port, options=options))["pipeline"]
    for step in steps:
        check_entry(step, "safekit.resources")
    return steps


def test_directories_come_before_addresses_and_these_before_services() -> None:
    assert made(services="erp-db, erp.target", directories="/srv/erp,/var/lib/erp") == [
        {"rfs": {"name": "data1", "directory": "/srv/erp"}},
        {"rfs": {"name": "data2", "directory": "/var/lib/erp"}},
        {"vip": {"address": "10.0.0.100/24"}},
        {"service": {"unit": "erp-db.service"}},
        {"service": {"unit": "erp.target"}},
    ]


def test_a_command_is_split_as_a_shell_would_and_run_by_its_user() -> None:
    assert made("light", (), command="/opt/erp/server --name 'a b'", user="erp") == [
        {"service": {"command": ["/opt/erp/server", "--name", "a b"], "user": "erp"}}
    ]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"services": "erp", "vips": ()},
        {"services": "erp", "user": "erp"},
        {"services": "erp", "kind": "farm"},
        {"services": "erp", "kind": "light", "directories": "/srv"},
        {"services": "erp", "port": 80},
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_do(asked: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as told:
        made(**asked)
    assert told.value.hint


@pytest.mark.parametrize("options", [{"services": "a b"}, {"directories": "srv"}, {"unknown": "x"}, {"command": "'"}])
def test_settings_that_cannot_be_meant_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        MirrorConfig.model_validate(options)


async def test_it_is_no_step(tmp_path: Path) -> None:
    app = MirrorApp(MirrorConfig(), a_context(tmp_path))
    assert "no step" in MirrorApp.preflight(app.config, "mirror")[0]
    with pytest.raises(ConfigError, match="no step"):
        await app.start()
    await app.stop(True)
    assert (await app.status()).state is ResourceState.STOPPED

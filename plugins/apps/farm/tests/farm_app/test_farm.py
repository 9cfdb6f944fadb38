"""The module files that it makes: each step is one that its plugin accepts, and what cannot be meant is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_farm import FarmApp, FarmConfig

from safekit_sdk import ConfigError, ModuleRequest, ResourceState
from safekit_sdk.testing import a_context
from safekit_sdk.testing.conformance.app import check_entry

VIPS = ("10.0.0.100/24", "fd00::100/64")


def made(vips: tuple[str, ...] = VIPS, port: int | None = None, sticky: bool = False, **options: str) -> list[Any]:
    content = FarmApp.module_file(ModuleRequest("web", "mirror", vips, port, sticky, options))
    assert content["kind"] == "farm"
    steps: list[Any] = content["pipeline"]
    for step in steps:
        check_entry(step, "safekit.resources")
    return steps


@pytest.mark.parametrize(("sticky", "way"), [(True, "client_address"), (False, "client_session")])
def test_clients_are_shared_before_the_addresses_are_there(sticky: bool, way: str) -> None:
    assert made(port=8080, sticky=sticky, services="shop") == [
        {"nft-lb": {"addresses": ["10.0.0.100", "fd00::100"], "rules": [{"port": 8080, "hash": way}]}},
        {"vip": {"address": "10.0.0.100/24"}},
        {"vip": {"address": "fd00::100/64"}},
        {"service": {"unit": "shop.service"}},
    ]


def test_without_a_port_all_are_shared_by_address_and_a_command_is_run_by_its_user() -> None:
    assert made(VIPS[:1], command="/opt/shop -p '8 0'", user="shop") == [
        {"nft-lb": {"addresses": ["10.0.0.100"]}},
        {"vip": {"address": "10.0.0.100/24"}},
        {"service": {"command": ["/opt/shop", "-p", "8 0"], "user": "shop"}},
    ]


@pytest.mark.parametrize("asked", [{}, {"services": "shop", "vips": ()}, {"services": "shop", "user": "shop"}])
def test_what_cannot_be_meant_is_refused_with_what_to_do(asked: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as told:
        made(**asked)
    assert told.value.hint


@pytest.mark.parametrize("options", [{"services": "a b"}, {"directories": "/srv"}, {"command": "'"}])
def test_settings_that_cannot_be_meant_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        FarmConfig.model_validate(options)


async def test_it_is_no_step(tmp_path: Path) -> None:
    app = FarmApp(FarmConfig(), a_context(tmp_path))
    assert "no step" in FarmApp.preflight(app.config, "farm")[0]
    with pytest.raises(ConfigError, match="no step"):
        await app.start()
    await app.stop(True)
    assert (await app.status()).state is ResourceState.STOPPED

"""The module file for a PostgreSQL that is on this machine: what of it is to be replicated is found out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from safekit_postgresql import installation, lock_file
from safekit_postgresql.config import PostgresqlConfig
from safekit_sdk import ConfigError, ModuleRequest
from safekit_sdk.module_files import refuse_farm, require_address, with_data

DEBIAN: Final = Path("/etc/postgresql")
OTHERS: Final = Path("/var/lib/pgsql")


def module_file(request: ModuleRequest) -> dict[str, Any]:
    """Replicated data must not be written twice: the isolation stays `safety`."""
    refuse_farm(request)
    require_address(request, "PostgreSQL")
    options = dict(request.options)
    if "data" not in options:
        options = {**_the_one_here(), **options}
    config = PostgresqlConfig.model_validate(options)
    installation.find(config)
    return with_data(request, "PostgreSQL", {"postgresql": options}, _directories(config))


def _directories(config: PostgresqlConfig) -> Iterator[dict[str, Any]]:
    """The steps that replicate all that the cluster is made of, in other directories too."""
    yield {"name": "data", "directory": str(config.data), "exclude": [lock_file.NAME]}
    outside = installation.locations(config.data)
    if config.config is not None and not config.config.is_relative_to(config.data):
        outside = {**outside, "configuration": config.config.parent}
    for name, place in outside.items():
        inside = [other for other in outside.values() if other != place and place.is_relative_to(other)]
        if not place.is_dir():
            raise ConfigError(f"the {name} of {config.data} is in {place}, which is not there", hint="repair it first")
        if config.data.is_relative_to(place) or inside:
            raise ConfigError(
                f"the {name} is in {place}, and a directory in it holds other data of the same cluster",
                hint="move one of them: each needs a directory of its own to be replicated",
            )
        yield {"name": name, "directory": str(place)}


def _the_one_here() -> dict[str, str]:
    """The data directory, and the configuration where it is elsewhere."""
    found = [*_of_debian(), *_of_others()]
    if not found:
        raise ConfigError("no PostgreSQL cluster is found on this node", hint="say where it is: --set data=/PATH")
    if len(found) > 1:
        several = ", ".join(one["data"] for one in found[:10])
        raise ConfigError(f"several PostgreSQL clusters are here: {several}", hint="choose one: --set data=/PATH")
    return found[0]


def _of_debian() -> Iterator[dict[str, str]]:
    for file in sorted(DEBIAN.glob("*/*/postgresql.conf")):
        programs = Path("/usr/lib/postgresql") / file.parts[-3] / "bin"
        data = installation.ask(
            [str(programs / "postgres"), "-D", str(file.parent), "-C", "data_directory"], "postgres"
        )
        yield {"data": os.path.normpath(data), "config": str(file)}


def _of_others() -> Iterator[dict[str, str]]:
    for file in sorted([*OTHERS.glob("data/PG_VERSION"), *OTHERS.glob("*/data/PG_VERSION")]):
        yield {"data": str(file.parent)}

"""The containers of a step, in the order of their start: the one of the module file, or those of a compose file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from safekit_podman import compose
from safekit_podman.config import PodmanConfig


@dataclass(frozen=True, slots=True)
class Spec:
    service: str
    """Its name in the compose file; empty for the only one."""
    image: str
    words: tuple[str, ...] = ()
    """Of `create`."""
    command: tuple[str, ...] = ()
    health: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    ends: bool = False
    """Whether it has done its work when it ends, well and before what comes after it begins."""
    seen: tuple[Path, ...] = ()
    """What of the node it sees."""


def planned(config: PodmanConfig, network: str) -> list[Spec]:
    """ConfigError when the compose file cannot be meant."""
    if config.image is not None:
        volumes = [word for volume in config.volumes for word in ("--volume", volume)]
        words = (*volumes, *config.options)
        return [Spec("", config.image, words, config.command, config.health, seen=tuple(config.places))]
    return list(_of_file(config, network))


def _of_file(config: PodmanConfig, network: str) -> Iterator[Spec]:
    assert config.compose is not None  # one of the two is there
    found, folder = compose.read(config.compose), config.compose.parent
    for name, service in compose.in_order(found):
        secrets = list(found.secret_mounts(service, folder))
        mounted = (f"--volume={here}:{rest}" for here, rest in secrets)
        words = (*service.words(name, folder, network), *mounted, *config.options)
        seen = tuple(here for here, _ in [*service.mounts(folder), *secrets])
        ends = name in found.ends
        yield Spec(name, service.image, words, service.arguments, service.health, service.environment, ends, seen)


def needs_network(specs: list[Spec], network: str) -> bool:
    return any(f"--network={network}" in spec.words for spec in specs)


def data(config: PodmanConfig) -> list[Path]:
    """The directories that they may write, which a mirror replicates; a file alone, as of a configuration, is none.

    ConfigError as `planned`."""
    if config.compose is None:
        return [Path(os.path.normpath(place)) for place in config.places]
    found, folder = compose.read(config.compose), config.compose.parent
    mounts = [mount for service in found.services.values() for mount in service.mounts(folder)]
    own = (here for here, rest in mounts if "ro" not in rest.partition(":")[2].split(","))
    return list(dict.fromkeys(here for here in own if not here.exists() or here.is_dir()))

"""What of a compose file is done here, and the words of the engine for it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

NOT_HERE: Final = {
    "build": "build the image, and name it with `image:`; nothing is built in a failover",
    "configs": "mount the file: `volumes: [./FILE:/THERE:ro]`",
    "deploy": "write a service for each container; limits are `mem_limit:` and `cpus:`",
    "logging": "the log is safekit's: `podman.log` in its state directory",
    "networks": "all services have one network with their names; for another, `options:` of the module file",
    "profiles": "leave out the services that are not to run",
    "scale": "write a service for each container",
    "stop_grace_period": "`stop_timeout:` of the module file is the time of all",
    "top configs": "mount the file: `volumes: [./FILE:/THERE:ro]`",
    "top include": "write the services into one file",
    "top networks": "all services have one network with their names; for another, `options:` of the module file",
    "top volumes": "a volume of the engine's own is not replicated: mount a directory, `./data:/THERE`",
    "volumes": "mount a directory, `./data:/THERE`: a volume of the engine's own is not replicated",
}
"""What to do instead."""
Scalar = str | int | float
_ONE: Final = {
    "working_dir": "--workdir",
    "user": "--user",
    "hostname": "--hostname",
    "network_mode": "--network",
    "shm_size": "--shm-size",
    "mem_limit": "--memory",
    "cpus": "--cpus",
    "pids_limit": "--pids-limit",
    "stop_signal": "--stop-signal",
}
_MANY: Final = {
    "ports": "--publish",
    "tmpfs": "--tmpfs",
    "devices": "--device",
    "cap_add": "--cap-add",
    "cap_drop": "--cap-drop",
    "security_opt": "--security-opt",
    "extra_hosts": "--add-host",
}
_ON: Final = {"read_only": "--read-only", "init": "--init", "privileged": "--privileged"}


def _words(value: object) -> object:
    return shlex.split(value) if isinstance(value, str) else value


def _many(value: object) -> object:
    """One, or a list; numbers are text here, as the port 80."""
    found = [value] if isinstance(value, Scalar) else value
    return [str(one) if isinstance(one, Scalar) else one for one in found] if isinstance(found, list) else found


def _pairs(value: object) -> object:
    """`NAME=VALUE` in a list, or a table already."""
    if isinstance(value, list):
        lone = [str(one) for one in value if "=" not in str(one)]
        if lone:
            raise ValueError(f"{lone[0]} has no value: what this machine's environment has is not taken over")
        return dict(str(one).split("=", 1) for one in value)
    return value


def _text(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value) if isinstance(value, Scalar) else value
    if isinstance(text, str) and ("\n" in text or "\0" in text):
        raise ValueError("a value of several lines cannot be given: use a file")
    return text


def _dependencies(value: object) -> object:
    return {str(one): {} for one in value} if isinstance(value, list) else value


def _hosts(value: object) -> object:
    return [f"{name}:{address}" for name, address in value.items()] if isinstance(value, Mapping) else _many(value)


def _test(value: object) -> object:
    """The words of a test; none for NONE."""
    if isinstance(value, str):
        return ["/bin/sh", "-c", value]
    if isinstance(value, list) and value and value[0] in ("CMD", "CMD-SHELL", "NONE"):
        kind, *words = value
        return {"CMD": words, "CMD-SHELL": ["/bin/sh", "-c", *words], "NONE": []}[kind]
    raise ValueError("a test begins with CMD, CMD-SHELL or NONE, or is one line")


def _mount(value: str) -> str:
    if not re.fullmatch(r"[./][^\x00,:]{0,1022}:/[^\x00,:]{0,1022}(:[A-Za-z,]{1,32})?", value):
        raise ValueError(f"{value[:100]!r} is not ./HERE:/THERE or /HERE:/THERE, with :ro or the like after it")
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(_words), Field(max_length=256)]
Many = Annotated[tuple[str, ...], BeforeValidator(_many), Field(max_length=100)]
Pairs = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,255}$")],
        Annotated[str, BeforeValidator(_text), Field(max_length=4096)],
    ],
    BeforeValidator(_pairs),
]
Mount = Annotated[str, AfterValidator(_mount)]
Image = Annotated[str, Field(pattern=r"^[a-z0-9][A-Za-z0-9._/:@-]{0,254}$")]
Ignored = Any
"""Means nothing here: what it asks for is safekit's."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Dependency(_Model):
    condition: Literal["service_started", "service_healthy", "service_completed_successfully"] = "service_started"
    restart: Ignored = None
    required: Literal[True] = True


class Healthcheck(_Model):
    test: Annotated[tuple[str, ...], BeforeValidator(_test)] = ()
    disable: bool = False
    interval: Ignored = None
    timeout: Ignored = None
    retries: Ignored = None
    start_period: Ignored = None
    start_interval: Ignored = None


class Limits(_Model):
    soft: int
    hard: int


class Service(_Model):
    image: Image
    command: Words = ()
    entrypoint: Words = ()
    environment: Pairs = {}
    env_file: Many = ()
    labels: Pairs = {}
    volumes: tuple[Mount, ...] = ()
    depends_on: Annotated[dict[str, Dependency], BeforeValidator(_dependencies)] = {}
    healthcheck: Healthcheck = Healthcheck()
    ulimits: dict[Annotated[str, Field(pattern=r"^[a-z]{1,16}$")], int | Limits] = {}
    sysctls: Pairs = {}
    secrets: Many = ()
    network_mode: Annotated[str, Field(pattern=r"^(host|none)$")] | None = None
    working_dir: str | None = None
    user: Annotated[str, BeforeValidator(_text)] | None = None
    hostname: str | None = None
    shm_size: Annotated[str, BeforeValidator(_text)] | None = None
    mem_limit: Annotated[str, BeforeValidator(_text)] | None = None
    cpus: Annotated[str, BeforeValidator(_text)] | None = None
    pids_limit: int | None = None
    stop_signal: str | None = None
    ports: Many = ()
    tmpfs: Many = ()
    devices: Many = ()
    cap_add: Many = ()
    cap_drop: Many = ()
    security_opt: Many = ()
    extra_hosts: Annotated[tuple[str, ...], BeforeValidator(_hosts), Field(max_length=100)] = ()
    read_only: bool = False
    init: bool = False
    privileged: bool = False
    container_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")] | None = None
    """By which the others find it; its own name is safekit's."""
    restart: Ignored = None
    expose: Ignored = None
    pull_policy: Ignored = None

    @property
    def health(self) -> tuple[str, ...]:
        return () if self.healthcheck.disable else self.healthcheck.test

    @property
    def arguments(self) -> tuple[str, ...]:
        """After the image."""
        return (*self.entrypoint[1:], *self.command)

    def words(self, name: str, folder: Path, network: str) -> Iterator[str]:
        """Of `create`, besides the environment, which may have secrets in it."""
        for key, option in _ONE.items():
            if (value := getattr(self, key)) is not None:
                yield f"{option}={value}"
        for key, option in _MANY.items():
            yield from (f"{option}={value}" for value in getattr(self, key))
        yield from (option for key, option in _ON.items() if getattr(self, key))
        yield from (f"--label={key}={value}" for key, value in self.labels.items())
        yield from (f"--sysctl={key}={value}" for key, value in self.sysctls.items())
        yield from (f"--ulimit={key}={_limits(value)}" for key, value in self.ulimits.items())
        yield from (f"--env-file={_absolute(folder, file)}" for file in self.env_file)
        for here, rest in self.mounts(folder):
            yield f"--volume={here}:{rest}"
        if self.entrypoint:
            yield f"--entrypoint={self.entrypoint[0]}"
        if self.network_mode is None:
            aliases = filter(None, (name, self.container_name))
            yield from (f"--network={network}", *(f"--network-alias={alias}" for alias in aliases))

    def mounts(self, folder: Path) -> Iterator[tuple[Path, str]]:
        """What of this machine it sees, and where, with its options."""
        for volume in self.volumes:
            here, _, rest = volume.partition(":")
            yield _absolute(folder, here), rest


class FileSecret(_Model):
    file: str


class Composition(_Model):
    services: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")], Service],
        Field(min_length=1, max_length=20),
    ]
    secrets: dict[str, FileSecret] = {}
    name: Ignored = None
    version: Ignored = None

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for name, service in self.services.items():
            if strange := set(service.depends_on) - set(self.services):
                raise ValueError(f"{name} depends on {strange.pop()}, which is no service here")
            if strange := set(service.secrets) - set(self.secrets):
                raise ValueError(f"{name} has the secret {strange.pop()}, which is not described here")
        if self.ends == set(self.services):
            raise ValueError("every service ends: nothing would run")
        return self

    def secret_mounts(self, service: Service, folder: Path) -> Iterator[tuple[Path, str]]:
        for name in service.secrets:
            yield _absolute(folder, self.secrets[name].file), f"/run/secrets/{name}:ro"

    @property
    def ends(self) -> frozenset[str]:
        """Services that have done their work when they end."""
        waited = (pair for service in self.services.values() for pair in service.depends_on.items())
        return frozenset(name for name, how in waited if how.condition == "service_completed_successfully")


def _absolute(folder: Path, given: str) -> Path:
    return Path(os.path.normpath(folder / given))


def _limits(value: int | Limits) -> str:
    return f"{value.soft}:{value.hard}" if isinstance(value, Limits) else f"{value}:{value}"

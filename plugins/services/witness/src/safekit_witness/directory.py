"""The directory of a witness: its key and address, its store, the socket of its running process."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from safekit_sdk import ConfigError
from safekit_witness import store, wire

DEFAULT: Final = Path("/var/lib/safekit-witness")
DEFAULT_PORT: Final = 4810


def _address(text: str) -> str:
    if ipaddress.ip_address(text).is_unspecified:
        raise ValueError("give an address that nodes can reach")
    return str(ipaddress.ip_address(text))


class Identity(BaseModel):
    """What `server.json` holds; mode 0600."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    address: Annotated[str, AfterValidator(_address)]
    port: int = Field(ge=1024, le=65535)
    """Above the ports that only root may listen on."""
    secret: str = Field(repr=False, min_length=40, max_length=40)


class Directory:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.identity_path = path / "server.json"
        self.store_path = path / "leases.sqlite"
        self.control_path = path / "control.sock"

    def create(self, address: str, port: int) -> Identity:
        """Make the key pair and an empty store, 0700 and 0600. ConfigError when there is something already."""
        try:
            identity = Identity(address=address, port=port, secret=wire.key_pair().secret)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise ConfigError(f"{place}: {first['msg']}", hint="--address 192.0.2.1 --port 4810") from None
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            if any(self.path.iterdir()):
                raise ConfigError(f"{self.path} is not empty", hint="leave what is there, or choose another --dir")
            store.create(self.store_path)
            self._write(identity)
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be made: {error.strerror}", hint="run it as root") from None
        return identity

    def _write(self, identity: Identity) -> None:
        descriptor = os.open(self.identity_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(identity.model_dump_json() + "\n")
            file.flush()
            os.fsync(file.fileno())

    def own(self, uid: int, gid: int) -> None:
        """Give all of it to an account."""
        for path in (self.path, *self.path.iterdir()):
            os.chown(path, uid, gid)

    def identity(self) -> Identity:
        """ConfigError when it is missing, open to others or damaged."""
        path = self.identity_path
        try:
            if path.stat().st_mode & 0o077:
                raise ConfigError(f"{path} is open to others", hint=f"chmod 600 {path}")
            with path.open() as file:
                return Identity.model_validate_json(file.read(4096))
        except OSError as error:
            why = f"{path} cannot be read: {error.strerror}"
            raise ConfigError(why, hint="`safekit-witness init` makes it, as root") from None
        except ValueError:  # its text would show the secret
            raise ConfigError(f"{path} is damaged", hint=store.LOST) from None

"""The settings of the `etcd` witness."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from safekit_sdk import Duration, Secret, WitnessConfig


def _as_endpoint(text: str) -> str:
    """The URL without a slash at its end; ValueError when it is none, or has more than a scheme, a host and a port."""
    parts = urlsplit(text)
    try:
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or "@" in parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"'{text}' is not the URL of an etcd member; write https://host:2379")
    return text.rstrip("/")


def _crosses_the_network(parts: SplitResult) -> bool:
    """In clear text: no TLS, and not to this machine itself."""
    if parts.scheme == "https" or parts.hostname == "localhost":
        return False
    try:
        return not ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return True


Endpoint = Annotated[str, StringConstraints(max_length=300, pattern=r"^[\x21-\x7e]+$"), AfterValidator(_as_endpoint)]


class EtcdConfig(WitnessConfig):
    endpoints: tuple[Endpoint, ...] = Field(min_length=1, max_length=9)
    """The URLs of the members of one cluster; the one that answered last is asked first, then the others."""
    prefix: str = Field(default="/safekit/", pattern=r"^[\x21-\x7e]*/$", max_length=200)
    """What the keys begin with; it ends with a slash."""
    ca: Path | None = None
    """The certificates that etcd's is verified by, as PEM; those of the system when absent."""
    certificate: Path | None = None
    """The certificate that this node shows, as PEM, where etcd asks for one."""
    key: Path | None = None
    """The private key of `certificate`, as PEM; the file must not be open to others."""
    user: str | None = Field(default=None, min_length=1, max_length=200)
    """A user of etcd with the right to read and write below `prefix`."""
    password: Secret | None = None
    """Its password; read anew for every token, so that it can be changed."""
    lease: Duration = Duration(10)
    """How long the right to run lasts without being renewed, 1 s to 1 h. etcd counts a tenth more, in whole seconds."""

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if not 1 <= self.lease.seconds <= 3600:
            raise ValueError(f"lease: from 1s to 1h, not {self.lease}")
        if not 0 < self.timeout.seconds < self.lease.seconds:
            raise ValueError(f"timeout: more than 0s and less than the lease of {self.lease}, not {self.timeout}")
        if len(set(self.endpoints)) != len(self.endpoints):
            raise ValueError("an endpoint is named twice in endpoints")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together")
        return self

    @model_validator(mode="after")
    def _is_safe_on_the_wire(self) -> Self:
        parts = [urlsplit(endpoint) for endpoint in self.endpoints]
        if (self.ca or self.certificate) and any(one.scheme == "http" for one in parts):
            raise ValueError("ca, certificate and key are for https; an endpoint is http")
        if self.user and any(map(_crosses_the_network, parts)):
            raise ValueError("a password would cross the network in clear text; use https")
        return self

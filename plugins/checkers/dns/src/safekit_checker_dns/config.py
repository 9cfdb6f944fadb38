"""What a module file says about a question to a DNS server."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from safekit_checker_dns.names import presented
from safekit_sdk import CheckerConfig, Duration, Port

LABEL = re.compile(r"[A-Za-z0-9_*]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
Record = Literal["A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"]


def _address(text: str) -> str:
    try:
        found = ip_address(text)
    except ValueError:
        raise ValueError(f"'{text}' is not an address; a server that has to be resolved first tells nothing") from None
    if found.is_unspecified or found.is_multicast:
        raise ValueError(f"{text} is the address of no server")
    return text


def _query(text: str) -> str:
    labels = text.removesuffix(".").split(".")
    if text != "." and not (len(text) <= 253 and all(map(LABEL.fullmatch, labels))):
        raise ValueError(f"'{text}' is not a name; write it as www.example.org, with xn-- for other letters")
    return text


def _version(text: str) -> int | None:
    """That of the address; None when it is none."""
    try:
        return ip_address(text).version
    except ValueError:
        return None


Address = Annotated[str, Field(max_length=64), AfterValidator(_address)]
Query = Annotated[str, Field(min_length=1, max_length=254), AfterValidator(_query)]
Expected = Annotated[str, Field(min_length=1, max_length=512)]


class DnsConfig(CheckerConfig):
    server: Address
    """The address of the server that is asked."""
    port: Port = 53
    """Where it listens."""
    query: Query
    """The name to resolve; for PTR also an address."""
    record: Record = "A"
    """The type of record that is asked for."""
    expect: tuple[Expected, ...] = Field(default=(), max_length=32)
    """What must be among the answers, each of it; any answer will do when absent. As `dig +short` writes it."""
    transport: Literal["udp", "tcp"] = "udp"
    """A UDP answer that was cut off is asked for again over TCP, as every resolver does."""
    recursion: bool = True
    """Whether the server is asked to resolve the name elsewhere. Without, it answers only what it has itself."""
    count: int = Field(default=3, ge=1, le=10)
    """Times that the question is sent over UDP, spread over the time; one answer is enough."""
    slow: Duration | None = None
    """An answer that takes longer is down."""

    @field_validator("server", mode="after")
    @classmethod
    def _has_a_scope_where_it_needs_one(cls, server: str) -> str:
        if ip_address(server).is_link_local and ":" in server and "%" not in server:
            raise ValueError(f"{server} is on every link; say on which: {server}%eth0")
        return server

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.slow is not None and self.slow.seconds >= self.patience_s:
            raise ValueError(f"`slow` ({self.slow}) must be shorter than nine tenths of `timeout` ({self.timeout})")
        for text in self.expect:
            self._can_be_an_answer(text)
        return self

    def _can_be_an_answer(self, text: str) -> None:
        version = {"A": 4, "AAAA": 6}.get(self.record)
        if version is not None and _version(text) != version:
            raise ValueError(f"expect: '{text}' can be no answer to a question for {self.record}")

    @property
    def asked_name(self) -> str:
        """Absolute, in lower case; that of an address is its name in the reverse zone."""
        if self.record == "PTR":
            try:
                return ip_address(self.query).reverse_pointer + "."
            except ValueError:
                pass
        return presented(self.query)

"""Durations with units, ports, identifiers, secrets: what settings are made of."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, StringConstraints
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from safekit_sdk.errors import ConfigError

_SIZES_S = {"us": "0.000001", "ms": "0.001", "s": "1", "m": "60", "h": "3600", "d": "86400"}
_UNIT_S = {unit: Decimal(size_s) for unit, size_s in _SIZES_S.items()}
_PART = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")
_PATTERN = r"^(\d+(\.\d+)?(us|ms|s|m|h|d))+$"


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A span of time, written `100ms`, `1.5s` or `1h30m`; never negative."""

    seconds: float

    def __post_init__(self) -> None:
        if not 0 <= self.seconds < 1e9:
            raise ValueError(f"a duration is from 0s to 1e9s, not {self.seconds}s")

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read `1h30m`; ValueError when it is not a sum of numbers with units."""
        if text == "0":
            return cls(0.0)
        if not re.fullmatch(_PATTERN, text):
            raise ValueError(f"'{text}' is not a duration; write a number and a unit (us, ms, s, m, h, d): 500ms")
        return cls(float(sum(Decimal(number) * _UNIT_S[unit] for number, unit in _PART.findall(text))))

    def __str__(self) -> str:
        """In the largest unit of which it is a whole number; `parse` gives the same duration back."""
        exact = Decimal(repr(abs(self.seconds)))
        for unit in ("d", "h", "m", "s", "ms", "us"):
            if exact and exact % _UNIT_S[unit] == 0:
                return f"{int(exact / _UNIT_S[unit])}{unit}"
        return f"{exact:f}s" if exact else "0s"

    @classmethod
    def _read(cls, value: object) -> Duration:
        """What a setting may be: text, or a duration already (a default, also when the rest comes from JSON)."""
        if isinstance(value, cls):
            return value
        return cls.parse(value if isinstance(value, str) else f"{value}, without a unit,")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.to_string_ser_schema()
        return core_schema.no_info_plain_validator_function(cls._read, serialization=written)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": _PATTERN, "examples": ["100ms", "5s", "1h30m"]}


Port = Annotated[int, Field(ge=1, le=65535)]
Ident = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,62}$")]
"""A name that rules can use: letters, digits, `_ . : -`, at most 63."""

Scope = Literal["pre", "prim", "second", "sec", "both"]
"""When a resource or checker is on: from prestart on; while primary (PRIM, ALONE); while SECOND;
while SECOND or ALONE; in every running state. In a farm or light module all but `pre` are `both`."""

FailureAction = Literal["none", "restart", "stopstart", "stop", "wait", "swap"]


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret by reference (`env:NAME` or `file:/path`), so that no configuration file holds one."""

    reference: str

    def reveal(self) -> str:
        """Return the secret; ConfigError when the variable or file is not there or is readable by others."""
        kind, _, rest = self.reference.partition(":")
        if kind == "env":
            return self._from_environment(rest)
        return self._from_file(Path(rest))

    def _from_environment(self, name: str) -> str:
        value = os.environ.get(name)
        if value is None:
            raise ConfigError(f"the environment variable {name} is not set", hint="set it, or use file:/path")
        return value

    def _from_file(self, path: Path) -> str:
        try:
            mode = path.stat().st_mode
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"the secret file {path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:  # its text would show the secret
            raise ConfigError(f"the secret file {path} is not UTF-8 text", hint="write the secret as text") from None
        if mode & 0o077:
            raise ConfigError(f"the secret file {path} is open to others", hint=f"chmod 600 {path}")
        return text.strip()

    def __repr__(self) -> str:
        return f"Secret({self.reference})"

    @classmethod
    def parse(cls, text: str) -> Secret:
        if not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/.+", text):
            raise ValueError("a secret is given by reference, as env:NAME or file:/path, never in the file itself")
        return cls(text)

    @classmethod
    def _read(cls, value: object) -> Secret:
        """What a setting may be: text, or a secret already (a default, also when the rest comes from JSON)."""
        return value if isinstance(value, cls) else cls.parse(value if isinstance(value, str) else "")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(lambda secret: secret.reference)
        return core_schema.no_info_plain_validator_function(cls._read, serialization=written)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": "^(env:|file:/)"}

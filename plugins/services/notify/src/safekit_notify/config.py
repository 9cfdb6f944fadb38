"""The file that says who is told of what. Errors say file, line and column."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from safekit_notify.service import is_known
from safekit_notify.words import Severity
from safekit_sdk import ConfigError, marked_yaml
from safekit_sdk.units import Duration

MAX_BYTES: Final = 1 << 18
_MEND: Final = "correct it there; text with a colon, a # or a quote stands in quotes"
_KEYS: Final = "`safekit plugins docs safekit-notify` names each key"
Word = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Secret = Annotated[SecretStr, Field(max_length=256)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Snmp(_Model):
    """A manager that takes traps."""

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9:][A-Za-z0-9.:-]{0,254}$")]
    port: Annotated[int, Field(ge=1, le=65535)] = 162
    version: Literal["2c", "3"] = "3"
    inform: bool = True
    """Ask for an acknowledgement; without one nobody knows whether a trap arrived."""
    community: Secret | None = None
    user: Word | None = None
    auth: Literal["SHA", "SHA-256", "SHA-512"] = "SHA-256"
    auth_password: Secret | None = None
    privacy: Literal["AES"] = "AES"
    privacy_password: Secret | None = None

    @field_validator("community", "auth_password", "privacy_password")
    @classmethod
    def _is_one_line(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and (not secret.get_secret_value().isprintable() or '"' in secret.get_secret_value()):
            raise ValueError("a secret may have no quotation mark and no control character")
        return secret

    @model_validator(mode="after")
    def _has_what_its_version_needs(self) -> Snmp:
        if self.version == "2c":
            if self.community is None:
                raise ValueError("version 2c needs a community")
            return self
        if not self.inform:
            raise ValueError("version 3 is sent with an acknowledgement only: 'inform: true'")
        if self.user is None or self.auth_password is None or self.privacy_password is None:
            raise ValueError("version 3 needs user, auth_password and privacy_password")
        if any(len(one.get_secret_value()) < 8 for one in (self.auth_password, self.privacy_password)):
            raise ValueError("passwords of SNMP version 3 have at least 8 characters")
        return self


class Destination(_Model):
    name: Word
    url: Annotated[SecretStr, Field(max_length=2048)] | None = None
    """A service as apprise names it: mail, chat, webhooks."""
    snmp: Snmp | None = None
    severity: Severity = "warning"
    """The least that it is told of."""
    modules: tuple[Word, ...] = ()
    """Only of these; of every one, and of the nodes, when empty."""

    @field_validator("url")
    @classmethod
    def _is_known(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not is_known(url.get_secret_value()):
            raise ValueError("no service is known by such a URL; `apprise` describes each")
        return url

    @model_validator(mode="after")
    def _is_one_way(self) -> Destination:
        if (self.url is None) is (self.snmp is None):
            raise ValueError("a destination has a 'url' or 'snmp'")
        return self


class NotifyConfig(_Model):
    destinations: Annotated[tuple[Destination, ...], Field(min_length=1, max_length=50)]
    quiet: Duration = Duration(seconds=5)
    """An incident is told when nothing more was decided for so long."""
    longest: Duration = Duration(seconds=30)
    """It is told at the latest so long after it began."""
    stand_in: Duration = Duration(seconds=15)
    """The next node tells it, when the one whose turn it is has not for so long."""

    @field_validator("destinations")
    @classmethod
    def _names_differ(cls, found: tuple[Destination, ...]) -> tuple[Destination, ...]:
        if len({one.name for one in found}) < len(found):
            raise ValueError("two destinations have the same name")
        return found


def load(path: Path) -> NotifyConfig:
    """ConfigError with the first thing that is wrong, and where."""
    value = marked_yaml.parse(_text(path), str(path), _MEND)
    if not isinstance(value, dict):
        raise ConfigError("the file has no destinations", where=f"{path}:1:1", hint="`safekit notify setup` makes one")
    try:
        return NotifyConfig.model_validate(_plain(value))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        loc = first["loc"]
        message = first["msg"].removeprefix("Value error, ")
        where = f"{path}:{marked_yaml.place_of(value, loc)}"
        raise ConfigError(_named(loc, message, first["type"]), where=where, hint=_KEYS) from None


def _text(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o007:
            raise ConfigError("it has secrets, and others can use it", where=str(path), hint=f"chmod 640 {path}")
        data = path.read_bytes()
    except OSError as error:
        hint = "`safekit notify setup` makes it" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError(f"it cannot be read: {error.strerror}", where=str(path), hint=hint) from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"the file is larger than {MAX_BYTES} bytes", where=str(path), hint="is it another file?")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ConfigError("this is not text in UTF-8", where=str(path), hint="save it as UTF-8") from None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(below) for key, below in value.items()}
    return [_plain(below) for below in value] if isinstance(value, list) else value


def _named(loc: tuple[int | str, ...], message: str, kind: str) -> str:
    if kind == "extra_forbidden":
        return f"there is no key '{loc[-1]}' here"
    return f"'{loc[-1]}': {message}" if loc else message

"""Signing in with what another service vouches for, and what its groups may do here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from safekit_console.errors import HttpError
from safekit_console.settings import ConsoleSettings
from safekit_sdk import ConfigError


@dataclass(frozen=True, slots=True)
class Person:
    """Who somebody is there."""

    name: str
    subject: str
    """What is no other's, also when the name is given to somebody else."""
    groups: list[str]


def usable_name(name: object, where: str) -> str:
    """HttpError 403 when a user cannot be called so here."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,58}", name):
        raise HttpError(403, "forbidden", f"what is in '{where}' is no name that can be used here")
    return name


def check(settings: ConsoleSettings) -> None:
    """ConfigError when something is missing without which nobody could sign in so."""
    oidc = _complete(settings, ("oidc_issuer", "oidc_client_id", "oidc_secret_file"))
    ldap = _complete(settings, ("ldap_host", "ldap_base"))
    if (oidc or ldap) and not settings.groups:
        raise ConfigError(
            "no group has a role here, so nobody of it could sign in",
            where="SAFEKIT_CONSOLE_GROUPS",
            hint="""as SAFEKIT_CONSOLE_GROUPS='{"operators": {"*": "control"}}'""",
        )
    if oidc and not settings.oidc_issuer.startswith("https://"):
        raise ConfigError(
            "an OpenID provider is reached by https only",
            where="SAFEKIT_CONSOLE_OIDC_ISSUER",
            hint="begin it with https://",
        )
    if ldap and not re.fullmatch(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:]+\]:[0-9]{1,5}", settings.ldap_host):
        raise ConfigError("give HOST or HOST:PORT; it is reached by TLS only", where="SAFEKIT_CONSOLE_LDAP_HOST")
    if settings.ldap_bind_dn:
        secret_of(settings.ldap_secret_file)
    if oidc:
        secret_of(settings.oidc_secret_file)
    for file in (settings.oidc_ca, settings.ldap_ca, settings.client_ca, settings.client_crl):
        if file is not None and not file.is_file():
            raise ConfigError("there is no such file", where=str(file), hint="correct SAFEKIT_CONSOLE_…_CA, or …_CRL")
    _complete(settings, ("client_ca", "client_users"))


def _complete(settings: ConsoleSettings, names: tuple[str, ...]) -> bool:
    """Whether these are set; ConfigError when only some are."""
    missing = [f"SAFEKIT_CONSOLE_{name.upper()}" for name in names if not getattr(settings, name)]
    if missing and len(missing) < len(names):
        raise ConfigError(f"signing in so also needs {', '.join(missing)}", hint="set them, or none of its settings")
    return not missing


def secret_of(path: Path | None) -> str:
    """A secret of ours there, read when it is needed: it may be exchanged while the console runs."""
    hint = "the console's user has to be able to read it"
    try:
        if path is None:
            raise ConfigError("there is no file with the console's secret", hint="set SAFEKIT_CONSOLE_…_SECRET_FILE")
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"the console's secret cannot be read: {error}", where=str(path), hint=hint) from None


def grants_of(settings: ConsoleSettings, groups: list[str]) -> dict[str, str]:
    """The highest role that any of the groups has, by module. HttpError 403 when none has any: what is not granted is
    denied."""
    ranks = ("monitor", "control", "admin")
    found: dict[str, str] = {}
    for group in groups:
        for module, word in settings.groups.get(group, {}).items():
            found[module] = max(found.get(module, word), word, key=ranks.index)
    if not found:
        raise HttpError(403, "forbidden", "none of your groups has a role here")
    return found

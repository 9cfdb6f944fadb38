"""Signing in with a certificate that the connection has shown. TLS has proven that the other end has its key and that
an authority of ours issued it, when this connection began, or one before that it resumes. Whether it still holds is
looked at here, each time that it counts."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.x509.oid import NameOID

from safekit_console.accounts import Accounts, User
from safekit_console.errors import HttpError
from safekit_console.settings import ConsoleSettings
from safekit_console.signin.authorities import Revocations, authorities, issuer_of
from safekit_sdk import ConfigError


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose certificate it is, by the operator's word."""

    name: str
    """Of an account, or of a user whom only the certificate makes."""
    entry: str
    """Of `client_users`, by which he is known."""
    fingerprint: str
    grants: dict[str, str] | None
    """None where the account has its own."""

    def __str__(self) -> str:
        return f"certificate {self.entry} (sha256:{self.fingerprint})"

    def fits(self, user: User) -> bool:
        """Whether the user came to be by this."""
        if self.grants is None:
            return user.name == self.name and not user.subject
        return (user.name, user.subject, dict(user.grants)) == (self.name, self.entry, self.grants)


class Certificates:
    def __init__(self, settings: ConsoleSettings) -> None:
        if settings.client_ca is None:
            raise ValueError("no authority is set")
        self._authorities = authorities(settings.client_ca)
        self._revocations = Revocations(settings.client_crl) if settings.client_crl else None
        self._known = entries(settings)
        self._authorities.read()

    def holder(self, shown: bytes) -> Holder:
        """HttpError 403 when it lets nobody in, 503 when that cannot be said."""
        try:
            certificate = x509.load_der_x509_certificate(shown)
            names = set(_names(certificate, shown))
            self._check(certificate)
        except ConfigError as error:
            raise HttpError(503, "certificate", f"certificates cannot be looked at: {error}") from None
        except (ValueError, TypeError, x509.DuplicateExtension) as error:
            raise refused(f"this certificate cannot be read ({type(error).__name__})") from None
        found = {key: self._known[key] for key in sorted(names & self._known.keys())}
        if not found:
            raise refused(f"this certificate is nobody's here: {', '.join(sorted(names))[:300]}")
        if len({name for name, _ in found.values()}) > 1:
            raise refused(f"this certificate is of several users: {', '.join(found)[:300]}")
        entry, (name, grants) = next(iter(found.items()))
        return Holder(name, entry, fingerprint(shown), grants)

    def _check(self, certificate: x509.Certificate) -> None:
        now = datetime.now(UTC)
        issuer = issuer_of(certificate, self._authorities.read())
        if issuer is None:
            raise refused("this certificate is of another authority")
        if not all(one.not_valid_before_utc <= now <= one.not_valid_after_utc for one in (certificate, issuer)):
            raise refused("this certificate, or its authority's, has expired or is not valid yet")
        if self._revocations and self._revocations.has(certificate, issuer, now):
            raise refused("this certificate has been revoked")


async def user_of(holder: Holder, accounts: Accounts, for_s: float, left_s: float) -> User:
    """HttpError 403 where there is no such account. A user whom only the certificate makes is written down for `for_s`,
    unless he was, and has `left_s` left."""
    user = accounts.user(holder.name)
    known = user if user is not None and holder.fits(user) else None
    if holder.grants is not None and (known is None or known.until - time.time() < left_s):
        return await accounts.arrive(holder.name, holder.entry, holder.grants, for_s)
    if known is None:
        raise refused(f"there is no account '{holder.name}' here")
    return known


def refused(message: str) -> HttpError:
    return HttpError(403, "forbidden", message, hint="SAFEKIT_CONSOLE_CLIENT_USERS says whose a certificate is")


def fingerprint(shown: bytes) -> str:
    return hashlib.sha256(shown).hexdigest()


def entries(settings: ConsoleSettings) -> dict[str, tuple[str, dict[str, str] | None]]:
    """A user's name, and his roles if he is no account, by what is in a certificate. ConfigError where two users would
    have the same name."""
    found: dict[str, tuple[str, dict[str, str] | None]] = {}
    for given, who in settings.client_users.items():
        kind, _, value = given.partition(":")
        name = who if isinstance(who, str) else f"cert:{_usable(value)}"
        entry = _entry(kind, value)
        if entry in found or (not isinstance(who, str) and any(name == other for other, _ in found.values())):
            raise ConfigError(f"'{given}' is there twice, or as good as", where="SAFEKIT_CONSOLE_CLIENT_USERS")
        found[entry] = (name, None if isinstance(who, str) else dict(who))
    return found


def _usable(value: str) -> str:
    """As a user's name."""
    return re.sub(r"[^A-Za-z0-9._@-]+", "-", value).lstrip("._@-")[:58] or "unnamed"


def _entry(kind: str, value: str) -> str:
    """In the one form in which two are compared."""
    plain = {"email": value.casefold(), "sha256": value.replace(":", "").casefold()}
    return f"{kind}:{plain.get(kind, value)}"


def _names(certificate: x509.Certificate, shown: bytes) -> Iterator[str]:
    """By which it may be known. A subject with several common names has none: which of them would it be?"""
    yield _entry("sha256", fingerprint(shown))
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(common) == 1:
        yield _entry("cn", str(common[0].value))
    try:
        others = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    yield from (_entry("email", one) for one in others.get_values_for_type(x509.RFC822Name))
    yield from (_entry("uri", one) for one in others.get_values_for_type(x509.UniformResourceIdentifier))

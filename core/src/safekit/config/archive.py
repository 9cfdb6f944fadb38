"""A module as one file that can be handed on: a plain ustar archive of `manifest.json`, `signature` and `files/…`.

Nothing is compressed, so that nothing can grow. The reader takes regular files only, in the one form that `pack`
writes, and hands on what the manifest names with its checksum; the signature is over the manifest.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from safekit import __version__
from safekit.config import bundle, signing
from safekit.config.bundle import Files
from safekit.config.module import ModuleName
from safekit.config.problems import plain
from safekit_sdk import ConfigError, RefusedError

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "signature"
FOLDER: Final = "files/"
MAX_PACKAGES: Final = 500
MAX_MANIFEST_BYTES: Final = 1 << 20
MAX_ARCHIVE_BYTES: Final = bundle.MAX_BYTES + MAX_MANIFEST_BYTES + (bundle.MAX_FILES + 20) * 1024
"""Each file has a header and is filled up to whole blocks."""
_BLOCK: Final = 512
_KINDS: Final = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a directory",
    b"6": "a pipe",
}
Package = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?$")]
Release = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+!_-]{0,63}$")]
"""Both end up in a line that an operator pastes."""
Checksum = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """What a packed module is and needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal[1] = 1
    module: ModuleName
    safekit: Release
    packages: dict[Package, Release] = Field(max_length=MAX_PACKAGES)
    """Those of its plugins, in the versions with which it was packed."""
    plugins: dict[Package, list[Annotated[str, Field(max_length=100)]]] = Field(default={}, max_length=MAX_PACKAGES)
    """Which plugins of them it uses: `checker tcp`."""
    files: dict[str, Checksum] = Field(min_length=1, max_length=bundle.MAX_FILES)

    def missing(self) -> str:
        """The command that installs the packages that are not here; empty when all are."""
        wanted = [f"{name}=={release}" for name, release in self.packages.items() if not _installed(name)]
        return f"pip install {' '.join(wanted)}" if wanted else ""

    def others(self) -> list[str]:
        """Packages that are here in another version."""
        return [
            f"{name} is {here} here, and was {release} where the module was packed"
            for name, release in {"safekit": self.safekit, **self.packages}.items()
            if (here := _installed(name)) and here != release
        ]


@dataclass(frozen=True, slots=True)
class Unpacked:
    manifest: Manifest
    files: Files
    signer: str
    """The trusted key that signed it; empty when nobody was asked for."""


def pack(
    name: str,
    files: Files,
    packages: Mapping[str, str],
    plugins: Mapping[str, list[str]],
    key: Ed25519PrivateKey | None = None,
) -> bytes:
    """The same bytes for the same module, packages and key, whenever and wherever."""
    bundle.check(files)
    checksums = {path: hashlib.sha256(files[path]).hexdigest() for path in sorted(files)}
    content = {"packages": dict(sorted(packages.items())), "plugins": dict(sorted(plugins.items())), "files": checksums}
    try:
        manifest = Manifest.model_validate({"module": name, "safekit": __version__, **content})
    except ValidationError as error:
        raise ConfigError(f"the module cannot be packed: {plain(error)}") from None
    told = manifest.model_dump_json(indent=1).encode() + b"\n"
    members = [(MANIFEST, told)]
    members += [(SIGNATURE, signing.sign(told, key))] if key is not None else []
    return _written([*members, *((FOLDER + path, files[path]) for path in sorted(files))])


def unpack(data: bytes, where: str, trusted: list[Ed25519PublicKey], *, unsigned: bool = False) -> Unpacked:
    """ConfigError for what is no packed module or was damaged, RefusedError for one that no trusted key has signed.
    `unsigned`: nobody has to have signed it."""
    try:
        members = _members(data)
        told, signature = members.pop(MANIFEST, b""), members.pop(SIGNATURE, b"")
        signer = "" if unsigned else _signer(told, signature, trusted)
        manifest = _manifest(told)
        files = {path.removeprefix(FOLDER): content for path, content in members.items()}
        _check(manifest, members.keys(), files)
    except (ConfigError, RefusedError) as error:
        raise type(error)(error.message, where=where, hint=error.hint) from None
    return Unpacked(manifest, files, signer)


def _signer(told: bytes, signature: bytes, trusted: list[Ed25519PublicKey]) -> str:
    if not signature:
        hint = "let who packed it sign it: `safekit module pack --key FILE`; or take it as it is: --unsigned"
        raise RefusedError("nobody has signed this module", hint=hint)
    for key in trusted:
        if signing.is_signed(told, signature, key):
            return signing.spelled(key)
    hint = "name the public key of who packed it: --trust FILE; it must come to you by another way than the module"
    what = "no key that you trust has signed this module" if trusted else "this module is signed; by whom is not known"
    raise RefusedError(what, hint=hint)


def _manifest(told: bytes) -> Manifest:
    if not told or len(told) > MAX_MANIFEST_BYTES:
        raise _no_module(f"it has no {MANIFEST}" if not told else f"its {MANIFEST} is too long")
    try:
        return Manifest.model_validate_json(told)
    except ValidationError as error:
        why = "".join(letter if letter.isprintable() else "?" for letter in plain(error)[:500])
        raise _no_module(f"its {MANIFEST} is not understood: {why}") from None


def _check(manifest: Manifest, paths: object, files: Files) -> None:
    """All files are those of the manifest, and no others."""
    if paths != {FOLDER + path for path in files}:
        raise _no_module(f"a file is not below {FOLDER}")
    bundle.check(files)
    if odd := sorted(files.keys() ^ manifest.files.keys()):
        raise ConfigError(f"{odd[0]!r} is in the archive or in its manifest, not in both", hint="pack it anew")
    for path, content in files.items():
        if hashlib.sha256(content).hexdigest() != manifest.files[path]:
            raise ConfigError(f"'{path}' is not what was packed: its checksum differs", hint="get the file again")


def _written(members: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, content in members:
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(content), bundle.mode(content)
            try:
                archive.addfile(info, io.BytesIO(content))
            except ValueError:
                raise ConfigError(f"the path {path!r} is too long for an archive", hint="shorten it") from None
    return out.getvalue()


def _members(data: bytes) -> dict[str, bytes]:
    """Bounded by the data. tarfile reads far more than is wanted here: links, devices, sparse files, headers that
    change what follows."""
    if len(data) > MAX_ARCHIVE_BYTES:
        raise _no_module(f"it has more than {MAX_ARCHIVE_BYTES} bytes")
    found: dict[str, bytes] = {}
    for path, content in _read(data):
        if path in found:
            raise _no_module(f"{path[:200]!r} is in it twice")
        if len(found) >= bundle.MAX_FILES + 2:
            raise _no_module(f"it has more than {bundle.MAX_FILES} files")
        found[path] = content
    return found


def _read(data: bytes) -> Iterator[tuple[str, bytes]]:
    offset = 0
    while header := data[offset : offset + _BLOCK].rstrip(b"\0"):
        header = header.ljust(_BLOCK, b"\0")
        if header[257:265] != b"ustar\x0000" or not _sum_is_right(header):
            raise _no_module("it is no ustar archive, or damaged")
        path = "/".join(_word(part) for part in (header[345:500], header[:100]) if part[0])
        if header[156:157] != b"0":
            kind = _KINDS.get(header[156:157], "something else than a file")
            raise _no_module(f"{path[:200]!r} is {kind}")
        size, begin = _number(header[124:136]), offset + _BLOCK
        if begin + size > len(data):
            raise _no_module("it ends too early")
        yield path, data[begin : begin + size]
        offset = begin + -(-size // _BLOCK) * _BLOCK
    if len(data) < offset + 2 * _BLOCK or data[offset:].strip(b"\0"):
        raise _no_module("it ends too early, or something follows its end")


def _sum_is_right(header: bytes) -> bool:
    """Of the header's bytes, with spaces in the sum's own place."""
    return _number(header[148:154] + b"\0") == sum(header[:148]) + 8 * 0x20 + sum(header[156:])


def _number(field: bytes) -> int:
    digits = field.rstrip(b" \0")
    if not digits or digits.strip(b"01234567"):
        raise _no_module("a number in it is none")
    return int(digits, 8)


def _word(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("ascii", "backslashreplace")


def _no_module(why: str) -> ConfigError:
    return ConfigError(f"this is no packed module: {why}", hint="`safekit module pack` makes one")


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""

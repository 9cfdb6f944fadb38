"""`safekit module pack`, `unpack` and `keygen`: a module as one file that can be handed on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safekit.cli.versions import open_store
from safekit_sdk import ConfigError, RefusedError

if TYPE_CHECKING:
    from safekit.config.compiled import CompiledModule


def add_to_module(app: typer.Typer) -> None:
    for command in (pack, unpack, keygen):
        app.command()(command)


def pack(
    name: Annotated[str, typer.Argument(help="The module.")],
    file: Annotated[Path | None, typer.Option("-o", "--file", help="Where to; NAME.tar here when absent.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="The private key that signs it.")] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Folder to pack; the module's under /etc/safekit/modules when absent."),
    ] = None,
) -> None:
    """Pack a module's files, with what they need, into one file for other clusters. Needs no daemon."""
    from safekit.cli.configuration import compile_here, module_folder, read_module
    from safekit.config import archive, signing

    folder = source or module_folder(name)
    files = read_module(folder)
    compiled = compile_here(folder, name)
    signer = signing.private_key(key) if key is not None else None
    data = archive.pack(name, files, compiled.packages, _plugins(compiled), signer)
    file = file or Path(f"{name}.tar")
    _write(file, data)
    print(f"{file}: module '{name}', {len(files)} files, {len(data)} bytes")
    if signer is None:
        print("warning: it is not signed; `--key FILE` signs it, `safekit module keygen` makes a key")
    else:
        print(f"signed with {signing.spelled(signer.public_key())}")


def unpack(
    file: Annotated[Path, typer.Argument(help="What `safekit module pack` has made.")],
    name: Annotated[str, typer.Option("--name", help="Another name for the module here.")] = "",
    trust: Annotated[
        list[Path] | None, typer.Option("--trust", help="A public key whose modules are taken; repeatable.")
    ] = None,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Take it without a proof of where it comes from.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also in the place of a module's files that are there.")
    ] = False,
) -> None:
    """Write a packed module's files to /etc/safekit/modules. Nothing is applied."""
    from safekit.config import archive, signing

    if trust and unsigned:
        raise ConfigError("--trust asks for a signature, --unsigned for none", hint="say one of the two")
    unpacked = archive.unpack(
        _read(file), str(file), [signing.public_key(one) for one in trust or ()], unsigned=unsigned
    )
    name = name or unpacked.manifest.module
    folder = open_store().put_edited(name, unpacked.files, over=force)
    print(f"{folder}: {len(unpacked.files)} files, {_by_whom(unpacked.signer)}; nothing is applied")
    for other in unpacked.manifest.others():
        print(f"warning: {other}")
    if missing := unpacked.manifest.missing():
        print(f"missing on this node, and to be installed on each node: {missing}")
    print(f"next: `safekit plan {name}`, then `safekit apply {name}`")


def keygen(
    file: Annotated[Path, typer.Argument(help="Where the private key goes; the public one gets `.pub` after it.")],
) -> None:
    """Make a pair of keys: the private one signs modules, the public one is for those who unpack them."""
    from safekit.config import signing

    public = signing.make_pair(file)
    print(f"{file}: the private key, for `safekit module pack --key`; keep it to yourself")
    print(
        f"{public}: the public key, for `safekit module unpack --trust`: {signing.spelled(signing.public_key(public))}"
    )


def _by_whom(signer: str) -> str:
    return f"signed with {signer}" if signer else "nobody's signature was asked for"


def _plugins(module: CompiledModule) -> dict[str, list[str]]:
    """Package to the plugins of it that the module uses."""
    from safekit.plugins import discovery

    groups = {"resource": discovery.RESOURCES, "app": discovery.APPS}
    used = {(groups[step.group], step.plugin) for step in module.steps}
    used |= {(discovery.CHECKERS, checker.plugin) for checker in module.checkers}
    used |= {(discovery.WITNESSES, module.witness.plugin)} if module.witness is not None else set()
    return _by_package(sorted(used))


def _by_package(used: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    from safekit.plugins import discovery

    found: dict[str, list[str]] = {}
    for group, plugin in used:
        package = discovery.package(discovery.find(group, plugin))
        found.setdefault(package, []).append(f"{discovery.KINDS[group]} {plugin}")
    return found


def _read(file: Path) -> bytes:
    from safekit.config.archive import MAX_ARCHIVE_BYTES

    try:
        with file.open("rb") as opened:
            return opened.read(MAX_ARCHIVE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error.strerror}", where=str(file)) from None


def _write(file: Path, data: bytes) -> None:
    """Never over a file that is there."""
    try:
        with file.open("xb") as opened:
            opened.write(data)
    except FileExistsError:
        raise RefusedError("a file is there already", where=str(file), hint="remove it, or name another: -o") from None
    except OSError as error:
        raise ConfigError(f"the file cannot be written: {error.strerror}", where=str(file)) from None

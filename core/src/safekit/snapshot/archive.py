"""The whole snapshot: put together of the nodes' parts, and read again. Nothing of it is ever unpacked to a disk."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import sqlite3
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from safekit.diagnosis.facts import ClockFacts, ClusterFacts, DaemonTrouble, NodeAnswer, NodeFacts
from safekit.journal import Entry, write_copy
from safekit.snapshot import layout
from safekit.snapshot.layout import entry, packed
from safekit_sdk import ConfigError, PeerError

SUFFIX: Final = ".tar.gz"
Member = tuple[str, bytes]


class NodeNote(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    trouble: str = ""
    """Why there is no part of it; empty where there is."""
    clock: ClockFacts | None = None


class Manifest(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    format: int = layout.FORMAT
    made: float
    """Unix time of the node that was asked."""
    asker: str
    version: str = ""
    """Of safekit on that node."""
    nodes: dict[str, NodeNote]


def compose(manifest: Manifest, parts: Mapping[str, bytes]) -> bytes:
    """The same parts give the same bytes."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"
    head = packed(entry(layout.MANIFEST, text.encode()))
    return b"".join((head, *(parts[node] for node in sorted(parts)), packed(layout.END)))


def check_part(node: str, part: bytes) -> None:
    """PeerError when it is not what a node may send: files of its own, none too large, not too many."""
    below = f"{layout.NODES}/{node}/"
    try:
        for name, _ in _members(io.BytesIO(part), _nothing):
            if not name.startswith(below):
                raise PeerError(f"{node} sent a part of a snapshot with a file of another place: {name[:200]!r}")
    except ConfigError as error:
        raise PeerError(f"{node} sent a part of a snapshot that cannot be used: {error.message}") from None


def _nothing(_: str) -> bool:
    return False


def is_snapshot(name: str) -> bool:
    """A module cannot be called so."""
    return name.endswith(SUFFIX)


class Snapshot:
    """ConfigError when the file is none, is damaged, or is of another format."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            text = next(self._read(lambda name: name == layout.MANIFEST))[1]
            self.manifest = Manifest.model_validate_json(text)
        except (StopIteration, ValidationError):
            raise ConfigError("this is no snapshot of safekit, or a damaged one", where=str(path)) from None
        if self.manifest.format != layout.FORMAT:
            hint = "read it with the version of safekit that wrote it"
            raise ConfigError(f"a snapshot of format {self.manifest.format}", where=str(path), hint=hint)

    @property
    def nodes(self) -> list[str]:
        """Of which there is a part."""
        return [node for node, note in self.manifest.nodes.items() if not note.trouble]

    def cluster_facts(self) -> ClusterFacts:
        """As the doctor would have been told them."""
        told = dict(self._read(_is_told))
        try:
            return self._facts_of(told)
        except ValidationError:
            raise self._damaged("the facts") from None

    def _facts_of(self, told: Mapping[str, bytes]) -> ClusterFacts:
        answers, daemon = [], None
        for node, note in self.manifest.nodes.items():
            facts, alone = (told.get(f"{layout.NODES}/{node}/{name}") for name in (layout.FACTS, layout.DAEMON))
            if alone is not None:
                daemon = DaemonTrouble.model_validate_json(alone)
                continue
            known = None if facts is None else NodeFacts.model_validate_json(facts)
            answers.append(NodeAnswer(node=node, facts=known, trouble=note.trouble, clock=note.clock))
        made, asker = self.manifest.made, self.manifest.asker
        return ClusterFacts(asker=asker, asked_wall=made, nodes=tuple(answers), daemon=daemon)

    def write_history(self, node: str, path: Path) -> None:
        """A node's journal as a file that is read like its history.db. `node`: empty for the one that was asked."""
        node = node or self.manifest.asker
        if node not in self.nodes:
            hint = f"there are: {', '.join(self.nodes) or 'none'}"
            raise ConfigError(f"the snapshot has no part of a node '{node}'", where=str(self._path), hint=hint)
        wanted = f"{layout.NODES}/{node}/{layout.JOURNAL}"
        for _, text in self._read(lambda name: name == wanted):
            try:
                write_copy(path, (Entry(**json.loads(line)) for line in text.splitlines()))
            except (ValueError, TypeError, sqlite3.Error):
                raise self._damaged("the journal") from None

    def _damaged(self, what: str) -> ConfigError:
        return ConfigError(
            f"{what} in this snapshot cannot be used: damaged, or of another version", where=str(self._path)
        )

    def _read(self, wanted: Callable[[str], bool]) -> Iterator[Member]:
        try:
            with self._path.open("rb") as file:
                yield from ((name, text) for name, text in _members(file, wanted) if wanted(name))
        except OSError as error:
            raise ConfigError(f"the snapshot cannot be read: {error.strerror}", where=str(self._path)) from None
        except ConfigError as error:
            raise ConfigError(error.message, where=str(self._path), hint=error.hint) from None


@contextlib.contextmanager
def history_file(path: Path, node: str) -> Iterator[Path]:
    """The history at `path`, or that of a node in the snapshot at `path`, as a file of its own while it is read."""
    if not is_snapshot(path.name):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="safekit-history-") as folder:
        copy = Path(folder) / "history.db"
        Snapshot(path).write_history(node, copy)
        yield copy


def _is_told(name: str) -> bool:
    return name.startswith(f"{layout.NODES}/") and name.endswith((f"/{layout.FACTS}", f"/{layout.DAEMON}"))


def _members(file: IO[bytes], wanted: Callable[[str], bool]) -> Iterator[Member]:
    """Name and content; no content of what is not wanted."""
    try:
        with tarfile.open(fileobj=_Plain(file), mode="r|", format=tarfile.PAX_FORMAT) as archive:
            for count, info in enumerate(archive):
                if not info.isreg() or not layout.is_place(info.name):
                    raise ConfigError(f"it has something that is no file of a snapshot: {info.name[:200]!r}")
                if count >= layout.MEMBERS or info.size > layout.MEMBER_BYTES:
                    raise ConfigError("it has more in it than a snapshot may have")
                content = archive.extractfile(info) if wanted(info.name) else None
                yield info.name, b"" if content is None else content.read()
    except (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise ConfigError(f"it is no snapshot, or a damaged one: {error}") from None


class _Plain(io.RawIOBase):
    """What is packed, up to a limit: a few bytes may stand for any number of them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = gzip.GzipFile(fileobj=file, mode="rb")
        self._left_bytes = layout.PLAIN_BYTES

    def read(self, size: int = -1) -> bytes:
        part = self._file.read(min(self._left_bytes + 1, sys.maxsize if size < 0 else size))
        self._left_bytes -= len(part)
        if self._left_bytes < 0:
            raise ConfigError("it has more in it than a snapshot may have")
        return part
